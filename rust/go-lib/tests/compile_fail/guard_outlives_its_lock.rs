//! A guard ends before its lock: no goroutine may take it along.

fn main() {
    let m = go_lib::sync::Mutex::new(1);
    let guard = m.lock();
    go_lib::go!(move || drop(guard));
}
