//! `main` as a goroutine that says how the process ends: with the number of words, among its
//! arguments, that are no numbers.

use std::process::ExitCode;

use go_lib::chan::chan;

#[go_lib::main]
fn main() -> ExitCode {
    let (tx, rx) = chan(0);
    for word in std::env::args().skip(1) {
        let tx = tx.clone();
        go_lib::go!(move || tx.send(word.parse::<f64>().is_err()));
    }
    drop(tx);
    let bad = rx.iter().filter(|bad| *bad).count();
    println!("{bad} are no numbers");
    ExitCode::from(u8::try_from(bad).unwrap_or(u8::MAX))
}
