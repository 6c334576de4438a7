//! Announced blocking calls: Go's entersyscall and exitsyscall.
//!
//! They are optional, because sysmon finds a blocked goroutine by itself. If the call is announced, the
//! P is free at once.
//!
//! Go: runtime/proc.go (entersyscall, exitsyscall, handoffp)

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G};
use crate::runtime::proc::leave::{gosched_m, mcall};
use crate::runtime::proc::{enter_rt, getm, kick, leave_rt, lists, relay, wake};
use crate::runtime::sched::sched;

/// A blocking call begins. A Rust goroutine's P goes to another M at once if there is work for
/// it; a host goroutine keeps it until it gives up the interpreter, which sysmon notices.
pub(crate) fn entersyscall() {
    let gp = getm().curg.get();
    // SAFETY: our own G.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Thread {
        return;
    }
    // Relaxed: one writer; sysmon wants a hint.
    g.syscalls.store(g.syscalls.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    let m = enter_rt();
    let pp = m.pp();
    if !pp.is_null() {
        let s = sched();
        // SAFETY: inside the runtime the P is ours.
        let work = !unsafe { (*pp).is_idle_inside() } || s.runqsize.load(Ordering::Relaxed) > 0;
        if work && g.kind.get() == Kind::Go {
            let p = lists::releasep(m);
            wake::handoffp(s, p);
        } else if work {
            kick::kick(s);
        }
    }
    leave_rt(m);
}

/// The call has returned: the goroutine continues if there is a P for it, else it waits for one.
pub(crate) fn exitsyscall() {
    let gp = getm().curg.get();
    // SAFETY: our own G.
    let g = unsafe { &*gp };
    if g.kind.get() == Kind::Thread {
        return;
    }
    // Relaxed: as above.
    g.syscalls.store(g.syscalls.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    if g.kind.get() == Kind::Host {
        return;
    }
    wait_for_p(gp);
}

/// Called before something that is expensive without a P: a Rust goroutine that has lost its own, because it computed
/// for long, waits for another one. Other goroutines continue.
#[inline(always)]
pub(crate) fn regain_p() {
    let m = getm();
    let gp = m.curg.get();
    // SAFETY: curg is valid, if there is one.
    if m.pp().is_null() && !gp.is_null() && unsafe { (*gp).kind.get() } == Kind::Go {
        wait_for_p(gp);
    }
}

/// The running goroutine `gp` continues with a P.
#[cold]
fn wait_for_p(gp: *mut G) {
    let m = enter_rt();
    if !m.pp().is_null() || lists::take_any_idle_p(m, sched()) {
        leave_rt(m);
        return;
    }
    // SAFETY: on the goroutine's stack, inside the runtime.
    unsafe {
        mcall(m, gp, gosched_m);
        relay::settle();
    }
}
