//! A host goroutine that parks on its own stack, before its context is saved (`proc::direct`), and one
//! that ends and is followed by a new one there (`entry::succeed`).

use std::sync::Arc;

use super::{explore, spawn, Token, World};
use crate::prim::{on_save, Ordering};
use crate::runtime::embedder::{self, Embedder, Holder};
use crate::runtime::object::g::{Kind, G, GDEAD, GIDLE, GRUNNABLE, GRUNNING};
use crate::runtime::object::lock::Mutex;
use crate::runtime::object::m::{ParkArgs, M, NEVER};
use crate::runtime::object::sudog::{Sudog, WaitQ};
use crate::runtime::proc::ready::ready;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{direct, enter_rt_on, entry, leave_rt, lists, take_p, wake};

/// A host whose goroutines can all be swapped and moved.
static HOST: Embedder = Embedder {
    bind: |_, _| None,
    attach: |_| {},
    detach: |_| {},
    swap: |_, _| {},
    swap_at_once: |_, _| true,
    main: ends,
    discard: |_| {},
    may_migrate: |_, _| true,
    is_free: || false,
    thread_park: std::ptr::null_mut,
    thread_unpark: |_| {},
    thread_signal: || None,
    thread_poll: |_| false,
    deadlock: || true,
    holder: || Holder::NOBODY,
    overstays: |_| true,
    monopolizes: |_, _| true,
};

unsafe extern "C-unwind" fn ends(_: *mut (), _: *mut ()) -> bool {
    true
}

/// Its state: some address.
fn state(g: &G) -> *mut () {
    std::ptr::from_ref(g).cast_mut().cast()
}

/// A host goroutine that has run before.
fn host_g() -> Box<G> {
    let g = Box::new(G::new(Kind::Host));
    g.sched_sp.set(1);
    g.host_state.store(state(&g), Ordering::Relaxed);
    casgstatus(&g, GIDLE, GDEAD);
    casgstatus(&g, GDEAD, GRUNNABLE);
    g
}

/// A primitive with one waiter, and another goroutine beside it.
struct Model {
    lock: Mutex,
    q: WaitQ,
    g: Box<G>,
    other: Box<G>,
    sg: Sudog,
    /// Stands for the context of `g`.
    context: Arc<Token>,
}

// SAFETY: the queue is used under the lock.
unsafe impl Send for Model {}
// SAFETY: as Send.
unsafe impl Sync for Model {}

impl Model {
    fn new() -> Arc<Model> {
        embedder::install(&HOST);
        let g = host_g();
        casgstatus(&g, GRUNNABLE, GRUNNING);
        let gp = std::ptr::from_ref(&*g).cast_mut();
        let context = Arc::new(Token::new(0));
        let saved = context.clone();
        on_save(move || saved.set(1));
        Arc::new(Model {
            lock: Mutex::new(),
            q: WaitQ::new(),
            g,
            other: host_g(),
            sg: Sudog::new(gp, std::ptr::null_mut(), 0),
            context,
        })
    }

    fn gp(&self) -> *mut G {
        std::ptr::from_ref(&*self.g).cast_mut()
    }

    /// Has the goroutine run on the M of the calling thread, which gets P 0.
    fn run(&self, world: &World) -> &'static M {
        let m = world.enter_with_p(0);
        m.curg.set(self.gp());
        m.attached.set(state(&self.g));
        leave_rt(m);
        m
    }

    /// The goroutine that runs on `m`, this thread's, parks. True: it continued at once, because it was readied
    /// meanwhile.
    fn park(&self, m: &M) -> bool {
        self.lock.lock();
        // SAFETY: the lock is held; `unlock` releases it.
        unsafe {
            self.q.enqueue(std::ptr::from_ref(&self.sg).cast_mut());
            enter_rt_on(m);
            if m.pp().is_null() {
                // The P was taken before: the park goes through g0, which `park` models.
                self.q.remove(std::ptr::from_ref(&self.sg).cast_mut());
                self.lock.unlock();
                return true;
            }
            let arg = std::ptr::from_ref(&self.lock).cast_mut().cast();
            direct::park(m, self.gp(), &ParkArgs { unlockf: unlock, arg, deadline_ns: NEVER });
        }
        std::ptr::eq(m.curg.get(), self.gp()) && self.g.status.load(Ordering::Relaxed) == GRUNNING
    }

    /// Takes P 0 away for another M, which empties its queue. True: the goroutine ran there.
    fn take_over(&self, world: &World) -> bool {
        let m = world.enter();
        if !take_p(world.p(0)) {
            return false;
        }
        lists::acquirep(m, world.p(0));
        let mut ran = false;
        loop {
            // SAFETY: the P is ours.
            let gp = unsafe { world.p(0).hostq.get() };
            if gp.is_null() {
                return ran;
            }
            if std::ptr::eq(gp, self.gp()) {
                assert_eq!(self.context.get(), 1, "run before its context was saved");
                casgstatus(&self.g, GRUNNABLE, GRUNNING);
                ran = true;
            }
        }
    }

    /// Claims and readies the waiter if it is there.
    fn wake(&self, world: &World) {
        let m = world.enter();
        self.lock.lock();
        // SAFETY: the lock is held; readied below.
        let sg = unsafe { self.q.dequeue_claimed() };
        self.lock.unlock();
        if !sg.is_null() {
            // SAFETY: claimed; no lock held.
            unsafe { ready(m, (*sg).g, true) };
        }
    }
}

unsafe fn unlock(_: *mut G, lock: *mut ()) {
    // SAFETY: the argument of `park`.
    unsafe { (*lock.cast::<Mutex>()).unlock() };
}

/// Proves: a goroutine that parks on its own stack and is found, claimed and readied before its
/// context is saved is run elsewhere only afterwards: by the M that gets P 0 once the switch has left
/// the runtime.
///
/// Bound: 3 threads (the parker with P 0, whose queue has one more goroutine; a peer without a P;
/// sysmon, which takes P 0 for another M); 3 preemptions.
///
/// Fails without: the order in `direct::switch` (the runtime left before the context is saved);
/// Release in `leave_rt`; Acquire of `in_rt` in `take_p`.
#[test]
fn a_goroutine_found_before_it_is_saved_runs_elsewhere_only_after() {
    explore("direct park against a hand-off", 3, || {
        let world = World::new(1);
        let model = Model::new();
        // SAFETY: nobody holds the P yet; the goroutine is runnable.
        unsafe { world.p(0).hostq.put(std::ptr::from_ref(&*model.other).cast_mut(), false) };
        world.p(0).far_look.set(100);
        let m = model.run(&world);
        let (world2, model2) = (world.clone(), model.clone());
        let peer = spawn(move || model2.wake(&world2));
        let (world2, model2) = (world.clone(), model.clone());
        let monitor = spawn(move || model2.take_over(&world2));
        let stayed = model.park(m);
        let ran = monitor.join().unwrap();
        peer.join().unwrap();
        assert!(!(ran && stayed));
    });
}

/// Proves: with nobody else to run, a goroutine that is readied during its own park continues at once or is found in
/// the queue, exactly once and in the right status.
///
/// Bound: 2 threads, unbounded (16 preemptions).
///
/// Fails without: the order in `open_wait` (`unlockf` before `begin`: the waiter is dropped).
#[test]
fn a_goroutine_readied_during_its_park_goes_on_once() {
    explore("direct park: peer", 16, || {
        let world = World::new(1);
        let model = Model::new();
        world.p(0).far_look.set(100);
        let m = model.run(&world);
        let (world2, model2) = (world.clone(), model.clone());
        let peer = spawn(move || model2.wake(&world2));
        let stayed = model.park(m);
        peer.join().unwrap();
        // SAFETY: all other threads have ended.
        let queued = unsafe { world.p(0).hostq.get() };
        let claimed = model.q.is_empty();
        assert_eq!(stayed || std::ptr::eq(queued, model.gp()), claimed);
        assert!(!stayed || queued.is_null());
    });
}

/// A goroutine that is about to end, and a new one.
struct Succession {
    g: Box<G>,
    /// Stands for the plain fields of `g`, which its M and its next user write.
    used: Token,
    next: Box<G>,
    /// Stands for those of `next`, which its maker and its M write.
    made: Token,
}

impl Succession {
    fn new(world: &World) -> Arc<Succession> {
        embedder::install(&HOST);
        let size = world.sched().stacks.default_size();
        let [g, next] = [host_g(), host_g()];
        for g in [&g, &next] {
            g.stack_bytes.store(size, Ordering::Relaxed);
        }
        next.sched_sp.set(0);
        next.host_state.store(std::ptr::null_mut(), Ordering::Relaxed);
        casgstatus(&g, GRUNNABLE, GRUNNING);
        Arc::new(Succession { g, used: Token::new(0), next, made: Token::new(0) })
    }

    /// A thread without a P makes the new goroutine.
    fn make(&self, world: &World) {
        let m = world.enter();
        self.made.set(1);
        // SAFETY: runnable, in no queue.
        unsafe { wake::runqput_any(m, std::ptr::from_ref(&*self.next).cast_mut(), false) };
    }

    /// The goroutine ends on the M of the calling thread. True: the new one follows it there.
    fn end(&self, world: &World) -> bool {
        let m = world.enter_with_p(0);
        let gp = std::ptr::from_ref(&*self.g).cast_mut();
        m.curg.set(gp);
        m.attached.set(state(&self.g));
        leave_rt(m);
        self.used.add(1);
        // SAFETY: on its stack, as it were.
        let next = unsafe { entry::succeed(gp) };
        if next.is_null() {
            return false;
        }
        assert!(std::ptr::eq(next, &*self.next) && std::ptr::eq(m.curg.get(), next));
        assert_eq!(self.next.host_state.load(Ordering::Relaxed), state(&self.g));
        self.runs();
        true
    }

    /// The new goroutine, taken from the queue, runs.
    fn runs(&self) {
        assert_eq!(self.made.get(), 1, "run twice");
        self.made.set(2);
    }

    /// Takes P 0 away for another M, which runs what it finds and makes a goroutine of a dead G.
    /// True: the new goroutine ran there.
    fn take_over(&self, world: &World) -> bool {
        let m = world.enter();
        if !take_p(world.p(0)) {
            return false;
        }
        lists::acquirep(m, world.p(0));
        // SAFETY: the P is ours, and so are its queue and its list.
        let (runs, dead) = unsafe { (world.p(0).hostq.get(), world.p(0).gfree.pop()) };
        if !dead.is_null() {
            assert!(std::ptr::eq(dead, &*self.g));
            casgstatus(&self.g, GDEAD, GRUNNABLE);
            self.used.add(1);
        }
        if runs.is_null() {
            return false;
        }
        assert!(std::ptr::eq(runs, &*self.next));
        casgstatus(&self.next, GRUNNABLE, GRUNNING);
        self.runs();
        true
    }
}

/// Proves: a new goroutine, made by a thread without a P, is run once and as its maker left it: after
/// one that ends, on its stack and with its state, or by the M that gets P 0 from sysmon. The G that
/// ended can be used again by then, and is seen as it ended.
///
/// Bound: 3 threads (the M with P 0, the maker, sysmon, which takes P 0 for another M); 3 preemptions.
///
/// Fails without: `enter_rt` in `succeed`; the order there (`leave_rt` before the new goroutine is
/// taken); the taking out in `take_next`; Release in `leave_rt`; Acquire of `in_rt` in `take_p`; Release
/// in `push_inbox`; Acquire in `drain_inbox`.
#[test]
fn a_goroutine_that_ends_is_followed_by_a_new_one_once() {
    explore("succession against a hand-off", 3, || {
        let world = World::new(1);
        let all = Succession::new(&world);
        world.p(0).far_look.set(100);
        let (world2, all2) = (world.clone(), all.clone());
        let ending = spawn(move || all2.end(&world2));
        let (world2, all2) = (world.clone(), all.clone());
        let monitor = spawn(move || all2.take_over(&world2));
        all.make(&world);
        let (followed, ran) = (ending.join().unwrap(), monitor.join().unwrap());
        assert!(!(followed && ran));
        // SAFETY: all other threads have ended.
        let queued = unsafe { world.p(0).hostq.get() };
        assert_eq!(queued.is_null(), followed || ran);
    });
}
