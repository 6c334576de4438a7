//! Sleeping, and alarms: actions at a given time.
//!
//! A sleep is a wait without a waker: only its timer ends it, or an interrupt. An alarm is a timer
//! that calls a function; no goroutine waits for it.
//!
//! Go: runtime/time.go (timeSleep, newTimer, stopTimer)

use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::prim::{AtomicPtr, Ordering};
use crate::runtime::clock;
use crate::runtime::object::g::G;
use crate::runtime::object::timers::{Action, Timer, Timers};
use crate::runtime::object::wait::{WaitError, Wake};
use crate::runtime::object::waitreason::WaitReason;
use crate::runtime::proc::park::gopark;
use crate::runtime::proc::{enter_rt, kick, leave_rt, procs, wake};
use crate::runtime::sched::{sched, Sched};

/// Sleeps until `deadline_ns` of the monotonic clock; returns at once if that is past.
///
/// Blocks: the goroutine or the OS thread.
///
/// # Errors
/// [`WaitError::Interrupted`]: it ended early.
pub fn sleep_until(deadline_ns: i64) -> Result<(), WaitError> {
    if deadline_ns <= clock::now() {
        return Ok(());
    }
    // SAFETY: no locks to release.
    match unsafe { gopark(hold_nothing, ptr::null_mut(), WaitReason::Sleep, Some(deadline_ns)) } {
        Wake::Timeout | Wake::Peer => Ok(()),
        Wake::Interrupt => Err(WaitError::Interrupted),
        Wake::Deadlock => Err(WaitError::Deadlock),
    }
}

/// The monotonic time `d` from now; a duration beyond the clock's range is the end of time.
pub(crate) fn deadline_after(d: Duration) -> i64 {
    clock::now().saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// The monotonic time of `at`, or a little later: a past one is now.
pub(crate) fn deadline_at(at: Instant) -> i64 {
    // Read before the clock that it is added to: so it is never too early.
    let left = at.saturating_duration_since(clock::instant());
    deadline_after(left)
}

/// `gopark`'s unlockf of a wait that nobody needs to find.
unsafe fn hold_nothing(_gp: *mut G, _arg: *mut ()) {}

/// Arms `timer` to do `action` at `when_ns`, for a caller that does not wait for it.
///
/// # Safety
/// As [`Timers::arm_for`], but that Ps are never freed.
#[inline(always)]
pub(crate) unsafe fn arm_and_go_on(timer: &Timer, when_ns: i64, action: Action) {
    let m = enter_rt();
    // SAFETY: the caller's duty.
    if wake::arm_timer(m, when_ns, |heap| unsafe { heap.arm_for(timer, when_ns, action) }) {
        // sysmon watches it, because the caller continues.
        kick::kick(sched());
    }
    if !m.curg.get().is_null() {
        leave_rt(m);
    }
}

/// The owner of an [`Alarm`].
pub trait Ring: Send + Sync + 'static {
    /// Its alarm: always the same one.
    fn alarm(&self) -> &Alarm;

    /// The alarm has gone off that was set with `seq`; it may have been set anew since.
    ///
    /// Called on a scheduler's stack, with no lock held and no interpreter attached: it may make
    /// goroutines and wake them, but must neither park nor call code of the user.
    fn ring(self: Arc<Self>, seq: u64);
}

/// A timer that rings its owner, once each time it is set.
///
/// While it is set the runtime holds a reference to the owner.
pub struct Alarm {
    timer: Timer,
    /// The scheduler in whose heaps it was set last: in a forked child there is another.
    sched: AtomicPtr<Sched>,
}

// SAFETY: the timer's plain fields are guarded by its heap's lock; setting and stopping are the
// caller's to serialise.
unsafe impl Sync for Alarm {}
// SAFETY: as Sync: an alarm that is set does not move, its owner being in an Arc.
unsafe impl Send for Alarm {}

impl Default for Alarm {
    fn default() -> Self {
        Alarm::new()
    }
}

impl Alarm {
    /// One that is not set.
    #[must_use]
    pub fn new() -> Self {
        Alarm { timer: Timer::new(), sched: AtomicPtr::new(ptr::null_mut()) }
    }

    /// True if it was set last before a fork, in the parent: it is not to be set again by itself.
    pub fn is_of_parent(&self) -> bool {
        !ptr::eq(self.sched.load(Ordering::Relaxed), sched())
    }

    /// Sets the alarm of `owner` to `when_ns` of the monotonic clock, instead of what it was set to.
    /// Starts the runtime if it has not been started. True if it was set before.
    ///
    /// # Safety
    /// No other thread sets or stops this alarm meanwhile.
    pub unsafe fn set<T: Ring>(owner: &Arc<T>, when_ns: i64, seq: u64) -> bool {
        // SAFETY: the caller's duty.
        let was_set = unsafe { Alarm::stop(owner) };
        let s = procs::ensure_started();
        let alarm = owner.alarm();
        alarm.sched.store(ptr::from_ref(s).cast_mut(), Ordering::Relaxed);
        let arg = Arc::into_raw(owner.clone()).cast_mut().cast();
        let action = Action { fire: ring::<T>, arg, seq };
        // SAFETY: not armed; the reference in `arg` keeps the timer where it is.
        unsafe { arm_and_go_on(&alarm.timer, when_ns, action) };
        was_set
    }

    /// Stops the alarm of `owner`. False if it was not set or is about to ring.
    ///
    /// # Safety
    /// As [`set`](Self::set).
    pub unsafe fn stop<T: Ring>(owner: &Arc<T>) -> bool {
        let alarm = owner.alarm();
        let set_in = alarm.sched.load(Ordering::Relaxed);
        if set_in.is_null() {
            return false;
        }
        if !ptr::eq(set_in, sched()) {
            // Set before a fork: the old heap may be locked by a thread that is gone.
            alarm.timer.forget();
            return false;
        }
        // SAFETY: Ps live as long as the scheduler.
        let stopped = unsafe { Timers::disarm(&alarm.timer) };
        if stopped {
            // SAFETY: the reference that `set` made, which nobody will use any more.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(owner)) };
        }
        stopped
    }
}

/// An alarm's action.
unsafe fn ring<T: Ring>(owner: *mut (), seq: u64) -> *mut G {
    // SAFETY: the reference that `set` made: the timer was popped, so no stop takes it.
    let owner = unsafe { Arc::from_raw(owner.cast::<T>().cast_const()) };
    owner.ring(seq);
    ptr::null_mut()
}
