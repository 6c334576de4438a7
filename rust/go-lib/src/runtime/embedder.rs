//! The host's face: what a host may call, in a form that reports instead of panicking. The hooks that the
//! runtime calls in turn, and the rules they keep to, are in `object::host`.

// On Windows a host's own descriptors are not served. An outer doc comment would change where the module's links lead.
#[cfg(all(unix, not(golib_loom)))]
pub mod net;

use std::io;

use crate::prim::Ordering;
use crate::runtime::object::g;
pub use crate::runtime::object::gref::{GRef, GRefCell};
pub use crate::runtime::object::host::{install, Embedder, Holder, Overstay};
pub use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc;

pub use crate::runtime::block::chan::{CloseOfClosed, Hchan, RecvError, SendError};
#[cfg(unix)]
pub use crate::runtime::block::netpoll::foreign::{PollError, PollFd};
pub use crate::runtime::block::select::{selectgo, Case, SelectError, Selected};
pub use crate::runtime::block::sema::{
    CondCore, Flag, MutexCore, ReleasedTooMany, RwMutexCore, RwUnlockError, SemaphoreCore,
    UnlockOfUnlocked, WaitGroupCore, WaitGroupError,
};
pub use crate::runtime::block::time::{sleep_until, Alarm, Ring};
pub use crate::runtime::object::doorbell::Doorbell;
pub use crate::runtime::object::wait::{Wait, WaitError};
pub use crate::runtime::proc::exit::{is_exiting, stop_the_ms};
#[cfg(all(unix, not(golib_loom)))]
pub use crate::runtime::proc::fork::{after_fork_in_child, before_fork, ForkChild};
pub use crate::runtime::proc::newm::{set_max_threads, ThreadLimit};
pub use crate::runtime::proc::stats::Stats;
#[cfg(not(golib_loom))]
pub use crate::runtime::proc::watch::{call_on_thread, is_outside, look_within};
pub use crate::runtime::sched::set_debug_migrate;

/// Operations of a host on a goroutine.
impl GRef {
    /// Ends its wait because nothing else can. False if it is not waiting any more.
    pub fn deadlock(self) -> bool {
        let claimed = self.is_alive() && self.g().wait.claim_deadlock();
        if claimed {
            // SAFETY: we claimed the wait.
            unsafe { proc::ready::goready(self.gp) };
        }
        claimed
    }

    /// Tells it that there is news: ends its wait with an interrupt, or makes the system call that it is in return with
    /// EINTR. A goroutine that waits to run, or is in no system call, does not notice.
    pub fn disturb(self) {
        // Acquire, here and below: pairs with the Release of casgstatus and of `runs_now`.
        match self.g().status.load(Ordering::Acquire) {
            g::GWAITING => {
                self.interrupt();
            }
            g::GRUNNING if self.is_alive() => {
                // Acquire: pairs with the Release of `runs_now`.
                let m = self.g().m.load(Ordering::Acquire);
                if !m.is_null() {
                    // It may have resumed meanwhile: the goroutine that runs there now repeats its call. SAFETY: Ms
                    // are never freed.
                    crate::sys::disturb::disturb(unsafe { (*m).tid.load(Ordering::Relaxed) });
                }
            }
            _ => {}
        }
    }

    /// The dump's first line: `goroutine 7 [chan receive, 2 minutes]:`.
    pub fn header(self) -> String {
        crate::runtime::traceback::header(self)
    }

    /// Ends its wait with an interrupt (true), or leaves the interrupt pending for its next wait.
    pub fn interrupt(self) -> bool {
        let claimed = self.is_alive() && self.g().wait.interrupt();
        if claimed {
            // SAFETY: we claimed the wait.
            unsafe { proc::ready::goready(self.gp) };
        }
        claimed
    }
}

/// A new runnable goroutine of the host with the payload `host`.
///
/// # Errors
/// No thread can be had to run it.
///
/// # Safety
/// `host` stays valid until the table's `main` has returned for it.
pub unsafe fn spawn(host: *mut (), stack_bytes: usize) -> io::Result<GRef> {
    // SAFETY: the caller's duty.
    unsafe { proc::newproc::newproc_host(host, stack_bytes, false) }
}

/// As [`spawn`], for a servant of the host: it is neither counted nor shown, and is ignored by the deadlock
/// detector while it waits.
///
/// # Errors
/// As [`spawn`].
///
/// # Safety
/// As [`spawn`].
pub unsafe fn spawn_system(host: *mut (), stack_bytes: usize) -> io::Result<GRef> {
    // SAFETY: the caller's duty.
    unsafe { proc::newproc::newproc_host(host, stack_bytes, true) }
}

/// The running goroutine; None on a thread that the runtime does not know.
pub fn current() -> Option<GRef> {
    let gp = proc::current_goroutine();
    (!gp.is_null()).then(|| GRef::new(gp))
}

/// The payload of the running host goroutine, or null.
#[inline]
pub fn current_host() -> *mut () {
    let gp = proc::current_goroutine();
    if gp.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the current goroutine is valid.
    unsafe { (*gp).host.load(Ordering::Relaxed) }
}

/// Gives the running host goroutine, which is about to end, another payload (null: none). From now on nobody can find the
/// former one through the goroutine.
pub fn set_host(host: *mut ()) {
    let gp = proc::current_goroutine();
    if !gp.is_null() {
        // SAFETY: the current goroutine is valid. Release: pairs with the Acquire in GRef::host.
        unsafe { (*gp).host.store(host, Ordering::Release) };
    }
}

/// Sets the argument of the `may_migrate` call at this goroutine's next park. Call it right before each wait: a park
/// consumes the value, and it stays behind on this thread if the goroutine leaves the thread first.
#[inline(always)]
pub fn set_caller(caller: *const ()) {
    proc::set_caller(caller);
}

/// True while an interrupt of the running goroutine (or thread) is pending: its next wait will not begin.
#[inline]
pub fn is_interrupted() -> bool {
    // SAFETY: getg is the caller's own G.
    unsafe { (*proc::getg()).wait.is_pending() }
}

/// Takes the running goroutine's (or thread's) pending interrupt; true if there was one.
pub fn take_interrupt() -> bool {
    // SAFETY: getg is the caller's own G.
    unsafe { (*proc::getg()).wait.take_pending() }
}

/// For what and for how long the calling goroutine (or thread) waited until a moment ago, as a dump showed it.
pub fn last_wait() -> String {
    // SAFETY: getg is the caller's own G.
    crate::runtime::traceback::last_wait(unsafe { &*proc::getg() })
}

/// The calling thread's own G, so that another thread can interrupt its wait.
pub fn current_or_thread() -> GRef {
    GRef::new(proc::getg())
}

/// See [`crate::gosched`]. Returns false if an interrupt is pending.
pub fn gosched() -> bool {
    proc::park::gosched();
    // SAFETY: our own G.
    unsafe { !(*proc::getg()).wait.is_pending() }
}

/// Sleeps forever; only an interrupt or the deadlock detector ends it.
pub fn park_forever(reason: WaitReason) -> WaitError {
    proc::park::park_forever(reason)
}

/// How many goroutines live.
pub fn num_goroutine() -> usize {
    proc::stats::num_goroutine()
}

/// GOMAXPROCS.
pub fn gomaxprocs() -> usize {
    proc::procs::gomaxprocs()
}

/// Sets GOMAXPROCS; the former value. Ps beyond `n` have stopped when it returns.
pub fn set_gomaxprocs(n: usize) -> usize {
    proc::procs::set_gomaxprocs(n)
}

/// Calls `f` with every live goroutine.
pub fn for_each_g(f: &mut dyn FnMut(GRef)) {
    crate::runtime::sched::sched().for_each_g(f);
}

/// Keeps the calling goroutine on its OS thread; nests. A host also counts its thread-owned locks
/// here.
pub fn lock_os_thread() {
    proc::locked::lock_os_thread();
}

/// Undoes one [`lock_os_thread`]. False if there was none.
pub fn unlock_os_thread() -> bool {
    proc::locked::unlock_os_thread()
}

/// Adds and removes signals (bit n - 1 is signal n) to and from the masks of the runtime's threads, less the caller's, and
/// of the thread of `also`.
#[cfg(not(golib_loom))]
pub fn change_signal_masks(also: Option<GRef>, added: u64, removed: u64) {
    let s = crate::runtime::sched::sched();
    let mine = crate::sys::thread::gettid() as u32;
    let mut tids = vec![s.sysmon_tid.load(Ordering::Relaxed)];
    // SAFETY: Ms are never freed.
    let tid_of = |m: *mut crate::runtime::object::m::M| unsafe { (*m).tid.load(Ordering::Relaxed) };
    tids.extend(s.inner.lock().allm.iter().map(|&m| tid_of(m)));
    // Acquire: pairs with the Release of `runs_now`.
    tids.extend(also.map(|g| tid_of(g.g().m.load(Ordering::Acquire))));
    tids.retain(|&tid| tid != 0 && tid != mine);
    crate::sys::disturb::change_masks(&tids, added, removed);
}

/// Announces a blocking call of the running goroutine.
pub fn entersyscall() {
    proc::syscall::entersyscall();
}

/// Ends it.
pub fn exitsyscall() {
    proc::syscall::exitsyscall();
}

/// OS threads of the host that sleep in the runtime.
pub fn threads_asleep() -> usize {
    crate::runtime::sched::sched().threads_asleep.load(Ordering::Relaxed)
}

/// A message that says why there is no thread (`errno` from a refused [`spawn`]): the limits in force.
pub fn thread_limit_text(errno: i32) -> String {
    proc::newm::limit_text(crate::runtime::sched::sched(), errno)
}

/// A message that says why there is no stack (a [`spawn`] refused with ENOMEM).
pub fn stack_limit_text() -> &'static str {
    proc::stacks::limit_text()
}

/// Counters of the scheduler.
pub fn stats() -> Stats {
    proc::stats::stats()
}

/// True while everything the runtime knows of is asleep for good.
pub fn is_dead() -> bool {
    proc::checkdead::is_dead(crate::runtime::sched::sched())
}

/// How many OS threads of this process the runtime does not know: neither the caller, nor its own, nor
/// asleep in it for good. None: the system does not tell.
pub fn strangers() -> Option<usize> {
    proc::checkdead::strangers(crate::runtime::sched::sched())
}

/// Starts the runtime if it has not been started.
pub fn start() {
    proc::procs::ensure_started();
}

/// Nanoseconds of the clock in which deadlines are given, which is monotonic.
pub fn nanotime() -> i64 {
    crate::runtime::clock::now()
}

/// A one-shot event: set once, wakes all waiters.
pub use crate::runtime::block::sema::Event;
