//! A handle has the goroutine's result, which may borrow: it stays inside.

fn main() {
    let mut kept = None;
    go_lib::scope(|s| {
        kept = Some(s.go(|| 1));
    });
    drop(kept);
}
