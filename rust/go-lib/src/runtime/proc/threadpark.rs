//! OS threads wait by sleeping on their M's note. Here are those waits, and the host's signals that arrive meanwhile.

use crate::prim::{fence, FutexWait, Ordering};
use crate::runtime::clock::kernel_time;
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::g::{G, GRUNNABLE, GRUNNING, GWAITING};
use crate::runtime::object::host;
use crate::runtime::object::m::M;
use crate::runtime::object::wait::Wake;
use crate::runtime::proc::ready::make_runnable;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{checkdead, procs, thread};
use crate::runtime::sched::sched;
use crate::sys::clock::nanotime;

/// A wait of an OS thread: the same protocol, sleeping on the M's note.
#[cold]
#[inline(never)]
pub(crate) unsafe fn thread_park(
    m: &M,
    gp: *mut G,
    unlockf: unsafe fn(*mut G, *mut ()),
    arg: *mut (),
    deadline_ns: Option<i64>,
) -> Wake {
    // SAFETY: a thread-G belongs to its thread.
    let g = unsafe { &*gp };
    m.park.clear();
    casgstatus(g, GRUNNING, GWAITING);
    event::pass(gp, Event::Blocks(g.waitreason.get()));
    let opened = g.wait.begin();
    // SAFETY: the parker's duty.
    unsafe { unlockf(gp, arg) };
    if opened {
        thread_sleep(m, g, deadline_ns.map(kernel_time));
    }
    casgstatus(g, GWAITING, GRUNNABLE);
    casgstatus(g, GRUNNABLE, GRUNNING);
    g.wait.outcome()
}

/// Sleeps until the wait is claimed, be it by this thread's deadline or signal.
fn thread_sleep(m: &M, g: &G, deadline_ns: Option<i64>) {
    if m.park.woken() {
        return;
    }
    let table = host::table();
    // SAFETY: we are a thread of the host about to sleep, no lock held.
    let token = table.map(|t| unsafe { (t.thread_park)() });
    // An endless wait may be a deadlock, which sysmon has to find.
    #[cfg(not(golib_loom))]
    let s = if deadline_ns.is_none() { procs::ensure_started() } else { sched() };
    #[cfg(golib_loom)]
    let s = sched();
    // One with a deadline wakes by itself: it does not sleep for good.
    let for_good = usize::from(deadline_ns.is_none());
    s.threads_asleep.fetch_add(for_good, Ordering::Relaxed);
    // Pairs with the heavy fence in find::sleep: one of us sees the other.
    fence(Ordering::SeqCst);
    checkdead::look(s);
    let generation = g.wait.next_generation().wrapping_sub(1 << 8);
    let mut look_ns = FIRST_LOOK_NS;
    let claimed_itself = loop {
        if m.park.woken() {
            break false;
        }
        // Goroutines have stopped for good, but a time still passes.
        let no_hope = s.is_ending() && deadline_ns.is_none();
        if no_hope && g.wait.claim_deadlock() {
            break true;
        }
        let wait = sleep_or_signal(m, deadline_ns, look_ns);
        look_ns = LATER_LOOKS_NS;
        let claimed = match wait {
            FutexWait::Woken => false,
            FutexWait::TimedOut => g.wait.claim_timer(generation),
            FutexWait::Interrupted => was_interrupted(token) && g.wait.interrupt(),
        };
        if claimed {
            break true;
        }
        if wait == FutexWait::TimedOut && !m.park.woken() {
            // Somebody claimed us first and is about to wake us.
            m.park.sleep();
        }
    };
    debug_assert!(claimed_itself || m.park.woken());
    s.threads_asleep.fetch_sub(for_good, Ordering::Relaxed);
    if let (Some(t), Some(token)) = (table, token) {
        // SAFETY: the token is this sleep's.
        unsafe { (t.thread_unpark)(token) };
    }
}

/// When a thread that handles the host's signals first looks whether one came just before it slept,
/// and how often it does afterwards.
const FIRST_LOOK_NS: i64 = 20_000_000;
const LATER_LOOKS_NS: i64 = 1_000_000_000;

/// Sleeps once on the M's note. A signal that came between the host's last look and the sleep does
/// not interrupt it: so the thread that handles signals sleeps `look_ns` at most, then looks.
fn sleep_or_signal(m: &M, deadline_ns: Option<i64>, look_ns: i64) -> FutexWait {
    // SAFETY: asked without the interpreter, as the host expects.
    let signal = || host::table().and_then(|t| unsafe { (t.thread_signal)() });
    match signal() {
        None => m.park.sleep_once(deadline_ns),
        Some(true) => FutexWait::Interrupted,
        Some(false) => {
            let look = nanotime() + look_ns;
            let wait = m.park.sleep_once(Some(deadline_ns.map_or(look, |d| d.min(look))));
            let timed_out = wait == FutexWait::TimedOut;
            if timed_out && deadline_ns.is_none_or(|d| nanotime() < d) {
                // Only a look: the caller's loop asks the host again.
                return if signal() == Some(true) {
                    FutexWait::Interrupted
                } else {
                    FutexWait::Woken
                };
            }
            wait
        }
    }
}

/// Sleeps until woken on an M that is kept for `gp`. If this is the thread that handles the host's signals (a forked
/// child's main thread), one that comes interrupts `gp`, once: it handles them before it waits again.
pub(crate) fn sleep_locked(m: &M, gp: *mut G) {
    // SAFETY: asked without the interpreter, as the host expects.
    let handles_signals = host::table().and_then(|t| unsafe { (t.thread_signal)() }).is_some();
    let mut look_ns = FIRST_LOOK_NS;
    while handles_signals && !m.park.woken() {
        if sleep_or_signal(m, None, look_ns) == FutexWait::Interrupted {
            // SAFETY: Gs are never freed; the claim makes us its owner, and no lock is held.
            unsafe {
                if (*gp).wait.interrupt() {
                    event::pass(gp, Event::Unblocks);
                    make_runnable(m, gp, true);
                }
            }
            break;
        }
        look_ns = LATER_LOOKS_NS;
    }
    m.park.sleep();
}

/// Asks the host what the signal that just came means for this sleep.
///
/// The host runs signal handlers there. They may use the runtime, as another thread-G, because this one waits.
fn was_interrupted(token: Option<*mut ()>) -> bool {
    match (host::table(), token) {
        // SAFETY: the token is this sleep's.
        (Some(t), Some(token)) => thread::as_another_g(|| unsafe { (t.thread_poll)(token) }),
        _ => false,
    }
}
