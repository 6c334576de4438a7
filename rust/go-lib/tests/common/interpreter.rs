//! A host's interpreter for tests: a lock, and the state that is attached.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Condvar, Mutex};

use go_lib::runtime::embedder::{Embedder, Holder};

/// The state that is attached, or null.
static ATTACHED: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
static IS_HELD: Mutex<bool> = Mutex::new(false);
static IS_FREE: Condvar = Condvar::new();

/// Waits for the interpreter.
pub fn hold() {
    let held = IS_HELD.lock().unwrap();
    *IS_FREE.wait_while(held, |held| *held).unwrap() = true;
}

/// Gives it up.
pub fn let_go() {
    *IS_HELD.lock().unwrap() = false;
    IS_FREE.notify_one();
}

/// Attaches `to` in the place of `from`, which must be attached. Aborts otherwise: no goroutine of a host may unwind.
pub fn change(from: *mut (), to: *mut ()) {
    if ATTACHED.swap(to, Ordering::Relaxed) != from {
        eprintln!("the interpreter was somebody else's");
        std::process::abort();
    }
}

/// A host without states and goroutines; each test's has its own `bind` and `main`.
pub const PLAIN: Embedder = Embedder {
    bind: |_, _| None,
    attach: |state| {
        hold();
        change(ptr::null_mut(), state);
    },
    detach: |state| {
        change(state, ptr::null_mut());
        let_go();
    },
    swap: change,
    swap_at_once: |from, to| {
        change(from, to);
        true
    },
    main: no_goroutine,
    discard: |_| std::process::abort(),
    may_migrate: |_, _| true,
    is_free: || !*IS_HELD.lock().unwrap(),
    thread_park: ptr::null_mut,
    thread_unpark: |_| (),
    thread_signal: || None,
    thread_poll: |_| false,
    deadlock: || true,
    holder: || Holder::NOBODY,
    overstays: |_| true,
    monopolizes: |_, _| true,
};

unsafe extern "C-unwind" fn no_goroutine(_host: *mut (), _state: *mut ()) -> bool {
    std::process::abort()
}
