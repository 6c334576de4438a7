//! Where PollDescs live: in chunks that are never freed, found by number.
//!
//! # Invariants
//! 1. A PollDesc is never freed and never moves: a stale event or timer can always look at it, and
//!    finds another sequence number there.
//! 2. A number in the list `free` has no owner.

use std::ptr;

use crate::prim::{AtomicPtr, Ordering};
use crate::runtime::object::lock::Locked;
use crate::runtime::poller::desc::PollDesc;

/// PollDescs in the first chunk; each further one holds twice as many.
const FIRST: usize = if cfg!(golib_loom) { 1 } else { 64 };
/// Enough for all descriptors that a process can have.
const CHUNKS: usize = if cfg!(golib_loom) { 2 } else { 24 };

/// The PollDescs of a poller.
pub(crate) struct Pool {
    chunks: [AtomicPtr<PollDesc>; CHUNKS],
    numbers: Locked<Numbers>,
}

struct Numbers {
    /// By 2.
    free: Vec<u32>,
    /// The first that was never given out.
    next: u32,
}

/// (chunk, place in it) of a number.
fn place(number: u32) -> (usize, usize) {
    let shifted = number as usize + FIRST;
    let chunk = (shifted / FIRST).ilog2() as usize;
    (chunk, shifted - (FIRST << chunk))
}

impl Pool {
    pub(crate) fn new() -> Self {
        Pool {
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            numbers: Locked::new(Numbers { free: Vec::new(), next: 0 }),
        }
    }

    /// The PollDesc with this number, if it was ever given out.
    pub(crate) fn get(&self, number: u32) -> Option<&PollDesc> {
        let (chunk, at) = place(number);
        // Acquire: the chunk as its maker left it; pairs with the Release in `take`.
        let first = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: by 1; `place` stays within the chunk.
        Some(unsafe { &*first.add(at) })
    }

    /// A PollDesc that nobody uses, now the caller's; `None`: all that there can be are in use.
    pub(crate) fn take(&self) -> Option<&PollDesc> {
        let mut numbers = self.numbers.lock();
        if let Some(number) = numbers.free.pop() {
            return self.get(number);
        }
        let number = numbers.next;
        let (chunk, at) = place(number);
        let slot = self.chunks.get(chunk)?;
        if at == 0 {
            let from = number;
            let descs: Box<[PollDesc]> =
                (0..(FIRST << chunk) as u32).map(|i| PollDesc::new(from + i)).collect();
            // Release: publishes the chunk; pairs with the Acquire in `get`.
            slot.store(Box::leak(descs).as_mut_ptr(), Ordering::Release);
        }
        numbers.next += 1;
        self.get(number)
    }

    /// Gives a PollDesc back.
    pub(crate) fn put(&self, pd: &PollDesc) {
        self.numbers.lock().free.push(pd.number);
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{place, Pool, FIRST};

    #[test]
    fn numbers_fill_one_chunk_after_the_other() {
        let mut expected = (0, 0);
        for number in 0..10 * FIRST as u32 {
            assert_eq!(place(number), expected);
            expected.1 += 1;
            if expected.1 == FIRST << expected.0 {
                expected = (expected.0 + 1, 0);
            }
        }
    }

    #[test]
    fn what_was_given_back_is_given_out_again() {
        let pool = Pool::new();
        let all: Vec<_> = (0..3 * FIRST).map(|_| pool.take().unwrap()).collect();
        for (i, pd) in all.iter().enumerate() {
            assert_eq!(pd.number as usize, i);
            assert!(std::ptr::eq(pool.get(pd.number).unwrap(), *pd));
        }
        pool.put(all[7]);
        assert_eq!(pool.take().unwrap().number, 7);
        assert_eq!(pool.take().unwrap().number as usize, 3 * FIRST);
    }
}
