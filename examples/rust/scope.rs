//! Goroutines that borrow: each counts the words of its part of a text that `main` owns.

use std::collections::BTreeMap;

const TEXT: &str = "\
the quick brown fox jumps over the lazy dog
the dog sleeps and the fox runs
a quick dog is a happy dog";

fn count(part: &[&str]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in part.iter().flat_map(|line| line.split_whitespace()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

fn main() {
    let lines: Vec<&str> = TEXT.lines().collect();
    let mut total: BTreeMap<String, usize> = BTreeMap::new();
    // No Arc and no clone: the scope ends only when its goroutines have.
    go_lib::scope(|s| {
        let parts: Vec<_> = lines.chunks(1).map(|part| s.go(move || count(part))).collect();
        for part in parts {
            match part.join() {
                Ok(counts) => {
                    counts.into_iter().for_each(|(w, n)| *total.entry(w).or_default() += n)
                }
                Err(_) => eprintln!("a part was not counted"),
            }
        }
    });
    let mut words: Vec<_> = total.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    for (word, n) in words.iter().take(3) {
        println!("{n} {word}");
    }
}
