//! How often sysmon looks: often while it finds something, else more and more rarely.
//!
//! A look costs the Ps a part of their CPU, most of all where there is but one. A goroutine that seems blocked is looked
//! at twice. The pause between is `SHORT_NS`, but `SOON_NS` while one goroutine after the other blocks: then the time
//! to notice is what keeps all the others waiting.
//!
//! A kick costs the M that kicks a system call, and a switch. A server that rests between two bursts would kick a thousand
//! times a second, and nothing would come of it. So once some kicks in a row were in vain, sysmon stays awake through such
//! rests, at the longest pace that no kick ends.

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
/// How many kicks in a row must have been in vain before sysmon waits for none.
const IN_VAIN: u32 = 8;
/// Looks without anything to watch until it does again.
const LULL_LOOKS: u32 = 10;

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
    /// Kicks since a P was taken; looks running with nothing to watch since the last one.
    in_vain: u32,
    lull: u32,
    /// The next sleep, in ns.
    pub(crate) delay: i64,
}

impl Pace {
    pub(crate) fn new() -> Pace {
        let since = BUSY_LOOKS;
        Pace { calm: 0, row: 0, since, soon: 0, in_vain: 0, lull: 0, delay: SHORT_NS }
    }

    /// The sleep was ended: something waits now, or soon.
    pub(crate) fn kicked(&mut self) {
        self.in_vain = self.in_vain.saturating_add(1);
        self.lull = 0;
        self.delay = if self.delay == NEVER && self.in_vain < IN_VAIN {
            // After a rest anything may come.
            self.calm = BUSY_LOOKS - KICKED_LOOKS;
            SHORT_NS
        } else {
            self.calm = self.calm.max(BUSY_LOOKS);
            // The Ps have been coming back by themselves, and this look tells whether they do.
            WAITING_NS / 2
        };
    }

    pub(crate) fn looked(&mut self, looked: &Looked, idle: bool) {
        self.calm = if looked.took { 0 } else { self.calm.saturating_add(1) };
        if looked.took {
            self.in_vain = 0;
        }
        let watches = looked.waiting && !idle;
        self.lull = if watches { 0 } else { self.lull.saturating_add(1) };
        let stays = !watches && self.in_vain >= IN_VAIN && self.lull < LULL_LOOKS;
        if looked.sat {
            self.row = if self.since < BUSY_LOOKS { self.row.saturating_add(1) } else { 1 };
            self.since = 0;
        } else {
            self.since = self.since.saturating_add(1);
        }
        let soon = looked.sat && self.row >= ROW;
        self.soon = if soon { SOON_LOOKS } else { self.soon.saturating_sub(1) };
        self.delay = match () {
            () if idle && !stays => NEVER,
            () if self.soon > 0 => SOON_NS,
            () if looked.suspects || self.calm < BUSY_LOOKS => SHORT_NS,
            () if stays => WAITING_NS,
            () if looked.waiting => self.delay.saturating_mul(2).min(WAITING_NS),
            () => self.delay.saturating_mul(2).min(LONG_NS),
        };
        if self.delay == NEVER {
            self.calm = 0;
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{
        Looked, Pace, BUSY_LOOKS, KICKED_LOOKS, LULL_LOOKS, NEVER, ROW, SHORT_NS, SOON_LOOKS,
        SOON_NS, WAITING_NS,
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

    /// A second of a server that rests between its bursts: each look is while it runs, or while it rests; a sleep that may be
    /// kicked is. How many looks and kicks there were.
    fn second_of_bursts(pace: &mut Pace, rests: bool) -> (u32, u32) {
        let (mut looks, mut kicks, mut slept) = (0, 0, 0);
        while slept < 1_000_000_000 {
            pace.looked(if looks % 2 == 0 { &NOTHING } else { &WAITING }, rests && looks % 2 == 0);
            looks += 1;
            if pace.delay > WAITING_NS {
                pace.kicked();
                kicks += 1;
            }
            slept += pace.delay;
        }
        (looks, kicks)
    }

    #[test]
    fn looks_are_rare_while_the_ps_come_back_by_themselves_and_nobody_kicks_in_vain() {
        for rests in [false, true] {
            let mut pace = calm();
            assert_eq!(pace.delay, WAITING_NS);
            second_of_bursts(&mut pace, rests);
            let (looks, kicks) = second_of_bursts(&mut pace, rests);
            assert!(looks <= 1_010 && kicks == 0, "{looks} looks, {kicks} kicks a second");
            // It ends: sysmon sleeps for long.
            for _ in 0..LULL_LOOKS {
                assert_ne!(pace.delay, NEVER);
                pace.looked(&NOTHING, true);
            }
            assert_eq!(pace.delay, NEVER);
        }
    }

    #[test]
    fn one_goroutine_that_blocks_makes_it_attentive_again() {
        let mut pace = calm();
        second_of_bursts(&mut pace, true);
        pace.looked(&SUSPECTS, false);
        assert_eq!(pace.delay, SHORT_NS);
        pace.looked(&TOOK, false);
        assert_eq!(pace.delay, SHORT_NS);
        pace.looked(&NOTHING, true);
        assert_eq!(pace.delay, NEVER);
        pace.kicked();
        assert_eq!(pace.delay, SHORT_NS);
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
