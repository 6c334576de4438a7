//! `run`'s function may outlive the caller's frame when that unwinds: it borrows nothing of it.

fn main() {
    let mut n = 1;
    go_lib::run(|| n += 1);
}
