//! News for the main thread while it waits in `run`: the main goroutine, which stands in for it, must receive them.
//!
//! The kernel delivers the process's signals to the main thread. CPython's C handler notes each and makes the main
//! goroutine's eval loop look. A main goroutine that waits in golib or in a system call has to be disturbed. That may come
//! too early for the call in which it is about to sleep, so the thread looks again until nothing is pending. If the
//! goroutine has been in one call for a second, the thread itself runs what is still pending; an exception of that
//! leaves `run`.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use go_lib::runtime::embedder::{self, nanotime, Event, GRef, Wait, WaitError, WaitReason};
use pyo3::ffi;

use super::{alarm, main_thread};
use crate::cpython::{self, object};
use crate::ffi::gil::Entry;

/// The pauses between two looks, and how long a call may last that nothing interrupts.
const FIRST_PAUSE_NS: i64 = 1_000_000;
const LONGEST_PAUSE_NS: i64 = 64_000_000;
const PATIENCE_NS: i64 = 1_000_000_000;

/// The main goroutine of the `run` on the main thread, which writes it with the GIL held. It is read there, or with
/// the GIL held. (A lock might be held forever in a forked child.)
struct Main(UnsafeCell<Option<GRef>>);
// SAFETY: whoever writes it has the GIL, and so has whoever reads it on another thread.
unsafe impl Sync for Main {}
static MAIN: Main = Main(UnsafeCell::new(None));

/// See `MAIN`.
fn main() -> Option<GRef> {
    // SAFETY: see MAIN.
    unsafe { *MAIN.0.get() }
}

fn set_main(main: Option<GRef>) {
    // SAFETY: see MAIN.
    unsafe { *MAIN.0.get() = main };
}

/// Signals are pending of which the main goroutine knows.
static KNOWN: AtomicBool = AtomicBool::new(false);
/// Goroutines that wait for the main thread to have been awake. An event lies on the stack of its waiter.
static TURNS: Mutex<Vec<EventPtr>> = Mutex::new(Vec::new());

fn turns() -> MutexGuard<'static, Vec<EventPtr>> {
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}

struct EventPtr(*const Event);
// SAFETY: the waiter keeps the event until it is set.
unsafe impl Send for EventPtr {}

pub(crate) fn begin(main: GRef) {
    set_main(Some(main));
}

pub(crate) fn end() {
    set_main(None);
    KNOWN.store(false, Ordering::Relaxed);
    end_turns();
}

/// In a forked child.
pub(crate) fn after_fork() {
    end();
}

/// The main goroutine knows of the pending signals.
pub(crate) fn are_passed_on() -> bool {
    // Relaxed: written and read by the main thread.
    KNOWN.load(Ordering::Relaxed)
}

/// Makes the main goroutine, if there is one, look for news. On the main thread, or with the GIL held.
pub(crate) fn pass_on() {
    if let Some(main) = main() {
        cpython::main_thread::tell();
        main.disturb();
    }
}

/// See `cpython::runtime::RuntimeTable`: a signal may have been noted by somebody other than the kernel.
pub unsafe extern "C" fn signal_sent() {
    if object::signal_tripped() {
        pass_on();
        main_thread::interrupt();
    }
}

/// See `cpython::runtime::RuntimeTable`: returns when the main thread has handled the signals that were sent to it before.
pub unsafe extern "C" fn main_thread_turn() {
    if main().is_none() {
        return;
    }
    // SAFETY: C calls it with the GIL.
    let mut entry = unsafe { Entry::of_c() };
    let done = Event::new();
    turns().push(EventPtr(&done));
    main_thread::interrupt();
    let mut interrupted = false;
    while !done.is_set() {
        // The main thread is about to come. An interrupt stays for the next wait.
        let waited = entry.wait(|| done.wait(Wait::Block, WaitReason::Join));
        if let Ok(Err(WaitError::Interrupted)) = waited {
            embedder::take_interrupt();
            // News for this goroutine are acted upon at its next wait.
            alarm::hand_on(entry.gil());
            interrupted = true;
        }
    }
    if let Some(me) = embedder::current().filter(|_| interrupted) {
        me.interrupt();
    }
}

fn end_turns() {
    let turns = std::mem::take(&mut *turns());
    if turns.is_empty() {
        return;
    }
    // On the way back from a system call the kernel delivers what had been sent when the turns were asked for.
    std::thread::yield_now();
    for EventPtr(done) in turns {
        // SAFETY: its goroutine waits.
        unsafe { (*done).set() };
    }
}

/// The waiting thread's record of news for the main goroutine.
pub(crate) struct News {
    main: GRef,
    /// None: there are none.
    next_look_ns: Option<i64>,
    pause_ns: i64,
    /// Since when main has been running with news.
    running_since_ns: Option<i64>,
}

impl News {
    pub(crate) fn new(main: GRef) -> News {
        News { main, next_look_ns: None, pause_ns: FIRST_PAUSE_NS, running_since_ns: None }
    }

    /// How long to wait before the next look.
    pub(crate) fn wait(&self) -> Wait {
        self.next_look_ns.map_or(Wait::Block, Wait::Until)
    }

    /// Looks for news, and passes them on. False: main did not come, and what they raise is set.
    ///
    /// # Safety
    /// On the main thread, which waits for `main`; the GIL is held.
    pub(crate) unsafe fn look(&mut self) -> bool {
        end_turns();
        // SAFETY: on the main thread, with the GIL, as the caller says.
        let news = unsafe { cpython::main_thread::has_news() };
        KNOWN.store(news, Ordering::Relaxed);
        if !news {
            *self = News::new(self.main);
            return true;
        }
        pass_on();
        let now = nanotime();
        self.running_since_ns =
            self.main.is_running().then(|| self.running_since_ns.unwrap_or(now));
        self.next_look_ns = Some(now.saturating_add(self.pause_ns));
        self.pause_ns = (self.pause_ns * 2).min(LONGEST_PAUSE_NS);
        if self.running_since_ns.is_none_or(|since| now - since < PATIENCE_NS) {
            return true;
        }
        self.running_since_ns = None;
        // 3.11 takes its note of the signal back in the second only. SAFETY: no wait is under way, and this is the main thread.
        unsafe {
            cpython::main_thread::taken_back(|| {
                ffi::PyErr_CheckSignals() == 0 && ffi::Py_MakePendingCalls() == 0
            })
        }
    }
}
