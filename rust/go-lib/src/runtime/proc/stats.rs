//! Counters.

use crate::prim::Ordering;
use crate::runtime::proc::newm::thread_limit;
use crate::runtime::sched::sched;

/// The scheduler at some instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// GOMAXPROCS; 0 before the start.
    pub procs: usize,
    /// Ps that nobody holds.
    pub idle_procs: usize,
    /// Live goroutines.
    pub goroutines: usize,
    /// OS threads of the runtime, sysmon included.
    pub threads: usize,
    /// The most it may have.
    pub max_threads: usize,
    /// Threads that sleep, waiting for a P.
    pub idle_threads: usize,
    /// Threads kept by pinned goroutines that wait.
    pub locked_threads: usize,
    /// Rust goroutines in the global queue.
    pub global_queue: usize,
    /// Ps taken from goroutines that blocked or computed for long.
    pub handoffs: u64,
    /// Looks at the network poller.
    pub polls: u64,
}

/// How many goroutines live.
pub(crate) fn num_goroutine() -> usize {
    let s = sched();
    let mut n = s.gcount.load(Ordering::Relaxed);
    for p in s.every_p() {
        n += p.gcount.load(Ordering::Relaxed);
    }
    n.max(0) as usize
}

/// Reads the counters.
pub(crate) fn stats() -> Stats {
    let s = sched();
    let limit = thread_limit(s);
    let inner = s.inner.lock();
    Stats {
        procs: s.gomaxprocs.load(Ordering::Relaxed),
        idle_procs: inner.pidle.len(),
        goroutines: num_goroutine(),
        threads: limit.threads,
        max_threads: limit.limit,
        idle_threads: inner.midle.len(),
        locked_threads: inner.locked_asleep,
        global_queue: s.runqsize.load(Ordering::Relaxed),
        handoffs: s.handoffs.load(Ordering::Relaxed),
        polls: s.netpoll.polls(),
    }
}
