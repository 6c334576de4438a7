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
use crate::runtime::object::g::{Kind, G, GDEAD, GIDLE, GRUNNABLE, GRUNNING, GWAITING};
use crate::runtime::proc::throw;
use crate::sys::clock::nanotime;

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
    // Relaxed: the caller owns the G; what made it the owner ordered the accesses.
    if gp.status.load(Ordering::Relaxed) != from {
        bad(gp, from, to);
    }
    // Release: a dump that reads the status sees the reason written before; pairs with the Acquire of
    // `text`, `wait_ns` and the walks over all goroutines.
    gp.status.store(to, Ordering::Release);
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

/// The status in the words of a dump.
pub(crate) fn text(gp: &G) -> &'static str {
    // Acquire: pairs with the Release of casgstatus.
    match gp.status.load(Ordering::Acquire) {
        GIDLE => "idle",
        GRUNNABLE => "runnable",
        GRUNNING if gp.syscalls.load(Ordering::Relaxed) > 0 => "syscall",
        GRUNNING => "running",
        GWAITING => {
            let text = gp.waitreason.get().text();
            if text.is_empty() {
                "waiting"
            } else {
                text
            }
        }
        _ => "dead",
    }
}

/// How long a waiting G has been waiting, as far as sysmon has noticed.
pub(crate) fn wait_ns(gp: &G) -> u64 {
    // Acquire: pairs with the Release of casgstatus.
    if gp.status.load(Ordering::Acquire) == GWAITING {
        waited_ns(gp)
    } else {
        0
    }
}

/// How long ago the last wait of `gp` began, as far as sysmon has noticed; 0 for a thread's.
pub(crate) fn waited_ns(gp: &G) -> u64 {
    let since = gp.waitsince.load(Ordering::Relaxed);
    if since == 0 || gp.kind.get() == Kind::Thread {
        0
    } else {
        (nanotime() as u64).saturating_sub(since)
    }
}
