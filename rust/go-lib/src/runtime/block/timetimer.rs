//! The timers of users: they tick into a channel, or start a goroutine.
//!
//! # Invariants
//! 1. `seq` counts the settings. It, the alarm and the tick in the channel change together, under
//!    `state`; a ring with another `seq` does nothing. So after a stop or a new setting there is no
//!    tick of an earlier one, and none can come, not even from a ring under way on another M.
//! 2. `state` is held around the heap's and the channel's lock, never inside them; a goroutine
//!    woken by a tick is readied after it.
//! 3. A ticker whose last tick was not received is not set: it rests, and costs nothing until somebody receives that tick. The
//!    receive rings `bell`, which sets it to the next of its times.
//! 4. An object whose last reference a ring may drop holds nothing of the user's: the channel's
//!    receiver keeps the timer, the timer has a weak reference to the channel, and `call` is there
//!    only while the alarm is set, whose ring then gives it to a goroutine.
//!
//! Go: runtime/time.go (timeTimer, newTimer, stopTimer, resetTimer, unlockAndRun)

use std::panic::Location;
use std::ptr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use crate::runtime::block::chan::Hchan;
use crate::runtime::block::time::{Alarm, Ring};
use crate::runtime::clock;
use crate::runtime::object::doorbell::Doorbell;
use crate::runtime::object::lock::Locked;
use crate::runtime::object::start::Start;
use crate::runtime::object::timers::NEVER;
use crate::runtime::object::wait::Wait;
use crate::runtime::proc::newproc::newproc_late;
use crate::runtime::proc::ready::goready;

/// The holder of a timer's channel. It may be dropped on a scheduler's stack.
pub(crate) trait TickChan: Send + Sync + 'static {
    fn hchan(&self) -> &Hchan<Instant>;
}

/// The call of a timer without a channel, in a goroutine of its own.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) f: Arc<dyn Fn() + Send + Sync>,
    pub(crate) created_at: &'static Location<'static>,
}

/// The timer.
pub(crate) struct TimeTimer {
    alarm: Alarm,
    /// Written once, before anybody else has the timer.
    to: OnceLock<Weak<dyn TickChan>>,
    state: Locked<State>,
    /// By 3. Made when it first rests.
    bell: OnceLock<Box<Doorbell>>,
}

// SAFETY: the doorbell is used under the channel's lock, and refers to the timer itself.
unsafe impl Sync for TimeTimer {}
// SAFETY: as Sync.
unsafe impl Send for TimeTimer {}

struct State {
    /// By 1.
    seq: u64,
    /// It is still to tick, or to call.
    armed: bool,
    due_ns: i64,
    /// 0: it goes off once.
    period_ns: i64,
    /// By 4.
    call: Option<Call>,
    /// By 3.
    rests: bool,
}

impl TimeTimer {
    /// A timer that is not set.
    pub(crate) fn new() -> Arc<Self> {
        let state =
            State { seq: 0, armed: false, due_ns: NEVER, period_ns: 0, call: None, rests: false };
        Arc::new(TimeTimer {
            alarm: Alarm::new(),
            to: OnceLock::new(),
            state: Locked::new(state),
            bell: OnceLock::new(),
        })
    }

    /// Makes it a timer that ticks into `to`.
    pub(crate) fn tick_into(&self, to: Weak<dyn TickChan>) {
        // A second one would be a harmless mistake of this module.
        let _ = self.to.set(to);
    }

    /// Its channel, if somebody can still receive.
    fn chan(&self) -> Option<Arc<dyn TickChan>> {
        self.to.get().and_then(Weak::upgrade)
    }

    /// Sets it to go off at `due_ns` of the monotonic clock and every `period_ns` after, instead of
    /// what it was set to; [`NEVER`] is a time that does not come. True if it was still to go off.
    pub(crate) fn set(self: &Arc<Self>, due_ns: i64, period_ns: i64, call: Option<Call>) -> bool {
        // All are dropped after the lock: a channel stops its timer, a call is the user's.
        let chan = self.chan();
        let (call, _unused) = if due_ns == NEVER { (None, call) } else { (call, None) };
        let _old_call;
        let mut state = self.state.lock();
        let was_armed = state.disarm(chan.as_deref());
        state.seq += 1;
        state.armed = true;
        state.due_ns = due_ns;
        state.period_ns = period_ns;
        _old_call = std::mem::replace(&mut state.call, call);
        self.arm(&state);
        was_armed
    }

    /// Stops it. True if it was still to go off, false if it has gone off or was stopped before. A
    /// tick that nobody has received counts as one that did not come.
    pub(crate) fn stop(self: &Arc<Self>) -> bool {
        // As in `set`.
        let chan = self.chan();
        let _old_call;
        let mut state = self.state.lock();
        let was_armed = state.disarm(chan.as_deref());
        state.seq += 1;
        state.due_ns = NEVER;
        _old_call = state.call.take();
        self.arm(&state);
        was_armed
    }

    fn bell(self: &Arc<Self>) -> &Doorbell {
        let make = || {
            // SAFETY: it rings while somebody receives from the timer's channel, which keeps the timer.
            Box::new(unsafe { Doorbell::new(wake_up, Arc::as_ptr(self).cast_mut().cast()) })
        };
        self.bell.get_or_init(make)
    }

    /// Sets the alarm as `state`, which is locked, says.
    fn arm(self: &Arc<Self>, state: &State) {
        // SAFETY: alarms are set and stopped under the state's lock.
        unsafe {
            if state.due_ns == NEVER {
                Alarm::stop(self);
            } else {
                Alarm::set(self, state.due_ns, state.seq);
            }
        }
    }
}

/// A tick was received that had kept a ticker from being set.
///
/// # Safety
/// `timer` is the one whose bell it is, in an Arc.
unsafe fn wake_up(timer: *mut ()) {
    let timer = timer.cast::<TimeTimer>().cast_const();
    // SAFETY: the caller's duty.
    let timer = unsafe {
        Arc::increment_strong_count(timer);
        Arc::from_raw(timer)
    };
    let mut state = timer.state.lock();
    if std::mem::replace(&mut state.rests, false) && !timer.alarm.is_of_parent() {
        state.due_ns = state.next_due(clock::now());
        timer.arm(&state);
    }
}

impl State {
    /// Takes back what was set: true if it was still to go off, or its tick was not received.
    fn disarm(&mut self, chan: Option<&dyn TickChan>) -> bool {
        if std::mem::replace(&mut self.rests, false) {
            // Before the tick is taken, which would ring.
            chan.inspect(|c| c.hchan().take_bell_back());
        }
        let unreceived = chan.is_some_and(|c| matches!(c.hchan().recv(Wait::Try), Ok(Some(_))));
        std::mem::replace(&mut self.armed, false) || unreceived
    }

    /// When it goes off next: the first of its times after `now_ns`, so that lateness does not add
    /// up and missed ticks are not made up for.
    fn next_due(&self, now_ns: i64) -> i64 {
        let missed = now_ns.saturating_sub(self.due_ns).max(0) / self.period_ns;
        self.due_ns.saturating_add(self.period_ns.saturating_mul(missed + 1))
    }
}

impl Ring for TimeTimer {
    fn alarm(&self) -> &Alarm {
        &self.alarm
    }

    fn ring(self: Arc<Self>, seq: u64) {
        // Dropped after the lock: see `set`.
        let chan = self.chan();
        let mut woken = ptr::null_mut();
        let call;
        {
            let mut state = self.state.lock();
            // By 1.
            if state.seq != seq {
                return;
            }
            // A receiver that is slow finds the tick before this one.
            if let Some(chan) = &chan {
                let now = clock::instant();
                let sent = match state.period_ns {
                    0 => chan.hchan().offer(now),
                    // SAFETY: the timer, and with it the bell, lives as long as its channel.
                    _ => unsafe { chan.hchan().offer_or_leave(now, self.bell()) },
                };
                match sent {
                    Ok(gp) => woken = gp,
                    Err(_) => state.rests = state.period_ns != 0,
                }
            }
            call = state.call.take();
            if state.period_ns == 0 {
                state.armed = false;
            } else if !state.rests {
                state.due_ns = state.next_due(clock::now());
                self.arm(&state);
            }
        }
        if !woken.is_null() {
            // SAFETY: `offer` claimed its wait.
            unsafe { goready(woken) };
        }
        if let Some(Call { f, created_at }) = call {
            newproc_late(Start::new(move || f()), created_at);
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::State;

    #[test]
    fn a_late_ticker_keeps_its_rhythm_and_misses_what_is_past() {
        let state =
            State { seq: 1, armed: true, due_ns: 100, period_ns: 10, call: None, rests: false };
        for (now, next) in [(100, 110), (101, 110), (109, 110), (110, 120), (157, 160), (99, 110)] {
            assert_eq!(state.next_due(now), next, "at {now}");
        }
        assert_eq!(State { period_ns: i64::MAX, ..state }.next_due(200), i64::MAX);
    }
}
