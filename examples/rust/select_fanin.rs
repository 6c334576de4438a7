//! One select over two producers, with a timeout.

use std::time::Duration;

use go_lib::chan::{chan, Receiver};
use go_lib::select;

fn count(name: &'static str, n: u32, pause: Duration) -> Receiver<String> {
    let (tx, rx) = chan(0);
    go_lib::go!(move || {
        for i in 0..n {
            go_lib::sleep(pause);
            tx.send(format!("{name} {i}"));
        }
        // Never closes: the receiver counts. A closed channel would always be ready.
        std::mem::forget(tx);
    });
    rx
}

fn main() {
    go_lib::run(|| {
        let fast = count("fast", 6, Duration::from_millis(10));
        let slow = count("slow", 2, Duration::from_millis(30));
        for _ in 0..8 {
            select! {
                recv(fast) -> text => println!("{}", text.unwrap_or_default()),
                recv(slow) -> text => println!("{}", text.unwrap_or_default()),
                timeout(Duration::from_secs(5)) => panic!("a producer is stuck"),
            }
        }
        println!("8 messages");
    });
}
