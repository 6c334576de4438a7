//! Without a scope a goroutine may outlive its maker.

fn main() {
    let text = String::from("borrowed");
    go_lib::go(|| println!("{text}"));
}
