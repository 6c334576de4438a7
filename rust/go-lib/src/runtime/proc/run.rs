//! The moment at which a goroutine begins to run, or resumes.

use crate::prim::Ordering;
use crate::runtime::object::g::{G, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::{M, NEVER};
use crate::runtime::proc::kick;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::sched::sched;

/// Makes `g`, taken from a queue, the goroutine that runs on `m`.
#[inline(always)]
pub(crate) fn runs_now(m: &M, g: &G) {
    casgstatus(g, GRUNNABLE, GRUNNING);
    m.curg.set((g as *const G).cast_mut());
    // Release: others read m through g; pairs with Acquire in GRef::pthread.
    g.m.store((m as *const M).cast_mut(), Ordering::Release);
    // SAFETY: inside the runtime the P is ours.
    unsafe {
        let p = &*m.pp();
        if kick::sleeps() && (p.timers.next_when() != NEVER || !p.is_idle_inside()) {
            kick::kick(sched());
        }
        let tick = &p.schedtick;
        // Relaxed, no RMW: one writer; sysmon only compares.
        tick.store(tick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }
}
