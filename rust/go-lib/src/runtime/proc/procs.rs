//! Start-up, GOMAXPROCS, new threads.
//!
//! Go: runtime/proc.go (schedinit, procresize, newm, mstart)

use std::ffi::c_void;
use std::io;
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::object::m::M;
use crate::runtime::object::p::{P, PDEAD};
use crate::runtime::proc::newm::is_over;
use crate::runtime::proc::upcall::Upcalls;
use crate::runtime::proc::{
    attach, enter_rt, getm, guard, leave_rt, lists, park, schedule, sysmon, take_p, upcall, wake,
};
use crate::runtime::sched::{sched, set_debug_migrate, Sched, KEEP_IDLE, MAX_PROCS};
use crate::sys::{cpus, errno, membarrier, signal, thread, tls};

/// The scheduler, started.
#[inline(always)]
pub(crate) fn ensure_started() -> &'static Sched {
    let s = sched();
    // Acquire: pairs with the Release at the end of start.
    if s.gomaxprocs.load(Ordering::Acquire) == 0 {
        start(s);
    }
    s
}

#[cold]
#[inline(never)]
fn start(s: &'static Sched) {
    s.resize.lock();
    if s.gomaxprocs.load(Ordering::Relaxed) == 0 {
        upcall::hand_over(Upcalls { mstart, ensure_started });
        membarrier::init();
        signal::install_guard_handler(guard::report_hit);
        read_debug_env(s);
        s.stacks.choose_default();
        s.keep_idle.store(cpus::count().max(KEEP_IDLE), Ordering::Relaxed);
        let wanted = match s.wanted_procs.load(Ordering::Relaxed) {
            0 => cpus::default_procs(),
            wanted => wanted,
        };
        grow(s, 0, wanted.min(MAX_PROCS));
        if let Err(e) = sysmon::start(s) {
            // Without sysmon nothing is handed off: report that and continue.
            eprintln!("go-lib: no thread for sysmon: {e}");
        }
        // The first spawn learns whether there is a thread at all.
        s.refused.store(errno::EAGAIN as u32, Ordering::Relaxed);
    }
    s.resize.unlock();
}

/// `GODEBUG` and `GOLIB_DEBUG`: comma-separated switches. A line on stderr says what is wrong with one. Unknown switches
/// in `GODEBUG`, which is Go's, are not meant for us.
fn read_debug_env(s: &Sched) {
    for (variable, is_ours) in [("GODEBUG", false), ("GOLIB_DEBUG", true)] {
        let switches = std::env::var(variable).unwrap_or_default();
        for switch in switches.split(',').map(str::trim).filter(|switch| !switch.is_empty()) {
            if let Some(wanted) = wrong_with(s, switch, is_ours) {
                eprintln!("go-lib: {variable}: {switch} is ignored: {wanted}");
            }
        }
    }
}

/// Obeys one switch; returns what it should have been if that is not possible.
fn wrong_with(s: &Sched, switch: &str, is_ours: bool) -> Option<&'static str> {
    let (name, value) = switch.split_once('=').unwrap_or((switch, ""));
    match name {
        "migrate" if matches!(value, "0" | "1") => {
            set_debug_migrate(value == "1");
            None
        }
        "migrate" => Some("it is 0 or 1"),
        "schedtrace" => {
            (!s.trace.begin(value)).then_some("it takes a number of milliseconds, such as 1000")
        }
        "blocked" => (!s.watch.begin(value)).then_some("it takes a time, such as 100ms or 2s"),
        _ => is_ours.then_some("the switches are blocked, schedtrace and migrate"),
    }
}

/// Makes Ps `from..to` idle and usable.
fn grow(s: &'static Sched, from: usize, to: usize) {
    let mut inner = s.inner.lock();
    for i in from..to {
        if s.p(i).is_null() {
            s.set_p(i, P::new(i as u32));
        }
        // SAFETY: just made, or retired earlier; never freed.
        let p = unsafe { &*s.p(i) };
        p.stop.store(false, Ordering::Relaxed);
        lists::pidleput(s, &mut inner, p);
    }
    // Release: the Ps below are ready; pairs with ensure_started.
    s.gomaxprocs.store(to, Ordering::Release);
}

/// GOMAXPROCS.
pub(crate) fn gomaxprocs() -> usize {
    ensure_started().gomaxprocs.load(Ordering::Acquire)
}

/// Sets GOMAXPROCS (clamped to 1..=10,000); the former value. Ps beyond `n` have stopped on return.
pub(crate) fn set_gomaxprocs(n: usize) -> usize {
    let s = ensure_started();
    let n = n.clamp(1, MAX_PROCS);
    s.resize.lock();
    let old = s.gomaxprocs.load(Ordering::Relaxed);
    if n > old {
        grow(s, old, n);
    } else if n < old {
        shrink(s, n, old);
    }
    s.resize.unlock();
    if n > old {
        let m = enter_rt();
        wake::wakep(s);
        if !m.curg.get().is_null() {
            leave_rt(m);
        }
    } else if n < old {
        // The caller's own P may be one of those that must stop: the goroutine then resumes on
        // another.
        park::gosched();
    }
    old
}

/// Stops the Ps `n..old`, all but the caller's own.
fn shrink(s: &'static Sched, n: usize, old: usize) {
    // Release: pairs with the Acquire of those who walk over the Ps in use.
    s.gomaxprocs.store(n, Ordering::Release);
    // SAFETY: Ps are never freed.
    let leaving = || (n..old).map(|i| unsafe { &*s.p(i) });
    for p in leaving() {
        p.stop.store(true, Ordering::Relaxed);
    }
    let own = getm().pp();
    for p in leaving().filter(|&p| !ptr::eq(p, own)) {
        while p.status.load(Ordering::Relaxed) != PDEAD {
            if lists::pidletake(s, &mut s.inner.lock(), p) || take_p(p) {
                retire(s, p);
            } else {
                thread::usleep_ns(50_000);
            }
        }
    }
}

/// Ends a P that is the caller's: its goroutines go to the global queue; its timers stay, and any M
/// that looks for work runs them.
fn retire(s: &'static Sched, p: &P) {
    let mut inner = s.inner.lock();
    loop {
        // SAFETY: the P is ours.
        let (gp, _) = unsafe { p.runq.get(true) };
        if gp.is_null() {
            break;
        }
        // SAFETY: runnable, just taken out.
        unsafe { s.globrunqput(&mut inner, gp) };
    }
    p.status.store(PDEAD, Ordering::Relaxed);
    drop(inner);
    wake::wake_for_global(s);
}

/// This M's P must stop.
#[cold]
pub(crate) fn give_up_p(m: &'static M) {
    attach::detach(m);
    let p = lists::releasep(m);
    retire(sched(), p);
}

/// A new thread's first function.
extern "C" fn mstart(arg: *mut c_void) -> *mut c_void {
    // SAFETY: newm made the M for this thread.
    let m: &'static M = unsafe { &*arg.cast::<M>() };
    tls::set(arg.cast());
    let signal_stack = signal::use_signal_stack();
    m.tid.store(thread::gettid() as u32, Ordering::Relaxed);
    m.pthread.store(thread::pthread(), Ordering::Relaxed);
    // SAFETY: newm handed us a P, or none. Acquire: pairs with the Release by which it did.
    match unsafe { m.nextp.swap(ptr::null_mut(), Ordering::Acquire).as_ref() } {
        Some(p) => lists::acquirep(m, p),
        None => _ = sched().starting.fetch_sub(1, Ordering::Relaxed),
    }
    schedule::schedule(m);
    // Code called by the thread's destructors finds a foreign thread.
    tls::set(ptr::null_mut());
    m.tid.store(0, Ordering::Relaxed);
    m.pthread.store(0, Ordering::Relaxed);
    signal::leave_signal_stack(signal_stack);
    is_over(sched(), arg.cast());
    ptr::null_mut()
}

/// A thread was refused earlier, or there is none yet: whether there is one now for the goroutines
/// that wait for it. False: they wait for one of the blocked threads.
///
/// # Errors
/// There is no thread at all.
pub(crate) fn probe_thread(s: &'static Sched) -> io::Result<bool> {
    let first = s.first_p();
    {
        let mut inner = s.inner.lock();
        let wanted = !first.is_idle_inside() || inner.allm.is_empty();
        if !wanted || !lists::pidletake(s, &mut inner, first) {
            return Ok(true);
        }
    }
    if wake::startm(s, first, false) {
        return Ok(true);
    }
    if !s.inner.lock().allm.is_empty() {
        return Ok(false);
    }
    Err(io::Error::from_raw_os_error(s.refused.load(Ordering::Relaxed) as i32))
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::Arc;

    use super::{set_gomaxprocs, Ordering, MAX_PROCS, PDEAD};
    use crate::runtime::sched::sched;

    /// How many of the Ps from `n` on are not stopped.
    fn alive_beyond(n: usize) -> usize {
        let s = sched();
        // SAFETY: Ps are never freed.
        let alive = |i: usize| unsafe {
            let p = s.p(i);
            !p.is_null()
                && ((*p).status.load(Ordering::Acquire) != PDEAD
                    || !(*p).m.load(Ordering::Acquire).is_null())
        };
        (n..MAX_PROCS).take_while(|&i| !s.p(i).is_null()).filter(|&i| alive(i)).count()
    }

    #[test]
    fn ps_beyond_gomaxprocs_have_stopped_when_it_returns() {
        let stop = Arc::new(AtomicBool::new(false));
        let wg = crate::sync::WaitGroup::new();
        for spins in [0, 10, 100, 1_000, 100_000, 10_000_000] {
            let stop = stop.clone();
            wg.go(move || {
                while !stop.load(Ordering::Relaxed) {
                    (0..spins).for_each(|i| _ = std::hint::black_box(i));
                    crate::gosched();
                }
            });
        }
        let old = set_gomaxprocs(6);
        for i in 0..40 {
            let n = [1, 2, 3, 5][i % 4];
            set_gomaxprocs(6);
            let alive = if i < 20 {
                set_gomaxprocs(n);
                alive_beyond(n)
            } else {
                // By a goroutine whose own P may be one of them.
                crate::run(move || {
                    set_gomaxprocs(n);
                    alive_beyond(n)
                })
            };
            assert_eq!(alive, 0, "beyond {n}");
        }
        stop.store(true, Ordering::Relaxed);
        set_gomaxprocs(old);
        wg.wait();
    }
}
