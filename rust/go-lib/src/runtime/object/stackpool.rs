//! Stacks of the default size that no P has.

use std::collections::VecDeque;

use crate::runtime::object::stack::Bound;

/// Those of one kind of goroutine.
#[derive(Default)]
pub(crate) struct Pool {
    /// Not trimmed since they were used; the newest at the back.
    pub(crate) used: VecDeque<Bound>,
    pub(crate) trimmed: Vec<Bound>,
}

impl Pool {
    /// Takes a stack back that was not used.
    pub(crate) fn put_back(&mut self, bound: Bound) {
        self.used.push_back(bound);
    }

    /// Is there one?
    pub(crate) fn has_some(&self) -> bool {
        !self.used.is_empty() || !self.trimmed.is_empty()
    }

    /// Takes one out: of those that are not trimmed if there is one.
    pub(crate) fn pop(&mut self) -> Option<Bound> {
        self.used.pop_back().or_else(|| self.trimmed.pop())
    }

    /// Moves up to `n` stacks to `cache`: those used last.
    pub(crate) fn take(&mut self, n: usize, cache: &mut Vec<Bound>) {
        let of_used = self.used.len().min(n);
        let of_trimmed = self.trimmed.len().min(n - of_used);
        cache.extend(self.trimmed.drain(self.trimmed.len() - of_trimmed..));
        cache.extend(self.used.drain(self.used.len() - of_used..));
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::ptr;

    use super::Pool;
    use crate::runtime::object::stack::{Bound, Stack};

    /// A stack that is only a number.
    fn number(n: usize) -> Bound {
        Bound { stack: Stack { lo: n, hi: n }, state: ptr::null_mut(), top: n }
    }

    fn numbers<'a>(bounds: impl IntoIterator<Item = &'a Bound>) -> Vec<usize> {
        bounds.into_iter().map(|bound| bound.top).collect()
    }

    #[test]
    fn the_pool_gives_the_stacks_used_last_and_trimmed_ones_after_them() {
        let mut pool = Pool::default();
        pool.trimmed.extend((0..5).map(number));
        pool.used.extend((10..14).map(number));
        let mut cache = vec![number(99)];
        pool.take(3, &mut cache);
        assert_eq!(numbers(&cache), [99, 11, 12, 13]);
        pool.take(3, &mut cache);
        assert_eq!(numbers(&cache), [99, 11, 12, 13, 3, 4, 10], "the used one is popped first");
        pool.take(100, &mut cache);
        assert_eq!(numbers(&cache[7..]), [0, 1, 2]);
        pool.take(1, &mut cache);
        assert_eq!(cache.len(), 10);
    }
}
