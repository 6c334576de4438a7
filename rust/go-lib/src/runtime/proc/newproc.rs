//! Making and ending goroutines.
//!
//! # Invariants
//! 1. A dead G is on exactly one free list: its P's, or the scheduler's.
//! 2. Stacks are given at the first run and taken back, or handed on, at the end: see `stacks`.
//!
//! Go: runtime/proc.go (newproc, newproc1, goexit0, gfget, gfput)

use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe, Location};
use std::ptr;

use crate::prim::Ordering;
use crate::runtime::embedder::{self, GRef};
use crate::runtime::object::g::{CreatedBy, Kind, G, GDEAD, GIDLE, GRUNNABLE, GRUNNING};
use crate::runtime::object::m::M;
use crate::runtime::object::p::GList;
use crate::runtime::object::start::Start;
use crate::runtime::proc::park::{leave_host_without_p, mcall};
use crate::runtime::proc::schedule::goentry;
use crate::runtime::proc::status::casgstatus;
use crate::runtime::proc::{
    direct, enter_rt, leave_rt, park, procs, relay, schedule, stackless, stacks, syscall, wake,
};
use crate::runtime::sched::{sched, GPtr, Sched};
use crate::sys::arch;
use crate::sys::errno;

/// Dead Gs moved between a P and the scheduler at a time.
const BATCH: u32 = 32;
/// Dead Gs a P keeps.
const KEEP: u32 = 2 * BATCH;
/// Gs made at a time.
const SLAB: usize = 64;
/// Goroutine numbers a P reserves at a time.
const GOIDS: u64 = 16;

/// Makes a goroutine of a Rust function. Panics, in words, if there is no thread or no stack for it; `f` is
/// dropped before.
pub(crate) fn newproc_go(f: Start, stack_bytes: usize, location: &'static Location<'static>) {
    park::yield_if_asked();
    syscall::regain_p();
    let made = newproc(Kind::Go, f, ptr::null_mut(), stack_bytes, Some(location), false);
    if let Err(e) = made {
        std::panic::panic_any(refusal_text(&e));
    }
}

/// Makes a goroutine of a Rust function, on a stack of the usual size. Also where a thread or a
/// stack was refused: it then waits for them in its queue. For those who have nobody to tell, such
/// as an alarm; `f` is not dropped here.
pub(crate) fn newproc_late(f: Start, location: &'static Location<'static>) {
    // Of the usual size a stack is given at the first run: nothing here can fail.
    let s = procs::ensure_started();
    let _ = newproc1(s, Kind::Go, f, ptr::null_mut(), 0, Some(location), false);
}

/// Makes a goroutine of the host.
///
/// # Safety
/// See `embedder::spawn`.
pub(crate) unsafe fn newproc_host(
    host: *mut (),
    stack_bytes: usize,
    system: bool,
) -> io::Result<GRef> {
    newproc(Kind::Host, Start::NONE, host, stack_bytes, None, system)
}

fn newproc(
    kind: Kind,
    f: Start,
    host: *mut (),
    stack_bytes: usize,
    location: Option<&'static Location<'static>>,
    system: bool,
) -> io::Result<GRef> {
    let s = procs::ensure_started();
    if s.refused.load(Ordering::Relaxed) != 0 {
        report_refusal(s, kind)?;
    }
    newproc1(s, kind, f, host, stack_bytes, location, system)
}

/// `newproc` without a look at what was refused before. Fails only for a stack of unusual size.
#[inline]
fn newproc1(
    s: &'static Sched,
    kind: Kind,
    f: Start,
    host: *mut (),
    stack_bytes: usize,
    location: Option<&'static Location<'static>>,
    system: bool,
) -> io::Result<GRef> {
    let size = s.stacks.size_for(stack_bytes);
    let m = enter_rt();
    let gp = gfget(m, s);
    // SAFETY: gp is dead and off every list: ours.
    let g = unsafe { &*gp };
    let parent = m.curg.get();
    g.created.set(CreatedBy {
        // SAFETY: curg is valid.
        goid: if parent.is_null() { 0 } else { unsafe { (*parent).goid.load(Ordering::Relaxed) } },
        location,
    });
    g.kind.set(kind);
    g.system.set(system);
    g.lock_depth.set(0);
    g.syscalls.store(0, Ordering::Relaxed);
    g.wait.take_pending();
    g.stack_bytes.store(size, Ordering::Relaxed);
    if size != s.stacks.default_size() {
        // Of an unusual size there is no cache: the caller learns at once if it cannot be had.
        if let Err(e) = stacks::give(m, gp) {
            gfput(m, s, gp);
            if !m.curg.get().is_null() {
                leave_rt(m);
            }
            return Err(e);
        }
    }
    g.host.store(host, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { *g.start.get() = f };
    // Release: publishes the payload; pairs with the Acquire of GRef::is_alive.
    g.goid.store(next_goid(m, s), Ordering::Release);
    if !system {
        add_gcount(m, s, 1);
    }
    g.sched_sp.set(0);
    casgstatus(g, GDEAD, GRUNNABLE);
    let r = GRef::new(gp);
    // SAFETY: runnable, in no queue.
    unsafe { wake::runqput_any(m, gp, kind == Kind::Go) };
    if !m.curg.get().is_null() {
        leave_rt(m);
    }
    Ok(r)
}

/// Why a spawn was refused, in words.
#[cold]
fn refusal_text(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(errno::ENOMEM) => format!("go: {}", stacks::limit_text()),
        errno => {
            let why = procs::limit_text(sched(), errno.unwrap_or(0));
            format!("go: no thread to run a goroutine: {why}")
        }
    }
}

/// A thread or a stack was refused since the last spawn: if that is still so, say it.
#[cold]
fn report_refusal(s: &'static Sched, kind: Kind) -> io::Result<()> {
    // It stays set meanwhile: a refusal of the probe is told the caller, not stderr.
    let errno = s.refused.load(Ordering::Relaxed) as i32;
    let served = match errno {
        errno::ENOMEM => stacks::probe(s, kind).map(|()| true)?,
        _ => procs::probe_thread(s)?,
    };
    if served {
        s.refused.store(0, Ordering::Relaxed);
    }
    Ok(())
}

#[inline]
fn next_goid(m: &M, s: &Sched) -> u64 {
    let pp = m.pp();
    if pp.is_null() {
        return s.goid.fetch_add(1, Ordering::Relaxed) + 1;
    }
    // SAFETY: inside the runtime the P is ours.
    let p = unsafe { &*pp };
    if p.goid_next.get() == p.goid_end.get() {
        let first = s.goid.fetch_add(GOIDS, Ordering::Relaxed) + 1;
        p.goid_next.set(first);
        p.goid_end.set(first + GOIDS);
    }
    p.goid_next.replace(p.goid_next.get() + 1)
}

#[inline]
fn add_gcount(m: &M, s: &Sched, n: i64) {
    let pp = m.pp();
    if pp.is_null() {
        s.gcount.fetch_add(n, Ordering::Relaxed);
    } else {
        // SAFETY: inside the runtime the P is ours.
        unsafe { (*pp).add_gcount(n) };
    }
}

/// A dead G.
#[inline]
fn gfget(m: &M, s: &'static Sched) -> *mut G {
    let pp = m.pp();
    if pp.is_null() {
        // SAFETY: the lock is held.
        let gp = unsafe { s.inner.lock().gfree.pop() };
        return if gp.is_null() { make_g(s, None) } else { gp };
    }
    // SAFETY: inside the runtime the P is ours, and so is its list.
    unsafe {
        let list = &(*pp).gfree;
        let gp = list.pop();
        if gp.is_null() {
            gf_refill(s, list)
        } else {
            gp
        }
    }
}

/// Fills a P's empty list from the scheduler's and returns one more; new Gs if there is none.
#[cold]
#[inline(never)]
fn gf_refill(s: &'static Sched, list: &GList) -> *mut G {
    {
        let inner = s.inner.lock();
        // SAFETY: the lock is held; the P's list is ours.
        unsafe {
            while list.len.get() < BATCH {
                let gp = inner.gfree.pop();
                if gp.is_null() {
                    break;
                }
                list.push(gp);
            }
            let gp = list.pop();
            if !gp.is_null() {
                return gp;
            }
        }
    }
    make_g(s, Some(list))
}

/// A new G; with a list, a slab of them.
#[cold]
fn make_g(s: &'static Sched, list: Option<&GList>) -> *mut G {
    let n = if list.is_some() { SLAB } else { 1 };
    let slab: &'static mut [G] = Vec::leak((0..n).map(|_| G::new(Kind::Go)).collect::<Vec<_>>());
    let mut allgs = s.allgs.lock();
    let mut first: *mut G = ptr::null_mut();
    for g in slab {
        casgstatus(g, GIDLE, GDEAD);
        let gp: *mut G = g;
        allgs.push(GPtr(gp));
        match list {
            Some(list) if !first.is_null() => {
                // SAFETY: a new G, our list.
                unsafe { list.push(gp) }
            }
            _ => first = gp,
        }
    }
    first
}

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
            g.sched_sp.set(arch::init_stack(top & !15, goentry));
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
            unsafe { (*gp).sched_sp.set(arch::init_stack(top & !15, goentry)) };
            true
        }
        Err(e) => stackless::wait(sched(), gp, &e),
    }
}

/// Runs a Rust goroutine's function; a panic ends only that goroutine.
///
/// # Safety
/// Called by `goentry` on the stack of `gp`.
pub(crate) unsafe fn run_start(gp: *mut G) {
    // SAFETY: our own G.
    let start = unsafe { &mut *(*gp).start.get() };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| start.call())) {
        crate::panic::goroutine_panicked(GRef::new(gp), payload);
    }
}

/// Ends the running goroutine. `clean`: its host state may serve another.
///
/// # Safety
/// Called on the stack of `gp`, on which nothing is left to run.
pub(crate) unsafe fn goexit(gp: *mut G, clean: bool) -> ! {
    let m = enter_rt();
    // SAFETY: as above; nobody resumes this context.
    unsafe { mcall(m, gp, if clean { goexit0 } else { goexit_unclean }) };
    crate::runtime::proc::throw("a dead goroutine was resumed")
}

/// The state must not be used again: the host deletes it while it is attached.
unsafe fn goexit_unclean(m: *mut M, gp: *mut G) {
    // SAFETY: on g0 with the goroutine that just ended; its state is attached here.
    unsafe {
        // AcqRel: pairs with the Acquire of GRef::state, which must not see what is deleted here.
        let state = (*gp).host_state.swap(ptr::null_mut(), Ordering::AcqRel);
        (*m).attached.set(ptr::null_mut());
        if let Some(t) = embedder::table() {
            (t.discard)(state);
        }
        goexit0(m, gp);
    }
}

unsafe fn goexit0(m: *mut M, gp: *mut G) {
    // SAFETY: on g0 with the goroutine that just ended.
    let (m, g) = unsafe { (&*m, &*gp) };
    leave_host_without_p(m);
    let s = sched();
    dies(m, s, g);
    m.curg.set(ptr::null_mut());
    stacks::take_back(m, s, g);
    gfput(m, s, gp);
}

/// The goroutine that ran on `m` is no more.
#[inline(always)]
fn dies(m: &M, s: &Sched, g: &G) {
    // Release: pairs with the Acquire of GRef::host.
    g.host.store(ptr::null_mut(), Ordering::Release);
    casgstatus(g, GRUNNING, GDEAD);
    if !g.system.get() {
        add_gcount(m, s, -1);
    }
}

/// Ends `gp`, whose host state, if any, is clean, and starts the next one in its place, on its stack
/// and with its state: nothing is given back, taken or switched. That goroutine, which runs now; or null,
/// and `goexit` is to end `gp`.
///
/// # Safety
/// Called on the stack of `gp`, on which nothing is left to run.
// Never inlined: a goroutine must not keep the room for this while it runs.
#[inline(never)]
pub(crate) unsafe fn succeed(gp: *mut G) -> *mut G {
    let m = enter_rt();
    let s = sched();
    // SAFETY: our own G.
    let g = unsafe { &*gp };
    let is_usual = |g: &G| stacks::is_usual(s, g);
    if m.pp().is_null() || !is_usual(g) || !stacks::one_more_end(m) {
        return ptr::null_mut();
    }
    let is_new = |next: &G| next.sched_sp.get() == 0 && is_usual(next);
    // SAFETY: inside the runtime, with a P; the next one, taken from the queue, is ours.
    unsafe {
        let next = match g.kind.get() {
            Kind::Host => direct::take_next(m, |next| is_new(&*next)),
            _ => relay::take_next(m, is_new),
        };
        if !next.is_null() {
            dies(m, s, g);
            stacks::hand_on(g, &*next);
            gfput(m, s, gp);
            schedule::runs_now(m, &*next);
            arch::reset_control_words();
            leave_rt(m);
        }
        next
    }
}

/// Ends `gp`, a Rust goroutine; the one that follows it on its stack. Does not return if there is none.
///
/// # Safety
/// As [`succeed`].
#[inline(always)]
pub(crate) unsafe fn succeed_or_exit(gp: *mut G) -> *mut G {
    // SAFETY: the caller's duty.
    unsafe {
        let next = succeed(gp);
        if next.is_null() {
            goexit(gp, true);
        }
        next
    }
}

/// Puts a dead G where the next goroutine finds it.
#[inline]
fn gfput(m: &M, s: &Sched, gp: *mut G) {
    let pp = m.pp();
    // SAFETY: gp is dead and on no list; inside the runtime the P and its list are ours.
    unsafe {
        if pp.is_null() {
            s.inner.lock().gfree.push(gp);
            return;
        }
        let list = &(*pp).gfree;
        list.push(gp);
        if list.len.get() >= KEEP {
            gf_spill(s, list);
        }
    }
}

/// Moves a batch from a P's full list to the scheduler's.
#[cold]
#[inline(never)]
fn gf_spill(s: &Sched, list: &GList) {
    let inner = s.inner.lock();
    for _ in 0..BATCH {
        // SAFETY: our list, the lock is held.
        unsafe { inner.gfree.push(list.pop()) };
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::runtime::object::p::P;
    use crate::runtime::proc::wake::acquirep;

    /// An M of `s` with a P of its own.
    fn m_with_p(s: &'static Sched) -> (&'static M, &'static P) {
        let (m, p) = (Box::leak(Box::new(M::new(1, false, s))), Box::leak(Box::new(P::new(0))));
        acquirep(m, p);
        (m, p)
    }

    fn scheduler() -> &'static Sched {
        Box::leak(Box::new(Sched::new()))
    }

    #[test]
    fn dead_gs_go_round_between_ps_and_none_is_given_to_two() {
        const N: usize = 200;
        let s = scheduler();
        let ms = [m_with_p(s), m_with_p(s)];
        let without_p: &'static M = Box::leak(Box::new(M::new(2, false, s)));
        let mut made = 0;
        for round in 0..6 {
            // One P takes, the other gives back, as if goroutines ended where they did not begin.
            let ((taker, _), (giver, list)) = (ms[round % 2], ms[1 - round % 2]);
            let all: HashSet<*mut G> = (0..N).map(|_| gfget(taker, s)).collect();
            assert_eq!(all.len(), N, "two have the same");
            assert!(all.iter().all(|gp| !gp.is_null()));
            let another = gfget(without_p, s);
            assert!(!all.contains(&another));
            gfput(without_p, s, another);
            for gp in all {
                gfput(giver, s, gp);
                assert!(list.gfree.len.get() < KEEP);
            }
            let count = s.allgs.lock().len();
            let listed: u32 = ms.iter().map(|(_, p)| p.gfree.len.get()).sum();
            assert_eq!((listed + s.inner.lock().gfree.len.get()) as usize, count);
            assert!(round < 2 || count == made, "new ones though there are dead ones");
            made = count;
        }
    }

    #[test]
    fn a_refill_takes_a_batch_and_leaves_the_rest() {
        let s = scheduler();
        let (m, p) = m_with_p(s);
        let all: Vec<*mut G> = (0..100).map(|_| make_g(s, None)).collect();
        for gp in &all {
            // SAFETY: dead, on no list; the lock is held.
            unsafe { s.inner.lock().gfree.push(*gp) };
        }
        assert_eq!(gfget(m, s), all[100 - BATCH as usize], "the last of the batch");
        assert_eq!((p.gfree.len.get(), s.inner.lock().gfree.len.get()), (BATCH - 1, 100 - BATCH));
    }

    #[test]
    fn no_two_goroutines_have_one_number_wherever_they_are_made() {
        const EACH: usize = 2_000;
        let s = scheduler();
        let all: Vec<u64> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|i| {
                    scope.spawn(move || {
                        let m: &M = if i == 0 {
                            Box::leak(Box::new(M::new(9, false, s)))
                        } else {
                            m_with_p(s).0
                        };
                        (0..EACH).map(|_| next_goid(m, s)).collect::<Vec<_>>()
                    })
                })
                .collect();
            makers.into_iter().flat_map(|maker| maker.join().unwrap()).collect()
        });
        assert!(all.chunks(EACH).all(<[u64]>::is_sorted), "a later one of a P has a lower number");
        let different: HashSet<u64> = all.iter().copied().collect();
        assert_eq!(different.len(), all.len());
        assert!(!different.contains(&0), "a g0's");
    }

    #[test]
    fn goroutines_are_counted_where_they_begin_and_where_they_end() {
        let s = scheduler();
        let (ms, without_p) = ([m_with_p(s), m_with_p(s)], M::new(2, false, s));
        add_gcount(ms[0].0, s, 1);
        add_gcount(ms[0].0, s, 1);
        add_gcount(ms[1].0, s, -1);
        add_gcount(&without_p, s, -1);
        let of_ps: i64 = ms.iter().map(|(_, p)| p.gcount.load(Ordering::Relaxed)).sum();
        assert_eq!((of_ps, s.gcount.load(Ordering::Relaxed)), (1, -1));
    }
}
