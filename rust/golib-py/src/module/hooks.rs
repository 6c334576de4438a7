//! The two tables: the host's functions for the runtime, and the runtime's functions for C.
//!
//! A goroutine's payload is its Python `Goroutine` object, an owned reference that `goroutine_main` gives back.
//!
//! # Invariants
//! 1. `main` holds nothing that needs dropping while Python code runs above it: at interpreter
//!    exit CPython may end the thread there by forced unwinding.

use std::os::raw::{c_int, c_ulong, c_ulonglong};

use go_lib::runtime::embedder::{self, Embedder, GRef};
use pyo3::ffi;

use crate::bridge::{attach, deadlock, exit, main_thread, news, threads};
use crate::core::goroutine::{self, stand_in};
use crate::cpython::runtime::RuntimeTable;
use crate::cpython::{self, ThreadState};

/// The functions that the runtime calls.
static EMBEDDER: Embedder = Embedder {
    bind: attach::bind,
    attach: attach::attach,
    detach: attach::detach,
    swap: attach::swap,
    swap_at_once: attach::swap_at_once,
    main,
    discard: attach::discard,
    may_migrate: attach::may_migrate,
    is_free: attach::is_free,
    thread_park: threads::thread_park,
    thread_unpark: exit::thread_unpark,
    thread_signal: threads::thread_signal,
    thread_poll: threads::thread_poll,
    deadlock: deadlock::deadlock,
    holder: super::blocked::holder,
    overstays: super::blocked::overstays,
    monopolizes: super::blocked::monopolizes,
};

/// The functions that C calls.
static RUNTIME: RuntimeTable = RuntimeTable {
    pin: Some(pin),
    goroutine: Some(current_goid),
    state: Some(current_state),
    in_main_goroutine: Some(stand_in::in_main_goroutine),
    pthread_of: Some(pthread_of),
    signal_sent: Some(news::signal_sent),
    main_thread_turn: Some(news::main_thread_turn),
    masks_changed: Some(masks_changed),
    before_fork: super::fork::BEFORE,
    after_fork: super::fork::CHILD,
};

/// Installs the hooks, once, before the first goroutine.
///
/// # Safety
/// The GIL is held. Called in a process whose interpreter passed `cpython::init`.
pub(super) unsafe fn install() {
    embedder::install(&EMBEDDER);
    // SAFETY: the GIL is held.
    unsafe { cpython::identity::set_runtime(&RUNTIME) };
}

unsafe extern "C-unwind" fn main(host: *mut (), state: *mut ()) -> bool {
    // SAFETY: the state is attached on this thread and the payload is a Goroutine's reference.
    unsafe { goroutine::goroutine_main(host.cast(), attach::state_of(state)) }
}

unsafe extern "C" fn masks_changed(blocked: u64, unblocked: u64) {
    embedder::change_signal_masks(main_thread::gref(), blocked, unblocked);
}

unsafe extern "C" fn pin(delta: c_int) {
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
                found = g.pthread() as c_ulong;
            }
        }
    });
    found
}
