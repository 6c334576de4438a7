//! A goroutine's first run: its stack and its first frame.

use crate::runtime::object::g::G;
use crate::runtime::object::m::M;
use crate::runtime::proc::entry::goentry;
use crate::runtime::proc::{stackless, stacks, wake};
use crate::runtime::sched::sched;
use crate::sys::arch;

/// Gives `g`, a Rust goroutine that was taken from a queue, its stack and its first frame if a stack is
/// at hand.
///
/// # Safety
/// Inside the runtime, with a P.
#[inline]
pub(crate) unsafe fn first_run_at_once(m: &M, g: &G) -> bool {
    // SAFETY: the caller's duty; nothing runs on the stack yet.
    unsafe {
        let top = stacks::give_cached(m, g);
        top != 0 && {
            let hi = (*g.stack.get()).hi;
            g.sched_sp.set(arch::init_stack(top & !15, hi, goentry));
            true
        }
    }
}

/// Gives `gp` its stack, its host state and its first frame if it has not run yet. False: there
/// is no memory for a stack now; the G waits aside.
#[inline(always)]
pub(crate) fn ready_to_run(m: &'static M, gp: *mut G) -> bool {
    wake::reset_spinning(m);
    // SAFETY: taken from a queue: ours.
    unsafe { (*gp).sched_sp.get() != 0 || first_run(m, gp) }
}

#[inline]
fn first_run(m: &'static M, gp: *mut G) -> bool {
    match stacks::give(m, gp) {
        Ok(top) => {
            // SAFETY: taken from a queue: ours; nothing runs on the stack yet.
            unsafe {
                let hi = (*(*gp).stack.get()).hi;
                (*gp).sched_sp.set(arch::init_stack(top & !15, hi, goentry));
            }
            true
        }
        Err(e) => stackless::wait(sched(), gp, &e),
    }
}
