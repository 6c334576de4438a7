//! [`Barrier`]: nobody continues before all have come.

use std::fmt;

use crate::prim::const_new;
use crate::sync::{Cond, Mutex};

/// Holds its waiters until there are `n` of them; then it serves the next `n`.
///
/// Go has none; this is `std::sync::Barrier` for goroutines.
///
/// # Examples
/// ```
/// use go_lib::sync::{Barrier, WaitGroup};
/// use std::sync::Arc;
/// go_lib::run(|| {
///     let (barrier, wg) = (Arc::new(Barrier::new(3)), WaitGroup::new());
///     for _ in 0..3 {
///         let barrier = barrier.clone();
///         wg.go(move || barrier.wait());
///     }
///     wg.wait();
/// });
/// ```
pub struct Barrier {
    n: usize,
    came: Mutex<Came>,
    all_came: Cond,
}

struct Came {
    waiting: usize,
    round: usize,
}

impl Barrier {
    const_new! {
        /// A barrier for `n`; 0 counts as 1.
        ///
        /// # Examples
        /// ```
        /// assert!(go_lib::sync::Barrier::new(1).wait());
        /// ```
        pub fn new(n: usize) -> Self {
            let came = Mutex::new(Came { waiting: 0, round: 0 });
            Barrier { n, came, all_came: Cond::new() }
        }
    }

    /// Waits for the others. True for one of them, the last to come.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Examples
    /// ```
    /// let barrier = go_lib::sync::Barrier::new(1);
    /// assert!(barrier.wait() && barrier.wait());
    /// ```
    pub fn wait(&self) -> bool {
        let mut came = self.came.lock();
        came.waiting += 1;
        if came.waiting >= self.n {
            came.waiting = 0;
            came.round = came.round.wrapping_add(1);
            self.all_came.notify_all();
            return true;
        }
        let round = came.round;
        while came.round == round {
            came = self.all_came.wait(&self.came, came);
        }
        false
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("n", &self.n).finish()
    }
}
