//! How often sysmon looks: often while it finds something, else more and more rarely.
//!
//! A look costs the Ps a part of their CPU, most of all where there is but one. A goroutine that seems blocked is looked
//! at twice. The pause between is `SHORT_NS`, but `SOON_NS` while one goroutine after the other blocks: then the time
//! to notice is what keeps all the others waiting.

use crate::runtime::object::m::NEVER;

/// After news, and for a while without.
pub(crate) const SHORT_NS: i64 = 60_000;
/// The same while one goroutine after the other blocks, as where many begin with a call.
const SOON_NS: i64 = 10_000;
/// While something waits for a P. Sleeps up to here are not ended by a kick.
pub(crate) const WAITING_NS: i64 = 1_000_000;
/// Otherwise.
pub(crate) const LONG_NS: i64 = 10_000_000;
/// Looks without news before the sleeps grow.
const BUSY_LOOKS: u32 = 50;
/// Short looks after a kick.
const KICKED_LOOKS: u32 = 10;
/// How many goroutines must have blocked in a row before looks come soon: a mistake is likelier then, and costs a
/// switch interval of the interpreter.
const ROW: u32 = 3;
/// Looks that come soon after each further one.
const SOON_LOOKS: u32 = 10;

/// The findings of a look at all Ps.
#[derive(Clone, Copy, Default)]
pub(crate) struct Looked {
    /// A P was taken, or is about to be.
    pub(crate) took: bool,
    /// Something waits for a P, or will.
    pub(crate) waiting: bool,
    /// A goroutine was seen blocked for the first time: a second look decides.
    pub(crate) suspects: bool,
    /// A P was taken from a goroutine that sits in a call.
    pub(crate) sat: bool,
}

/// How long sysmon sleeps between two looks.
pub(crate) struct Pace {
    /// Looks running that took nothing.
    calm: u32,
    /// Goroutines that blocked in a row; looks since the last one.
    row: u32,
    since: u32,
    /// Looks left that come soon.
    pub(crate) soon: u32,
    /// The next sleep, in ns.
    pub(crate) delay: i64,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        Pace { calm: 0, row: 0, since: BUSY_LOOKS, soon: 0, delay: SHORT_NS }
    }

    /// The sleep was ended: something waits now, or soon.
    pub(crate) fn kicked(&mut self) {
        self.delay = if self.delay == NEVER {
            // After a rest anything may come.
            self.calm = BUSY_LOOKS - KICKED_LOOKS;
            SHORT_NS
        } else {
            // The Ps have been coming back by themselves, and this look tells whether they do.
            WAITING_NS / 2
        };
    }

    pub(crate) fn looked(&mut self, looked: &Looked, idle: bool) {
        self.calm = if looked.took { 0 } else { self.calm.saturating_add(1) };
        if looked.sat {
            self.row = if self.since < BUSY_LOOKS { self.row.saturating_add(1) } else { 1 };
            self.since = 0;
        } else {
            self.since = self.since.saturating_add(1);
        }
        let soon = looked.sat && self.row >= ROW;
        self.soon = if soon { SOON_LOOKS } else { self.soon.saturating_sub(1) };
        self.delay = match () {
            () if idle => NEVER,
            () if self.soon > 0 => SOON_NS,
            () if looked.suspects || self.calm < BUSY_LOOKS => SHORT_NS,
            () if looked.waiting => self.delay.saturating_mul(2).min(WAITING_NS),
            () => self.delay.saturating_mul(2).min(LONG_NS),
        };
        if idle {
            self.calm = 0;
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{
        Looked, Pace, BUSY_LOOKS, KICKED_LOOKS, NEVER, ROW, SHORT_NS, SOON_LOOKS, SOON_NS,
        WAITING_NS,
    };

    const TOOK: Looked = Looked { took: true, sat: true, waiting: true, suspects: false };
    const WAITING: Looked = Looked { took: false, sat: false, waiting: true, suspects: false };
    const SUSPECTS: Looked = Looked { took: false, sat: false, waiting: true, suspects: true };
    const NOTHING: Looked = Looked { took: false, sat: false, waiting: false, suspects: false };

    fn calm() -> Pace {
        let mut pace = Pace::new();
        for _ in 0..2 * BUSY_LOOKS {
            pace.looked(&WAITING, false);
        }
        pace
    }

    #[test]
    fn looks_are_rare_while_the_ps_come_back_by_themselves() {
        let mut pace = calm();
        assert_eq!(pace.delay, WAITING_NS);
        // A server between two bursts: the kick comes from the next burst, not from a goroutine that blocks.
        let (mut looks, mut slept) = (0, 0);
        while slept < 1_000_000_000 {
            pace.looked(&NOTHING, false);
            assert!(pace.delay > WAITING_NS, "{} cannot be kicked", pace.delay);
            pace.kicked();
            slept += pace.delay;
            pace.looked(&WAITING, false);
            slept += pace.delay;
            looks += 2;
        }
        assert!(looks < 2_500, "{looks} looks a second");
    }

    #[test]
    fn a_goroutine_seen_blocked_is_looked_at_again_at_once() {
        let mut pace = calm();
        pace.looked(&SUSPECTS, false);
        assert_eq!(pace.delay, SHORT_NS);
        // It was: others may follow it.
        for i in 1..BUSY_LOOKS {
            pace.looked(&TOOK, false);
            assert_eq!(pace.delay, if i < ROW { SHORT_NS } else { SOON_NS });
        }
        for _ in 0..SOON_LOOKS {
            assert_eq!(pace.delay, SOON_NS);
            pace.looked(&WAITING, false);
        }
        assert_eq!(pace.delay, SHORT_NS);
        // It was not.
        let mut pace = calm();
        pace.looked(&SUSPECTS, false);
        pace.looked(&WAITING, false);
        assert_eq!(pace.delay, 2 * SHORT_NS);
    }

    #[test]
    fn after_a_rest_the_first_looks_are_short() {
        let mut pace = calm();
        pace.looked(&NOTHING, true);
        assert_eq!(pace.delay, NEVER);
        pace.kicked();
        for _ in 1..KICKED_LOOKS {
            assert_eq!(pace.delay, SHORT_NS);
            pace.looked(&WAITING, false);
        }
        for _ in 0..20 {
            pace.looked(&WAITING, false);
        }
        assert_eq!(pace.delay, WAITING_NS);
    }

    #[test]
    fn sleeps_end_at_the_bounds() {
        let mut pace = calm();
        for _ in 0..100 {
            pace.looked(&NOTHING, false);
            assert!(pace.delay <= super::LONG_NS);
        }
        assert_eq!(pace.delay, super::LONG_NS);
        pace.looked(&WAITING, false);
        assert_eq!(pace.delay, WAITING_NS);
    }
}
