//! A goroutine runs on any thread.

use std::rc::Rc;

fn main() {
    let n = Rc::new(1);
    go_lib::scope(|s| {
        s.go(|| *n);
    });
}
