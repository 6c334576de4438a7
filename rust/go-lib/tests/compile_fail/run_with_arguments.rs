//! The attributes have no settings.

#[go_lib::run(threads = 4)]
fn f() {}

fn main() {
    f();
}
