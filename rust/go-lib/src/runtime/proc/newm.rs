//! New threads, and how many there may be.
//!
//! Go: runtime/proc.go (newm)

use std::io;
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::m::M;
use crate::runtime::object::p::P;
use crate::runtime::proc::upcall;
use crate::runtime::sched::{sched, Sched};
use crate::sys::{cpus, errno, thread};

/// The thread limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThreadLimit {
    /// The limit in force.
    pub limit: usize,
    /// Threads alive.
    pub threads: usize,
}

/// Sets how many OS threads the runtime may use (10 000 at first); the former limit.
///
/// Each goroutine that blocks in the kernel or keeps its thread needs one more thread. If there is none to be
/// had, starting a goroutine panics.
///
/// # Examples
/// ```
/// let old = go_lib::debug::set_max_threads(500);
/// assert_eq!(go_lib::debug::set_max_threads(old), 500);
/// ```
pub fn set_max_threads(n: usize) -> usize {
    sched().max_threads.swap(n, Ordering::Relaxed)
}

/// A message that says why there is no thread.
pub(crate) fn limit_text(s: &Sched, errno: i32) -> String {
    let ThreadLimit { limit, threads } = thread_limit(s);
    if threads >= limit {
        return format!(
            "{threads} threads are in use, blocked outside or kept by pinned goroutines, and \
             set_max_threads allows {limit}"
        );
    }
    let pids = match cpus::pids_max() {
        Some(n) => format!("; pids.max of the control group is {n}"),
        None => String::new(),
    };
    let os = io::Error::from_raw_os_error(errno);
    format!("the OS refuses one more than {threads}: {os}{pids}")
}

/// The threads in use and the limit.
pub(crate) fn thread_limit(s: &Sched) -> ThreadLimit {
    ThreadLimit {
        limit: s.max_threads.load(Ordering::Relaxed),
        threads: s.nthreads.load(Ordering::Relaxed),
    }
}

/// Starts a new M that runs with `p`, or that becomes idle.
///
/// # Errors
/// The limit of `set_max_threads` (EAGAIN), or the OS's error. `p` stays the caller's.
pub(crate) fn newm(s: &'static Sched, p: Option<&P>, spinning: bool) -> io::Result<()> {
    if s.nthreads.fetch_add(1, Ordering::Relaxed) >= s.max_threads.load(Ordering::Relaxed) {
        s.nthreads.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::from_raw_os_error(errno::EAGAIN));
    }
    let of_dead = s.inner.lock().mdead.pop();
    let at = of_dead.unwrap_or_else(|| {
        let id = s.mid.fetch_add(1, Ordering::Relaxed) + 1;
        Box::into_raw(Box::new(M::new(id, false, s)))
    });
    // SAFETY: new, or its thread has ended; never freed.
    let m: &'static M = unsafe { &*at };
    m.ends.set(false);
    m.yield_asked.store(false, Ordering::Relaxed);
    m.park.clear();
    m.spinning.set(spinning);
    m.nextp.store(p.map_or(ptr::null(), ptr::from_ref).cast_mut(), Ordering::Relaxed);
    s.inner.lock().allm.push(at);
    // SAFETY: mstart expects an M of its own.
    let started = unsafe { thread::spawn(upcall::mstart(), at.cast()) };
    if started.is_err() {
        s.inner.lock().allm.retain(|&q| q != at);
        is_over(s, at);
    }
    started
}

/// The thread of the M at `at` has ended, or could not be started.
pub(crate) fn is_over(s: &Sched, at: *mut M) {
    s.nthreads.fetch_sub(1, Ordering::Relaxed);
    s.inner.lock().mdead.push(at);
}
