//! The arms have one type, and a value is moved into one arm once.

fn main() {
    let (tx, rx) = go_lib::chan::chan::<String>(1);
    let text = String::new();
    let n: usize = go_lib::select! {
        send(tx, text) => text.len(),
        recv(rx) -> v => v,
    };
    drop(n);
}
