//! Alarms of Python objects: the actions of deadlines and timers that are due.
//!
//! An alarm rings on a scheduler's stack, where no Python code may run. It only leaves itself in a list and wakes the
//! *servant*, a goroutine of our own that is neither counted nor shown. The servant acts, with the GIL like any
//! goroutine. The objects that it drops may have finalizers, which may wait, even for an alarm. So before it acts it
//! makes another one the servant: the *spare*, which is the one that acted last, or a new one if that has not come
//! back.
//!
//! An alarm may name a goroutine, which is in a `timeout` block or in a `with` block of a context with a deadline. If that
//! goroutine waits, the ring ends its wait and wakes nobody else: the goroutine acts for itself, and hands on all other
//! rings ([`hand_on`]).
//!
//! # Invariants
//! 1. `target` is the object for which the alarm was made, borrowed: the object takes itself out before it dies. It and
//!    `seq` are used with the GIL held.
//! 2. An alarm is set and stopped with the GIL held.
//! 3. A goroutine whose wait was interrupted calls [`hand_on`]: the interrupt may have been a ring.
//! 4. A ring without the GIL takes no lock: a fork may come at any time, and nobody would release the lock in the
//!    child.
//!
//! Go: runtime/time.go (timer.f)

use std::ptr;
use std::sync::atomic::{fence, AtomicPtr, AtomicU64, Ordering};
use std::sync::Arc;

use go_lib::runtime::embedder::{self, Alarm, GRef, GRefCell, Ring, WaitReason};
use pyo3::ffi::PyObject;

use crate::ffi::gil::{guard, Exclusive, Gil};
use crate::ffi::methods::{entry, Method, Module};
use crate::ffi::python::{none, none_ref, write_unraisable};
use crate::ffi::refs::{Field, New, Outcome, Ref};

/// An object's action when its alarm rings; no exception may be left set.
pub(crate) type Act = fn(Gil<'_>, target: Ref<'_>);

/// The alarm of one object.
pub(crate) struct HostAlarm {
    alarm: Alarm,
    act: Act,
    /// By 1; null once the object is gone.
    target: AtomicPtr<PyObject>,
    /// The number of the last setting: a ring of an earlier one does nothing.
    seq: AtomicU64,
    /// The goroutine that it names, if there is one. By 3; written with the GIL held.
    whom: GRefCell,
}

/// A ring that was not acted upon.
struct Rung {
    alarm: Arc<HostAlarm>,
    seq: u64,
    next: *mut Rung,
}

impl Rung {
    /// It is from the alarm's last setting, and the object is alive.
    fn is_current(&self) -> bool {
        self.alarm.seq.load(Ordering::Relaxed) == self.seq
            && !self.alarm.target.load(Ordering::Relaxed).is_null()
    }
}

/// By 4: the newest first.
static RUNG: AtomicPtr<Rung> = AtomicPtr::new(ptr::null_mut());
/// The alarms taken from `RUNG` and not yet acted upon, the oldest first. With the GIL.
static TAKEN: AtomicPtr<Rung> = AtomicPtr::new(ptr::null_mut());
/// The servant, once somebody has set an alarm; never freed.
static SERVANT: AtomicPtr<GRef> = AtomicPtr::new(ptr::null_mut());
/// A goroutine that has acted and waits to be the servant again; null if there is none. With the GIL.
static SPARE: AtomicPtr<GRef> = AtomicPtr::new(ptr::null_mut());
/// How a servant is made; set at import.
static MAKE_SERVANT: Field<Option<Maker>> = Field::new(None);

/// See [`set_maker`].
pub(crate) type Maker = fn(Gil<'_>) -> Outcome<GRef>;

impl Ring for HostAlarm {
    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn ring(self: Arc<Self>, seq: u64) {
        let whom = self.whom.get();
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
        // After the push, so that the woken goroutine finds it.
        if whom.is_some_and(GRef::interrupt) {
            return;
        }
        // After the push: a servant that parks just now is woken again. StoreLoad: either this sees the new servant,
        // or the servant's maker sees the ring; pairs with the fence in wake_for_the_rest.
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
    /// An alarm that is not set, and names no goroutine.
    pub(crate) fn new(target: Ref<'_>, act: Act) -> Arc<HostAlarm> {
        Arc::new(HostAlarm {
            alarm: Alarm::new(),
            act,
            target: AtomicPtr::new(target.as_raw()),
            seq: AtomicU64::new(0),
            whom: GRefCell::new(None),
        })
    }

    /// The goroutine that its ring concerns first.
    pub(crate) fn whom(&self, _gil: Exclusive<'_>) -> Option<GRef> {
        self.whom.get()
    }

    /// Its ring concerns `whom` first from now on.
    pub(crate) fn concerns(&self, _gil: Exclusive<'_>, whom: Option<GRef>) {
        self.whom.set(whom);
    }

    /// Sets it to `when_ns` of the monotonic clock, instead of what it was set to. True if it was set before.
    pub(crate) fn set(self: &Arc<Self>, gil: Gil<'_>, when_ns: i64) -> Outcome<bool> {
        ensure_servant(gil)?;
        let seq = self.seq.load(Ordering::Relaxed) + 1;
        self.seq.store(seq, Ordering::Relaxed);
        // SAFETY: by 2 nobody else sets or stops it.
        guard(gil, || unsafe { Alarm::set(self, when_ns, seq) })
    }

    /// Stops it: its action is not performed any more. True if it was set.
    pub(crate) fn stop(self: &Arc<Self>, _gil: Gil<'_>) -> bool {
        self.seq.store(self.seq.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: by 2.
        unsafe { Alarm::stop(self) }
    }

    /// True if it was last set in the parent of this forked child: it does not ring here.
    pub(crate) fn is_of_parent(&self) -> bool {
        self.alarm.is_of_parent()
    }

    /// The object goes away.
    pub(crate) fn forget(self: Arc<Self>, gil: Gil<'_>) {
        self.target.store(ptr::null_mut(), Ordering::Relaxed);
        self.stop(gil);
    }
}

/// Starts the servant if there is none.
#[inline]
fn ensure_servant(gil: Gil<'_>) -> Outcome<()> {
    if SERVANT.load(Ordering::Relaxed).is_null() {
        return start_servant(gil);
    }
    Ok(())
}

/// A new servant, which runs first when we give the GIL up.
#[cold]
#[inline(never)]
fn start_servant(gil: Gil<'_>) -> Outcome<()> {
    let Some(make) = MAKE_SERVANT.get(gil.exclusive()) else { return Ok(()) };
    let servant = make(gil)?;
    // Release: pairs with the Acquire in ring.
    SERVANT.store(Box::into_raw(Box::new(servant)), Ordering::Release);
    Ok(())
}

/// Sets the function that makes a goroutine that runs [`serve_alarms`](golib_entry_serve_alarms): running goroutines
/// belongs to a higher level.
pub(crate) fn set_maker(gil: Gil<'_>, make: Maker) {
    MAKE_SERVANT.set(gil.exclusive(), Some(make));
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

/// Makes another goroutine the servant, since the caller is about to act. If there is none to be had, the caller acts
/// nevertheless.
fn hand_over(gil: Gil<'_>) {
    let spare = SPARE.swap(ptr::null_mut(), Ordering::Relaxed);
    if !spare.is_null() {
        // Release: as in start_servant; pairs with the Acquire of the waker of the servant.
        SERVANT.store(spare, Ordering::Release);
        return;
    }
    if start_servant(gil).is_err() {
        write_unraisable(gil, none_ref());
    }
}

// `_golib._serve_alarms()`: a servant's life. It ends when it comes back and finds a spare.
entry! { SERVE: golib_entry_serve_alarms => serve_alarms fast(entry, _module: Module, _args) {
    // The goroutine started last is the servant, and runs before it hands the role over.
    let me = SERVANT.load(Ordering::Relaxed);
    loop {
        if any_rung() {
            if SERVANT.load(Ordering::Relaxed) == me {
                hand_over(entry.gil());
            } else if SPARE.load(Ordering::Relaxed) == me {
                SPARE.store(ptr::null_mut(), Ordering::Relaxed);
            }
            act_on_all(entry.gil());
            if SERVANT.load(Ordering::Relaxed) == me {
                // There was no other goroutine to be had.
            } else if SPARE.load(Ordering::Relaxed).is_null() {
                SPARE.store(me, Ordering::Relaxed);
            } else {
                return Ok(none(entry.gil()));
            }
        }
        // An interrupt that came meanwhile ends the wait at once.
        let _ = entry.wait(|| embedder::park_forever(WaitReason::Sleep));
        embedder::take_interrupt();
    }
} }

/// The function `_serve_alarms`.
pub(crate) const SERVE_ALARMS: Method<Module> =
    Method::parks(c"_serve_alarms", SERVE, c"For the Python part of golib.");

/// True if something has rung that was not acted upon.
fn any_rung() -> bool {
    // Relaxed: the interrupt that brought the news orders them, and take_rung acquires.
    !TAKEN.load(Ordering::Relaxed).is_null() || !RUNG.load(Ordering::Relaxed).is_null()
}

/// The caller's wait was interrupted, and it has acted on what concerned it: the servant acts on the rest.
pub(crate) fn hand_on(_gil: Gil<'_>) {
    while let Some(rung) = take_rung() {
        if rung.is_current() {
            TAKEN.store(Box::into_raw(rung), Ordering::Relaxed);
            wake_servant();
            return;
        }
    }
}

/// The servant acts on the rest, in case the caller has to wait in its own action.
fn wake_for_the_rest() {
    // Pairs with the fence in ring.
    fence(Ordering::SeqCst);
    if any_rung() {
        wake_servant();
    }
}

/// Acts on what has rung, in that order. Nothing that needs dropping is held while Python code may run.
fn act_on_all(gil: Gil<'_>) {
    while let Some((act, target)) = next_act(gil) {
        act(gil, target.get());
        target.release(gil);
    }
}

/// The next action, and its object.
#[inline(never)]
fn next_act(gil: Gil<'_>) -> Option<(Act, New)> {
    loop {
        let rung = take_rung()?;
        wake_for_the_rest();
        if rung.is_current() {
            // SAFETY: by 1 the target is alive.
            let target = unsafe { Ref::nullable(rung.alarm.target.load(Ordering::Relaxed)) };
            return target.map(|target| (rung.alarm.act, target.own(gil)));
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
