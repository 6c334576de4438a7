//! How often `find_runnable` must choose, rather than the goroutine that leaves going straight to the next one.

use crate::prim::Ordering;
use crate::runtime::object::p::P;
use crate::runtime::object::timers::NEVER;
use crate::runtime::sched::{debug_migrate, Sched};

/// Go's odd number: the global queue is looked at first this often.
pub(crate) const GLOBAL_EVERY: u32 = 61;
/// The clock is read this often while timers are armed and goroutines run.
pub(crate) const CLOCK_EVERY: u32 = 8;

/// Plans when a goroutine that switches directly to the next must let g0 look further: where `find_runnable` would,
/// and at once in unusual times.
#[inline(always)]
pub(crate) fn plan_far_look(s: &Sched, p: &P, looks: u32) {
    if p.timers_due.load(Ordering::Relaxed) {
        // Acquire: pairs with the Release in `exit`, so that what is cleared is seen below.
        p.timers_due.swap(false, Ordering::Acquire);
    }
    let at_once = debug_migrate() || s.is_ending();
    let left = if at_once { 1 } else { GLOBAL_EVERY - looks % GLOBAL_EVERY };
    p.far_look.set(looks.wrapping_add(left));
    if p.timers.next_when() != NEVER {
        look_at_clock_soon(p);
    }
}

/// The number of this look if the next goroutine may be taken from `p`, which is the caller's, without g0; `None`:
/// find_runnable must choose it. The taker of one stores the number in `looks`.
#[inline(always)]
pub(crate) fn near_look(p: &P) -> Option<u32> {
    let looks = p.looks.get().wrapping_add(1);
    let is_far_look = p.far_look.get().wrapping_sub(looks) as i32 <= 0;
    (!is_far_look && !p.timers_due.load(Ordering::Relaxed)).then_some(looks)
}

/// A timer of `p`, which is the caller's, is armed: g0 must read the clock every so often.
#[inline]
pub(crate) fn look_at_clock_soon(p: &P) {
    let looks = p.looks.get();
    let left = p.far_look.get().wrapping_sub(looks);
    p.far_look.set(looks.wrapping_add(left.min(CLOCK_EVERY - looks % CLOCK_EVERY)));
}
