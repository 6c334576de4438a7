//! `self` could not move into the goroutine.

struct S;

impl S {
    #[go_lib::run]
    fn f(&self) {}
}

fn main() {
    S.f();
}
