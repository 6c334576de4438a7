//! `casgstatus`: the one door to a G's status.
//!
//! ```text
//! Gidle ─► Gdead ─► Grunnable ─► Grunning ─► Gwaiting ─► Grunnable
//!                       ▲            │ ▲ │
//!                       └── gosched ─┘   └─► Gdead
//! ```
//! Go's Gsyscall is not a status here but a count beside it (`G::syscalls`): an announced call may
//! use the runtime and nest.
//!
//! Go: runtime/proc.go (casgstatus)

use crate::prim::Ordering;
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::g::{G, GDEAD, GIDLE, GRUNNABLE, GRUNNING, GWAITING};
use crate::runtime::proc::throw;

/// The legal transitions.
const fn is_legal(from: u32, to: u32) -> bool {
    matches!(
        (from, to),
        (GIDLE, GDEAD)
            | (GDEAD, GRUNNABLE)
            | (GRUNNABLE, GRUNNING)
            | (GRUNNING, GWAITING)
            | (GRUNNING, GRUNNABLE)
            | (GRUNNING, GDEAD)
            | (GWAITING, GRUNNABLE)
    )
}

/// Moves `gp` from `from` to `to`. The caller owns the G in the state `from`: it runs it, it
/// claimed its wait, or it took it from a queue.
#[inline(always)]
pub(crate) fn casgstatus(gp: &G, from: u32, to: u32) {
    debug_assert!(is_legal(from, to));
    // Relaxed: the caller owns the G; the step that made it the owner ordered the accesses.
    if gp.status.load(Ordering::Relaxed) != from {
        bad(gp, from, to);
    }
    // Release: a dump that reads the status sees the reason written before; pairs with the Acquire of
    // `G::status_text`, `G::wait_ns` and the walks over all goroutines.
    gp.status.store(to, Ordering::Release);
    event::pass(gp, Event::Status { from, to });
}

#[cold]
#[inline(never)]
fn bad(gp: &G, from: u32, to: u32) -> ! {
    throw(&format!(
        "casgstatus: goroutine {} is {}, not {from} (to be {to})",
        gp.goid.load(Ordering::Relaxed),
        gp.status.load(Ordering::Relaxed),
    ))
}
