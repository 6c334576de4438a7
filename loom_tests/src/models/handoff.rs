//! The biased lock of a P: its M enters and leaves the runtime while sysmon takes the P away.

use std::sync::Arc;

use super::{explore, spawn, Token, World};
use crate::prim::Ordering;
use crate::runtime::proc::{enter_rt, leave_rt, take_p};

/// Proves: the P (its plain cells, for which the token stands) is used by one thread at a time:
/// by its M inside the runtime, or by sysmon after it was taken; each sees what the other did, and
/// the M sees that it lost it.
///
/// Bound: the M with two visits, sysmon with two tries; 6 preemptions.
///
/// Fails without: the light fence or the read of `retake` in `enter_rt`; the heavy fence or the
/// read of `in_rt` in `take_p`; Release in `leave_rt`; Acquire of `in_rt` in `take_p`; the wait in
/// `wait_for_retake`.
#[test]
fn a_p_is_used_by_its_m_or_by_sysmon() {
    explore("hand-off of a P", 6, || {
        let world = World::new(1);
        let token = Arc::new(Token::new(0));
        let m = world.enter();
        let p = world.p(0);
        crate::runtime::proc::lists::acquirep(m, p);
        leave_rt(m);
        let (world2, token2) = (world.clone(), token.clone());
        let monitor = spawn(move || {
            for _ in 0..2 {
                if take_p(world2.p(0)) {
                    token2.add(10);
                    return true;
                }
            }
            false
        });
        let mut visits = 0;
        for _ in 0..2 {
            let m = enter_rt();
            if !m.pp().is_null() {
                token.add(1);
                visits += 1;
            }
            leave_rt(m);
        }
        let taken = monitor.join().unwrap();
        assert_eq!(token.get(), visits + if taken { 10 } else { 0 });
        assert_eq!(m.pp().is_null(), taken);
        assert!(taken || visits == 2);
        assert_eq!(m.retake.load(Ordering::Relaxed), 0);
    });
}
