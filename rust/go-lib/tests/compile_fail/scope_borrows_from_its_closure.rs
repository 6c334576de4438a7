//! What the scope's closure owns is gone before the scope has waited.

fn main() {
    go_lib::scope(|s| {
        let inside = String::from("gone too early");
        s.go(|| println!("{inside}"));
    });
}
