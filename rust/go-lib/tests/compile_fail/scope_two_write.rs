//! Two goroutines may not borrow the same thing mutably.

fn main() {
    let mut n = 0;
    go_lib::scope(|s| {
        s.go(|| n += 1);
        s.go(|| n += 1);
    });
}
