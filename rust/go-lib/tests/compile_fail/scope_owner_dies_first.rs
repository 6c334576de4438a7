//! A shorter life must not pass for the scope's.

fn start<'scope>(s: &'scope go_lib::Scope<'scope, '_>, n: &u32) {
    s.go(move || println!("{n}"));
}

fn main() {
    go_lib::scope(|s| {
        start(s, &7);
    });
}
