//! The interpreter's end: which threads stop, which come back before it, and which sleep for good.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use go_lib::runtime::embedder::{self, WaitReason};

use super::main_thread;
use crate::cpython::{tstate, ThreadState};
use crate::ffi::gil::Gil;

/// How long [`stop`] waits for threads on their way back, and between two looks at them.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_micros(50);

/// Exit handlers have run, and no goroutine may start.
static EXITED: AtomicBool = AtomicBool::new(false);
/// Ordinary threads between a wait in the runtime and the GIL.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// Goroutines have stopped, or are about to.
#[inline]
pub(crate) fn has_begun() -> bool {
    // Relaxed: read and written under the GIL.
    EXITED.load(Ordering::Relaxed)
}

/// In a forked child, which has no other thread.
pub(crate) fn after_fork() {
    RETURNING.store(0, Ordering::Relaxed);
}

/// At interpreter exit: stops the Ms that can be stopped, and lets the threads whose wait is over come back: CPython would
/// end those that ask for the GIL later by unwinding them ([`thread_unpark`]).
///
/// # Safety
/// Called by the last exit handler with the GIL held.
pub(crate) unsafe fn stop() {
    EXITED.store(true, Ordering::Relaxed);
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

/// A hook of the runtime's: an ordinary thread's wait is over.
///
/// # Safety
/// `token` is the state that the thread gave up when it began to wait.
pub(crate) unsafe fn thread_unpark(token: *mut ()) {
    // SeqCst, here and below: pairs with `stop`: either we see the end, or it sees us and waits until we have the GIL.
    RETURNING.fetch_add(1, Ordering::SeqCst);
    if embedder::is_exiting() && !main_thread::is_this() {
        RETURNING.fetch_sub(1, Ordering::SeqCst);
        // A daemon thread while the interpreter ends: CPython would end the thread by unwinding it, through frames
        // that cannot be unwound so. It sleeps instead, as CPython 3.14 has it.
        loop {
            std::thread::park();
        }
    }
    // SAFETY: the token is this thread's own state.
    unsafe { tstate::thread_restore(token.cast()) }
    // SeqCst: pairs with `stop`.
    RETURNING.fetch_sub(1, Ordering::SeqCst);
}

/// A daemon thread, or a goroutine that still runs, wants a goroutine while the interpreter goes away: it ends here, as
/// any thread does that wants the interpreter then.
pub(super) fn sleep_for_good(_gil: Gil<'_>) -> ! {
    if embedder::current_host().is_null() {
        // SAFETY: the GIL is held by this thread's own state, which it gives up forever.
        unsafe { tstate::thread_save() };
        loop {
            std::thread::park();
        }
    }
    embedder::set_caller(ptr::null());
    loop {
        embedder::park_forever(WaitReason::Forever);
    }
}
