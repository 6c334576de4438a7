//! Alarms of Python objects: what a deadline or a timer does when it is due.
//!
//! An alarm rings on a scheduler's stack, where no Python code may run. It only leaves itself in a list and wakes the
//! *servant*, a goroutine of our own that is neither counted nor shown. The servant acts, with the GIL like any goroutine.
//! What it drops may have finalizers, and they may wait, for an alarm too. So before it acts it makes another one the
//! servant: the *spare*, which is the one that acted last, or a new one if that has not come back.
//!
//! An alarm may have a goroutine of its own, whom its ring concerns first: one in a `timeout` block. If that waits, the ring
//! ends its wait and nobody else is woken: it acts for itself, and hands on what else has rung ([`hand_on`]).
//!
//! # Invariants
//! 1. `target` is the object for which the alarm was made, borrowed: the object takes itself out before it dies. It and
//!    `seq` are used with the GIL held.
//! 2. Whoever sets or stops an alarm holds the GIL.
//! 3. Whoever comes back interrupted calls [`hand_on`]: the interrupt may have been a ring.
//! 4. What rings without the GIL takes no lock: a fork may come at any time, and nobody would release it in the child.
//!
//! Go: runtime/time.go (timer.f)

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{fence, AtomicPtr, AtomicU64, Ordering};
use std::sync::Arc;

use go_lib::runtime::embedder::{self, Alarm, GRef, Ring, WaitReason};
use pyo3::ffi::{self, PyObject};

use crate::ffi::obj::{self, Raw};
use crate::ffi::raw::parking;
use crate::ffi::raw::{guard, guard_wait};

/// What an object does when its alarm rings; it is alive meanwhile, the GIL is held, and no exception may be left set.
pub(crate) type Act = unsafe fn(target: Raw);

/// The alarm of one object.
pub(crate) struct HostAlarm {
    alarm: Alarm,
    act: Act,
    /// By 1; null once the object is gone.
    target: AtomicPtr<PyObject>,
    /// Of the last setting: a ring of an earlier one does nothing.
    seq: AtomicU64,
    /// The goroutine that the ring concerns first. By 3.
    whom: Option<GRef>,
}

/// A ring that was not acted upon.
struct Rung {
    alarm: Arc<HostAlarm>,
    seq: u64,
    next: *mut Rung,
}

impl Rung {
    /// It is of the alarm's last setting, and the object is there.
    fn is_current(&self) -> bool {
        self.alarm.seq.load(Ordering::Relaxed) == self.seq
            && !self.alarm.target.load(Ordering::Relaxed).is_null()
    }
}

/// By 4: the newest first.
static RUNG: AtomicPtr<Rung> = AtomicPtr::new(ptr::null_mut());
/// What was taken from `RUNG` and not yet acted upon, the oldest first. With the GIL.
static TAKEN: AtomicPtr<Rung> = AtomicPtr::new(ptr::null_mut());
/// The servant, once somebody has set an alarm; never freed.
static SERVANT: AtomicPtr<GRef> = AtomicPtr::new(ptr::null_mut());
/// One that has acted and waits to be the servant again; null while there is none. With the GIL.
static SPARE: AtomicPtr<GRef> = AtomicPtr::new(ptr::null_mut());
/// How a servant is made; set at import.
static MAKE_SERVANT: Maker = Maker(UnsafeCell::new(None));

struct Maker(UnsafeCell<Option<unsafe fn() -> Option<GRef>>>);
// SAFETY: used with the GIL held.
unsafe impl Sync for Maker {}

impl Ring for HostAlarm {
    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn ring(self: Arc<Self>, seq: u64) {
        let whom = self.whom;
        let rung = Box::into_raw(Box::new(Rung { alarm: self, seq, next: ptr::null_mut() }));
        let mut first = RUNG.load(Ordering::Relaxed);
        loop {
            // SAFETY: ours until it is in the list.
            unsafe { (*rung).next = first };
            // Release: publishes the ring; pairs with the Acquire in take_rung.
            match RUNG.compare_exchange_weak(first, rung, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // After the push: whoever is woken finds it.
        if whom.is_some_and(GRef::interrupt) {
            return;
        }
        // After the push: a servant that parks just now is woken again. StoreLoad: either we see who has become the
        // servant, or that one's maker sees the ring; pairs with the fence in wake_for_the_rest.
        fence(Ordering::SeqCst);
        wake_servant();
    }
}

fn wake_servant() {
    // SAFETY: never freed. Acquire: pairs with the Release in start_servant.
    if let Some(servant) = unsafe { SERVANT.load(Ordering::Acquire).as_ref() } {
        servant.interrupt();
    }
}

impl HostAlarm {
    /// An alarm that is not set; its ring concerns the goroutine `whom` first, if there is one.
    pub(crate) fn new(target: Raw, act: Act, whom: Option<GRef>) -> Arc<HostAlarm> {
        Arc::new(HostAlarm {
            alarm: Alarm::new(),
            act,
            target: AtomicPtr::new(target),
            seq: AtomicU64::new(0),
            whom,
        })
    }

    /// Sets it to `when_ns` of the monotonic clock, instead of what it was set to. None: an exception is set. True if it
    /// was set before.
    ///
    /// # Safety
    /// The GIL is held.
    pub(crate) unsafe fn set(self: &Arc<Self>, when_ns: i64) -> Option<bool> {
        // SAFETY: the GIL is held: by 2 nobody else sets or stops it.
        unsafe {
            if !ensure_servant() {
                return None;
            }
            let seq = self.seq.load(Ordering::Relaxed) + 1;
            self.seq.store(seq, Ordering::Relaxed);
            guard(|| Alarm::set(self, when_ns, seq))
        }
    }

    /// Stops it: what it does, it does not do any more. True if it was set.
    ///
    /// # Safety
    /// The GIL is held.
    pub(crate) unsafe fn stop(self: &Arc<Self>) -> bool {
        self.seq.store(self.seq.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: by 2.
        unsafe { Alarm::stop(self) }
    }

    /// True if it was set last in the parent of this forked child, where it rings no more.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.alarm.is_of_parent()
    }

    /// The object goes away.
    ///
    /// # Safety
    /// The GIL is held.
    pub(crate) unsafe fn forget(self: Arc<Self>) {
        self.target.store(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: the caller's duty.
        unsafe { self.stop() };
    }
}

/// Starts the servant if there is none; false: an exception is set.
#[inline]
unsafe fn ensure_servant() -> bool {
    // SAFETY: the GIL is held.
    !SERVANT.load(Ordering::Relaxed).is_null() || unsafe { start_servant() }
}

#[cold]
#[inline(never)]
unsafe fn start_servant() -> bool {
    // SAFETY: the GIL is held; the servant runs first when we give it up.
    unsafe {
        let Some(servant) = (*MAKE_SERVANT.0.get()).and_then(|make| make()) else { return false };
        // Release: pairs with the Acquire in ring.
        SERVANT.store(Box::into_raw(Box::new(servant)), Ordering::Release);
        true
    }
}

/// Says how a goroutine is made that runs [`serve_alarms`](golib_entry_serve_alarms): what runs goroutines is above us. It
/// gives the new one, or none with an exception set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn set_maker(make: unsafe fn() -> Option<GRef>) {
    // SAFETY: the GIL is held.
    unsafe { *MAKE_SERVANT.0.get() = Some(make) };
}

/// In a forked child: the servant is gone, and what the parent had set does not ring here.
pub(crate) fn after_fork() {
    for list in [&RUNG, &TAKEN] {
        list.store(ptr::null_mut(), Ordering::Relaxed);
    }
    for one in [&SERVANT, &SPARE] {
        one.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

/// At exit, when goroutines have stopped: the next alarm that is set is refused, as a goroutine is.
pub(crate) fn at_exit() {
    SERVANT.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Makes another one the servant, since the caller is about to act. Without one it acts nevertheless.
unsafe fn hand_over() {
    let spare = SPARE.swap(ptr::null_mut(), Ordering::Relaxed);
    if !spare.is_null() {
        // Release: as in start_servant; pairs with the Acquire of whoever wakes the servant.
        SERVANT.store(spare, Ordering::Release);
        return;
    }
    // SAFETY: the GIL is held.
    unsafe {
        if !start_servant() {
            ffi::PyErr_WriteUnraisable(ffi::Py_None());
        }
    }
}

// `_golib._serve_alarms()`: a servant's life. It ends when it comes back and finds a spare.
parking!(golib_entry_serve_alarms => serve_alarms(_module, _args, _n; record) {
    // Who was started last is the servant, and runs before it hands that over.
    let me = SERVANT.load(Ordering::Relaxed);
    loop {
        if any_rung() {
            if SERVANT.load(Ordering::Relaxed) == me {
                // SAFETY: the GIL is held.
                unsafe { hand_over() };
            } else if SPARE.load(Ordering::Relaxed) == me {
                SPARE.store(ptr::null_mut(), Ordering::Relaxed);
            }
            // SAFETY: the GIL is held.
            unsafe { act_on_all() };
            if SERVANT.load(Ordering::Relaxed) == me {
                // Nobody else could be had.
            } else if SPARE.load(Ordering::Relaxed).is_null() {
                SPARE.store(me, Ordering::Relaxed);
            } else {
                // SAFETY: the GIL is held.
                return unsafe { obj::none() };
            }
        }
        // An interrupt that came meanwhile ends the wait at once.
        let _ = guard_wait(record, || embedder::park_forever(WaitReason::Sleep));
        embedder::take_interrupt();
    }
});

/// True if something has rung that was not acted upon.
fn any_rung() -> bool {
    // Relaxed: the interrupt that told us orders them, and take_rung acquires.
    !TAKEN.load(Ordering::Relaxed).is_null() || !RUNG.load(Ordering::Relaxed).is_null()
}

/// The caller's wait was interrupted, and it has acted on what concerned it: the servant acts on the rest.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn hand_on() {
    while let Some(rung) = take_rung() {
        if rung.is_current() {
            // SAFETY: ours.
            TAKEN.store(Box::into_raw(rung), Ordering::Relaxed);
            wake_servant();
            return;
        }
    }
}

/// What is left is the servant's, should the caller have to wait in what it does now.
fn wake_for_the_rest() {
    // Pairs with the fence in ring.
    fence(Ordering::SeqCst);
    if any_rung() {
        wake_servant();
    }
}

/// Acts on what has rung, in that order. Nothing that needs dropping is held while Python code may run.
unsafe fn act_on_all() {
    loop {
        let Some(rung) = take_rung() else { return };
        wake_for_the_rest();
        let (act, target) = (rung.alarm.act, rung.alarm.target.load(Ordering::Relaxed));
        let is_current = rung.is_current();
        drop(rung);
        if !is_current {
            continue;
        }
        // SAFETY: by 1 the target is alive.
        unsafe {
            ffi::Py_INCREF(target);
            act(target);
            ffi::Py_DECREF(target);
        }
    }
}

/// The oldest ring that was not acted upon.
fn take_rung() -> Option<Box<Rung>> {
    let mut first = TAKEN.load(Ordering::Relaxed);
    if first.is_null() {
        // Acquire: pairs with the Release in ring.
        let mut rest = RUNG.swap(ptr::null_mut(), Ordering::Acquire);
        while !rest.is_null() {
            // SAFETY: taken out of the list: ours.
            let next = unsafe { std::mem::replace(&mut (*rest).next, first) };
            first = std::mem::replace(&mut rest, next);
        }
    }
    if first.is_null() {
        return None;
    }
    // SAFETY: made by Box in ring, and ours.
    let rung = unsafe { Box::from_raw(first) };
    TAKEN.store(rung.next, Ordering::Relaxed);
    Some(rung)
}
