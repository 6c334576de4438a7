//! Locals of the scope's closure are gone before the scope has waited.

fn main() {
    go_lib::scope(|s| {
        let inside = String::from("gone too early");
        s.go(|| println!("{inside}"));
    });
}
