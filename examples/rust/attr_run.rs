//! `#[go_lib::run]` on an ordinary function: its parameters move into a goroutine, its value comes
//! back.

use go_lib::chan::chan;

#[go_lib::run]
fn sum_of_squares(numbers: Vec<u64>, workers: usize) -> u64 {
    let (tx, rx) = chan(0);
    for part in numbers.chunks(numbers.len().div_ceil(workers).max(1)) {
        let (part, tx) = (part.to_vec(), tx.clone());
        go_lib::go!(move || tx.send(part.iter().map(|n| n * n).sum::<u64>()));
    }
    drop(tx);
    rx.iter().sum()
}

fn main() {
    println!("{}", sum_of_squares((1..=100).collect(), 4));
}
