//! `main` as a goroutine that uses `?`: the sum of its arguments.

use go_lib::chan::chan;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[go_lib::main]
fn main() -> Result<(), Error> {
    let (tx, rx) = chan(0);
    go_lib::go!(move || std::env::args().skip(1).for_each(|word| tx.send(word)));
    let mut sum = 0_u32;
    while let Some(word) = rx.recv() {
        let number: u32 = word.parse().map_err(|e| format!("{word:?}: {e}"))?;
        sum = sum.checked_add(number).ok_or("the sum is too large")?;
    }
    println!("{sum}");
    Ok(())
}
