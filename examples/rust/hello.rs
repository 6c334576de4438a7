//! Two goroutines greet through one channel.

use go_lib::chan::{chan, Sender};

fn greet(name: &str, out: Sender<String>) {
    out.send(format!("hello, {name}"));
}

fn main() {
    go_lib::run(|| {
        let (tx, rx) = chan::<String>(0);
        for name in ["goroutine", "world"] {
            let tx = tx.clone();
            go_lib::go!(move || greet(name, tx));
        }
        drop(tx); // the channel closes when the last sender is dropped
        let mut greetings: Vec<String> = rx.iter().collect();
        greetings.sort();
        println!("{}", greetings.join("\n"));
    });
}
