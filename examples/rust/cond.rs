//! A queue of bounded length from a mutex and two condition variables.

use std::collections::VecDeque;
use std::sync::Arc;

use go_lib::sync::{Cond, Mutex, WaitGroup};

const ROOM: usize = 2;
const ITEMS: u32 = 10;

#[derive(Default)]
struct Queue {
    items: Mutex<VecDeque<u32>>,
    not_full: Cond,
    not_empty: Cond,
}

impl Queue {
    fn put(&self, item: u32) {
        let mut items = self.items.lock();
        while items.len() == ROOM {
            items = self.not_full.wait(&self.items, items);
        }
        items.push_back(item);
        self.not_empty.notify_one();
    }

    fn take(&self) -> u32 {
        let mut items = self.items.lock();
        loop {
            if let Some(item) = items.pop_front() {
                self.not_full.notify_one();
                return item;
            }
            items = self.not_empty.wait(&self.items, items);
        }
    }
}

fn main() {
    let sum = go_lib::run(|| {
        let queue = Arc::new(Queue::default());
        let producers = WaitGroup::new();
        for producer in 0..2 {
            let queue = queue.clone();
            producers.go(move || (0..ITEMS).for_each(|i| queue.put(100 * producer + i)));
        }
        let sum: u32 = (0..2 * ITEMS).map(|_| queue.take()).sum();
        producers.wait();
        sum
    });
    println!("{sum}");
}
