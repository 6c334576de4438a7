//! The embedder's hooks: how the runtime gives a goroutine the interpreter.
//!
//! A host state is a `PyThreadState`; a goroutine's payload is its Python `Goroutine` object (an
//! owned reference that `goroutine_main` gives back).
//!
//! # Invariants
//! 1. `attach`, `detach`, `swap` run on g0, where no PyO3 token exists; `swap_at_once` runs on a goroutine's stack, and
//!    only stores.
//! 2. `main` holds nothing that needs dropping while Python code runs above it: at interpreter
//!    exit CPython may end the thread there by forced unwinding.
//! 3. Every Python thread enters the runtime with the GIL held; `thread_park` gives it up.

use std::os::raw::{c_int, c_ulong, c_ulonglong};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use go_lib::runtime::embedder::{self, Embedder, ForkChild, GRef};
use pyo3::ffi;

use crate::bridge::signals;
use crate::core::goroutine;
use crate::cpython::identity::HostTable;
use crate::cpython::{self, movable, tstate, Caller, ThreadState};

/// How long [`at_exit`] waits for threads on their way back, and between two looks at them.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_micros(50);

/// Thread states made for goroutines and not deleted.
static STATES: AtomicUsize = AtomicUsize::new(0);
/// Ordinary threads between a wait in the runtime and the GIL.
static RETURNING: AtomicUsize = AtomicUsize::new(0);
/// `threading.get_ident()` of the main thread.
static MAIN_IDENT: AtomicU64 = AtomicU64::new(0);
/// The main goroutines of the `run`s under way: whom a deadlock is told.
static MAINS: Mutex<Vec<GRef>> = Mutex::new(Vec::new());
/// The main thread's G, once it has slept in the runtime.
static MAIN_THREAD: Mutex<Option<GRef>> = Mutex::new(None);

static EMBEDDER: Embedder = Embedder {
    bind,
    attach,
    detach,
    swap,
    swap_at_once,
    main,
    discard,
    may_migrate,
    is_free,
    thread_park,
    thread_unpark,
    thread_signal,
    thread_poll,
    deadlock,
};

/// The identity patches' questions; `run` answers those about the main thread.
static HOST_TABLE: HostTable = HostTable {
    hold: Some(hold),
    goroutine: Some(current_goid),
    state: Some(current_state),
    in_main_goroutine: Some(crate::module::run::in_main_goroutine),
    pthread_of: Some(pthread_of),
    signal_sent: Some(crate::module::run::signal_sent),
    main_thread_turn: Some(crate::module::run::main_thread_turn),
    masks_changed: Some(masks_changed),
    before_fork: Some(before_fork),
    after_fork: Some(crate::bridge::start::in_forked_child),
};

/// Installs the hooks, once, before the first goroutine.
///
/// # Safety
/// The GIL is held. Called in a process whose interpreter passed `cpython::init`.
pub unsafe fn install() {
    embedder::install(&EMBEDDER);
    // SAFETY: the GIL is held.
    unsafe { cpython::identity::set_host(&HOST_TABLE) };
}

/// Notes the main thread's ident.
pub fn set_main_ident(ident: u64) {
    MAIN_IDENT.store(ident, Ordering::Relaxed);
}

/// The main thread's ident.
pub fn main_ident() -> u64 {
    MAIN_IDENT.load(Ordering::Relaxed)
}

/// True on the main OS thread (not: in the main goroutine).
pub fn on_main_os_thread() -> bool {
    // SAFETY: no requirements.
    unsafe { libc_pthread_self() == main_ident() }
}

unsafe fn libc_pthread_self() -> u64 {
    // SAFETY: pthread_self has no requirements; CPython's ident of a thread is its pthread_t.
    unsafe { ffi::PyThread_get_thread_ident() as u64 }
}

/// The calling thread is the main thread, and may be interrupted from now on.
pub fn note_main_thread() {
    let me = embedder::current_or_thread();
    *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(me);
}

/// Has the main thread run what waits for it (`errors::interrupted`), if it waits in the runtime.
pub fn interrupt_main_thread() {
    let thread = *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(thread) = thread {
        thread.interrupt();
    }
}

/// A `run` waits for `main`: a deadlock will be raised there.
pub fn push_main(main: GRef) {
    MAINS.lock().unwrap_or_else(PoisonError::into_inner).push(main);
}

/// That `run` is over.
pub fn pop_main(main: GRef) {
    MAINS.lock().unwrap_or_else(PoisonError::into_inner).retain(|&m| m != main);
}

fn state_of(state: *mut ()) -> ThreadState {
    match ThreadState::from_ptr(state.cast()) {
        Some(ts) => ts,
        // The runtime hands out what bind returned, which is never null.
        None => std::process::abort(),
    }
}

unsafe fn bind(lo: usize, hi: usize) -> Option<(*mut (), usize)> {
    let ts = ThreadState::new()?;
    STATES.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a new state, and a stack that stays mapped for ever.
    let top = unsafe { ts.arm(lo as *mut u8, hi as *mut u8) };
    Some((ts.as_ptr().cast(), top as usize))
}

unsafe fn attach(state: *mut ()) {
    // SAFETY: the runtime's invariants: on g0, attached nowhere.
    unsafe { state_of(state).attach() }
}

unsafe fn detach(state: *mut ()) {
    // SAFETY: attached on this M, which has no state of its own.
    unsafe { state_of(state).detach() }
}

unsafe fn swap(from: *mut (), to: *mut ()) {
    // SAFETY: `from` is attached here; only P 0's M, which we are, attaches either.
    unsafe { state_of(from).swap(state_of(to)) }
}

unsafe fn swap_at_once(from: *mut (), to: *mut ()) -> bool {
    // SAFETY: as swap.
    unsafe { state_of(from).swap_at_once(state_of(to)) }
}

unsafe extern "C-unwind" fn main(host: *mut (), state: *mut ()) -> bool {
    // SAFETY: the state is attached on this thread and the payload is a Goroutine's reference.
    unsafe { goroutine::goroutine_main(host.cast(), state_of(state)) }
}

unsafe fn discard(state: *mut ()) {
    STATES.fetch_sub(1, Ordering::Relaxed);
    // SAFETY: attached here; its goroutine has ended.
    unsafe { state_of(state).delete_current() }
}

unsafe fn may_migrate(state: *mut (), caller: *const ()) -> bool {
    // SAFETY: attached here; the record is the parked entry's and lies on its stack.
    unsafe { movable::may_migrate(state_of(state), caller.cast::<Caller>().as_ref()) }
}

unsafe fn is_free() -> bool {
    !cpython::gil_locked()
}

unsafe fn thread_park() -> *mut () {
    if on_main_os_thread() {
        note_main_thread();
    }
    // SAFETY: by 3 the thread's own state is attached.
    unsafe { tstate::thread_save().cast() }
}

unsafe fn thread_unpark(token: *mut ()) {
    // SeqCst, here and below: pairs with `at_exit`: either we see the end, or it sees us and waits until we have the GIL.
    RETURNING.fetch_add(1, Ordering::SeqCst);
    if embedder::is_exiting() && !on_main_os_thread() {
        RETURNING.fetch_sub(1, Ordering::SeqCst);
        // A daemon thread, and the interpreter is going away: CPython would end the thread by
        // unwinding it, through frames of ours that cannot be unwound so. It sleeps instead, as
        // CPython 3.14 has it.
        loop {
            std::thread::park();
        }
    }
    // SAFETY: the token is this thread's own state.
    unsafe { tstate::thread_restore(token.cast()) }
    // SeqCst: pairs with `at_exit`.
    RETURNING.fetch_sub(1, Ordering::SeqCst);
}

unsafe fn thread_signal() -> Option<bool> {
    on_main_os_thread()
        .then(|| cpython::object::signal_tripped() && !crate::module::run::are_passed_on())
}

/// The main thread's operations return interrupted: handlers run outside the wait (`errors::interrupted`), so that they
/// may wait themselves, and the operation is then tried again. Under `run` the main goroutine runs them.
unsafe fn thread_poll(_token: *mut ()) -> bool {
    let is_main = on_main_os_thread();
    if is_main {
        crate::module::run::pass_on();
    }
    is_main
}

/// Everything that the runtime knows is asleep: ends the main wait with `Deadlock` if nothing else can wake a waiter.
unsafe fn deadlock() -> bool {
    if cpython::finalizing() {
        return true;
    }
    // SAFETY: sysmon's thread has no state; Ensure makes one and Release deletes it.
    unsafe {
        let gil = ffi::PyGILState_Ensure();
        let hope = hope();
        if hope == Hope::None {
            let mains = MAINS.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if !mains.iter().rev().any(|m| m.deadlock()) {
                let thread = *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
                thread.map(GRef::deadlock);
            }
        }
        ffi::PyGILState_Release(gil);
        hope != Hope::Unseen
    }
}

/// Whether anything can still wake a waiter.
#[derive(PartialEq, Eq)]
enum Hope {
    /// Nothing can.
    None,
    /// Something has, or will through the main thread, which looks for a deadlock again when it falls asleep.
    Seen,
    /// Something that can vanish without notice.
    Unseen,
}

/// Looks for anything that can still wake a waiter. With the GIL held no Python thread can enter the runtime: what is dead stays dead. Only
/// [`idle_threads`] may give it up; what follows that counts.
unsafe fn hope() -> Hope {
    // SAFETY: the GIL is held.
    unsafe {
        // Only the main thread sets and resets handlers, so a program that waits for a signal costs no further look.
        if !embedder::is_dead()
            || crate::module::run::others_can_wake()
            || signals::program_handles_any()
        {
            return Hope::Seen;
        }
        let threads = python_threads();
        let idle = if threads > 0 { idle_threads() } else { 0 };
        if threads > idle
            || signals::is_under_way()
            || embedder::strangers().is_none_or(|n| n > idle)
        {
            return Hope::Unseen;
        }
        if embedder::is_dead() && python_threads() <= idle {
            Hope::None
        } else {
            Hope::Seen
        }
    }
}

/// See `run::idle_threads`. The collector stands still meanwhile: a finalizer might wait, and sysmon with it.
unsafe fn idle_threads() -> usize {
    // SAFETY: the GIL is held.
    unsafe {
        let enabled = ffi::PyGC_Disable();
        let idle = crate::module::run::idle_threads();
        if enabled != 0 {
            ffi::PyGC_Enable();
        }
        idle
    }
}

/// How many Python threads are alive that do not sleep in the runtime.
fn python_threads() -> usize {
    let mut states = 0usize;
    // SAFETY: the GIL is held: no state is deleted meanwhile.
    unsafe {
        let mut ts = ffi::PyInterpreterState_ThreadHead(ffi::PyInterpreterState_Main());
        while !ts.is_null() {
            states += 1;
            ts = ffi::PyThreadState_Next(ts);
        }
    }
    // Goroutines' states, the threads that sleep here, and sysmon's own.
    states.saturating_sub(STATES.load(Ordering::Relaxed) + embedder::threads_asleep() + 1)
}

/// At interpreter exit: stops the Ms that can be stopped, and lets the threads whose wait is over come back: CPython would
/// end those that ask for the GIL later by unwinding them (`thread_unpark`).
///
/// # Safety
/// Called by an atexit handler with the GIL held.
pub unsafe fn at_exit() {
    // SAFETY: the GIL is held by this thread's own state.
    unsafe {
        let token = tstate::thread_save();
        embedder::stop_the_ms();
        let end = Instant::now() + PATIENCE;
        // SeqCst: pairs with thread_unpark.
        while RETURNING.load(Ordering::SeqCst) != 0 && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        tstate::thread_restore(token);
        tstate::unlink_all_chunks(ThreadState::current());
    }
}

/// In a forked child: starts afresh. True: the forker is a goroutine, which stands for the main thread from now on.
///
/// # Safety
/// Called once in the child, by its only thread, before anything of Python runs there.
pub unsafe fn after_fork() -> bool {
    // SAFETY: the caller's duty.
    let in_goroutine = unsafe { embedder::after_fork_in_child() } == ForkChild::Goroutine;
    let me = if in_goroutine { embedder::current() } else { None };
    let mut mains = MAINS.lock().unwrap_or_else(PoisonError::into_inner);
    mains.clear();
    mains.extend(me);
    *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner) = me;
    RETURNING.store(0, Ordering::Relaxed);
    // SAFETY: the only thread.
    set_main_ident(unsafe { libc_pthread_self() });
    // CPython is about to delete every state but ours.
    STATES.store(usize::from(in_goroutine), Ordering::Relaxed);
    in_goroutine
}

unsafe extern "C" fn masks_changed(blocked: u64, unblocked: u64) {
    let thread = *MAIN_THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    embedder::change_signal_masks(thread, blocked, unblocked);
}

unsafe extern "C" fn hold(delta: c_int) {
    if embedder::current().is_none() {
        return;
    }
    for _ in 0..delta.unsigned_abs() {
        if delta > 0 {
            embedder::lock_os_thread();
        } else {
            embedder::unlock_os_thread();
        }
    }
}

unsafe extern "C" fn before_fork() {
    embedder::before_fork();
}

unsafe extern "C" fn current_goid() -> c_ulonglong {
    if embedder::current_host().is_null() {
        return 0;
    }
    embedder::current().map_or(0, GRef::goid)
}

unsafe extern "C" fn current_state() -> *mut ffi::PyThreadState {
    embedder::current().map_or(std::ptr::null_mut(), |g| g.state().cast())
}

unsafe extern "C" fn pthread_of(ident: c_ulong) -> c_ulong {
    let mut found = 0;
    embedder::for_each_g(&mut |g| {
        if let Some(ts) = ThreadState::from_ptr(g.state().cast()) {
            // SAFETY: the GIL is held: a goroutine's state is not deleted meanwhile.
            if unsafe { ts.ident() } == ident {
                found = g.pthread();
            }
        }
    });
    found
}
