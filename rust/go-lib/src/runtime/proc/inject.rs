//! How Gs that were claimed together are readied: by an M with a P, or from outside. "By 1" is `readylist`'s invariant.
//!
//! Go: runtime/proc.go (injectglist)

use crate::prim::Ordering;
use crate::runtime::object::event::{self, Event};
use crate::runtime::object::g::{Kind, GRUNNABLE, GWAITING};
use crate::runtime::object::m::M;
use crate::runtime::object::readylist::ReadyList;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{ready, wake};
use crate::runtime::sched::Sched;

impl ReadyList {
    /// Readies them from `m`, which holds a P, on g0.
    pub(crate) fn inject(mut self, m: &M) {
        loop {
            let gp = self.pop();
            if gp.is_null() {
                return;
            }
            // SAFETY: by 1.
            unsafe { ready::ready(m, gp, false) };
        }
    }

    /// Readies them, all of them threads, and tells how many they were: for a model.
    #[cfg(golib_loom)]
    pub(crate) fn drain_count(mut self) -> usize {
        let mut n = 0;
        loop {
            let gp = self.pop();
            if gp.is_null() {
                return n;
            }
            n += 1;
            // SAFETY: by 1.
            unsafe { ready::goready(gp) };
        }
    }

    /// Readies them without a P: Rust goroutines by the global queue, the host's by its inbox.
    pub(crate) fn inject_from_outside(mut self, s: &'static Sched) {
        let mut for_all = ReadyList::new();
        loop {
            let gp = self.pop();
            if gp.is_null() {
                break;
            }
            event::pass(gp, Event::Unblocks);
            // SAFETY: by 1; a thread-G's M is its own.
            unsafe {
                match (*gp).kind.get() {
                    Kind::Thread => (*(*gp).m.load(Ordering::Relaxed)).park.wakeup(),
                    Kind::Host => {
                        casgstatus(&*gp, GWAITING, GRUNNABLE);
                        s.home_of(gp).hostq.push_inbox(gp);
                    }
                    Kind::Go => for_all.push(gp),
                }
            }
        }
        if self.has_host {
            s.homes().for_each(|home| wake::wake_host(s, home));
        }
        if !for_all.is_empty() {
            let mut inner = s.inner.lock();
            loop {
                let gp = for_all.pop();
                if gp.is_null() {
                    break;
                }
                // SAFETY: by 1.
                unsafe {
                    casgstatus(&*gp, GWAITING, GRUNNABLE);
                    s.globrunqput(&mut inner, gp);
                }
            }
            drop(inner);
            wake::wake_for_global(s);
        }
    }
}
