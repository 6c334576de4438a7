//! The runtime's hooks for an ordinary thread that waits in it.
//!
//! # Invariants
//! 1. Every Python thread enters the runtime with the GIL held; [`thread_park`] gives it up.

use super::{main_thread, news};
use crate::cpython::{self, tstate};

pub(crate) unsafe fn thread_park() -> *mut () {
    if main_thread::is_this() {
        main_thread::note();
    }
    // SAFETY: by 1 the thread's own state is attached.
    unsafe { tstate::thread_save().cast() }
}

pub(crate) unsafe fn thread_signal() -> Option<bool> {
    main_thread::is_this().then(|| cpython::object::signal_tripped() && !news::are_passed_on())
}

/// The main thread's operations return interrupted: handlers run outside the wait (`waits::interrupted`), so that they
/// may wait themselves, and the operation is then tried again. Under `run` the main goroutine runs them.
pub(crate) unsafe fn thread_poll(_token: *mut ()) -> bool {
    let is_main = main_thread::is_this();
    if is_main {
        news::pass_on();
    }
    is_main
}
