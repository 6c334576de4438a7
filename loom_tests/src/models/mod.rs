//! Shared by the models: the explorer, a world of Ms and Ps, values that loom watches.

mod cancel;
mod chan;
mod claim;
mod cond;
mod deadlock;
mod direct;
mod errgroup;
mod handoff;
mod interrupt;
mod lock;
mod locked;
mod netpoll;
mod note;
mod park;
mod queues;
mod runq;
mod rwmutex;
mod select;
mod semaphore;
mod spin;
mod sync;
mod timers;

use std::cell::RefCell;
use std::io::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use crate::prim::Ordering;
use crate::runtime::object::g::{Kind, G, GDEAD, GIDLE, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::M;
use crate::runtime::object::p::{P, PRUNNING};
use crate::runtime::proc::lists;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::sched::Sched;
use crate::sys::tls;

/// Explores `model` with at most `preemptions` in a schedule, and says how many executions that
/// took.
pub(crate) fn explore(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(AtomicUsize::new(0));
    let mut explorer = loom::model::Builder::new();
    explorer.preemption_bound = Some(preemptions);
    explorer.max_branches = 5_000;
    let begin = std::time::Instant::now();
    let count = executions.clone();
    explorer.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        model();
    });
    let executions = executions.load(Ordering::Relaxed);
    println!("{name}: {executions} executions, {:.1?}", begin.elapsed());
    if let Some(log) = std::env::var_os("GOLIB_LOOM_LOG") {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let line = format!("{test}\t{name}\t{executions}\n");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("the log is writable");
    }
}

/// A value that loom watches: an access that is not ordered after the one before is an error.
pub(crate) struct Token(loom::cell::UnsafeCell<u32>);

// SAFETY: loom checks the accesses.
unsafe impl Send for Token {}
// SAFETY: as Send.
unsafe impl Sync for Token {}

impl Token {
    pub(crate) fn new(value: u32) -> Self {
        Token(loom::cell::UnsafeCell::new(value))
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: loom checks that no write is concurrent.
        self.0.with(|v| unsafe { *v })
    }

    pub(crate) fn set(&self, value: u32) {
        // SAFETY: loom checks that no access is concurrent.
        self.0.with_mut(|v| unsafe { *v = value });
    }

    pub(crate) fn add(&self, n: u32) {
        // SAFETY: as set.
        self.0.with_mut(|v| unsafe { *v += n });
    }
}

/// One execution's scheduler, and the Ms of its threads.
pub(crate) struct World {
    sched: *mut Sched,
    ms: Mutex<Vec<*mut M>>,
}

// SAFETY: the scheduler is shared as in the product; `ms` is locked.
unsafe impl Send for World {}
// SAFETY: as Send.
unsafe impl Sync for World {}

impl World {
    /// A scheduler with `procs` Ps that nobody holds yet.
    pub(crate) fn new(procs: usize) -> Arc<World> {
        let sched = Box::into_raw(Box::new(Sched::new()));
        let world = World { sched, ms: Mutex::new(Vec::new()) };
        for i in 0..procs {
            let p = P::new(i as u32);
            p.status.store(PRUNNING, Ordering::Relaxed);
            world.sched().allp[i].store(Box::into_raw(Box::new(p)), Ordering::Relaxed);
        }
        // Without Ps: one that is never idle, so that nobody looks for deadlocks.
        world.sched().gomaxprocs.store(procs.max(1), Ordering::Relaxed);
        Arc::new(world)
    }

    pub(crate) fn sched(&self) -> &'static Sched {
        // SAFETY: it lives until the world ends, and models do not keep it longer.
        unsafe { &*self.sched }
    }

    pub(crate) fn p(&self, i: usize) -> &'static P {
        // SAFETY: as sched.
        unsafe { &*self.sched().p(i) }
    }

    /// Makes the calling thread a foreign thread of this world.
    pub(crate) fn enter(&self) -> &'static M {
        let m = Box::into_raw(Box::new(M::new(0, true, self.sched)));
        self.ms.lock().unwrap().push(m);
        // SAFETY: as sched.
        let m: &'static M = unsafe { &*m };
        let g: &G = &m.g0;
        g.kind.set(Kind::Thread);
        g.m.store(std::ptr::from_ref(m).cast_mut(), Ordering::Relaxed);
        casgstatus(g, GIDLE, GDEAD);
        casgstatus(g, GDEAD, GRUNNABLE);
        casgstatus(g, GRUNNABLE, GRUNNING);
        m.curg.set(std::ptr::from_ref(g).cast_mut());
        tls::set(std::ptr::from_ref(m).cast_mut().cast());
        m
    }

    /// Makes the calling thread an M on its g0 that holds P `i`.
    pub(crate) fn enter_with_p(&self, i: usize) -> &'static M {
        let m = self.enter();
        m.curg.set(std::ptr::null_mut());
        lists::acquirep(m, self.p(i));
        m
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The execution failed. Its atomics went with it, and must not be dropped again.
            return;
        }
        // SAFETY: all threads of the execution have been joined.
        unsafe {
            for m in self.ms.get_mut().unwrap().drain(..) {
                drop(Box::from_raw(m));
            }
            let sched = Box::from_raw(self.sched);
            for p in &sched.allp {
                let p = p.load(Ordering::Relaxed);
                if !p.is_null() {
                    drop(Box::from_raw(p));
                }
            }
        }
    }
}

/// A goroutine that is not on any thread, in `Grunning`: about to park.
pub(crate) fn running_g() -> Box<G> {
    let g = Box::new(G::new(Kind::Go));
    casgstatus(&g, GIDLE, GDEAD);
    casgstatus(&g, GDEAD, GRUNNABLE);
    casgstatus(&g, GRUNNABLE, GRUNNING);
    g
}

std::thread_local! {
    /// Threads that `go` started in the execution under way, in whose world. All threads of a model
    /// run on one OS thread.
    static STARTED: RefCell<Vec<loom::thread::JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
    static GO_IN: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// `go`, as the crate's modules above the runtime find it: a thread of the model, in the world of
/// the last [`go_in`].
pub(crate) fn go<R>(f: impl FnOnce() -> R + Send + 'static) {
    let world = GO_IN.with_borrow(Clone::clone).expect("a model that starts goroutines");
    let thread = spawn(move || {
        world.enter();
        f();
    });
    STARTED.with_borrow_mut(|all| all.push(thread));
}

/// Runs `body` on a thread of `world`; returns when all that it started has ended.
pub(crate) fn go_in(world: &Arc<World>, body: impl FnOnce()) {
    GO_IN.set(Some(world.clone()));
    world.enter();
    body();
    while let Some(thread) = STARTED.with_borrow_mut(Vec::pop) {
        thread.join().unwrap();
    }
    GO_IN.set(None);
}

/// A thread of a model.
///
/// The thread that spawns runs on first. loom compares an access only with the last one to the same
/// atomic, so a check without a lock belongs into the spawned thread: its loads are compared with
/// the spawner's stores, while loads that came first are hidden by the load that precedes a store.
pub(crate) fn spawn<R: 'static>(f: impl FnOnce() -> R + 'static) -> loom::thread::JoinHandle<R> {
    loom::thread::spawn(f)
}
