//! What `golib.run` needs of the runtime; its loop is Python (`golib._run`).
//!
//! The thread that called `run` waits for the main goroutine. If it is the main thread it also serves: signal handlers
//! run in it, what they raise is handed to the main goroutine, and builtins that only work on the main thread
//! (`signal.signal`) are carried out by it for the main goroutine.
//!
//! # Invariants
//! 1. `MAIN` and `WAITER` are the main goroutine's handle and the main thread's G while a `run` called on the main thread
//!    is under way; at most one is.
//! 2. A job lies on the stack of the goroutine that waits for it.

use std::os::raw::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, Event, GRef, Wait, WaitError, WaitReason};
use pyo3::ffi::{self, PyObject, Py_ssize_t};

use crate::cpython::{tstate, ThreadState};
use crate::errors;
use crate::goroutine::{self, handle, GoroutineObj, Spec};
use crate::host;
use crate::obj::{self, Global, Raw};
use crate::raw::{guard, instance, parking, wait_of};

/// By 1; borrowed: the waiting `run` holds a reference.
static MAIN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static WAITER: Mutex<Option<GRef>> = Mutex::new(None);
static JOBS: Mutex<Vec<JobPtr>> = Mutex::new(Vec::new());

/// Something for the main thread to do.
struct Job {
    call: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
    done: Event,
}

struct JobPtr(*const Job);
// SAFETY: by 2 the job stays until it is done.
unsafe impl Send for JobPtr {}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `_golib._start_main(fn, args, kwargs)`: starts a main goroutine; its handle.
pub(crate) unsafe extern "C" fn start_main(_: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function, called by golib._run with a function, a tuple and a dict.
    unsafe {
        if n != 3 {
            return errors::raise(ffi::PyExc_TypeError, "_start_main() takes 3 arguments");
        }
        let [function, positional, keywords] = [*args, *args.add(1), *args.add(2)];
        ffi::Py_INCREF(positional);
        let kwargs = if ffi::PyDict_Size(keywords) > 0 {
            ffi::Py_INCREF(keywords);
            keywords
        } else {
            ptr::null_mut()
        };
        let is_main = host::on_main_os_thread() && MAIN.load(Ordering::Relaxed).is_null();
        let slf = goroutine::start(Spec { kwargs, is_main, ..Spec::new(function, positional) });
        if !slf.is_null() {
            if is_main {
                MAIN.store(slf, Ordering::Relaxed);
                *lock(&WAITER) = Some(embedder::current_or_thread());
            }
            host::push_main(GoroutineObj::gref(slf));
        }
        slf
    }
}

/// `_golib._end_main(g)`: that `run` is over, perhaps without its goroutine.
pub(crate) unsafe extern "C" fn end_main(_: Raw, slf: Raw) -> Raw {
    // SAFETY: called by golib._run with what _start_main returned.
    unsafe {
        if handle(slf).is_none() {
            return ptr::null_mut();
        }
        let gref = GoroutineObj::gref(slf);
        host::pop_main(gref);
        if MAIN.load(Ordering::Relaxed) == slf {
            MAIN.store(ptr::null_mut(), Ordering::Relaxed);
            *lock(&WAITER) = None;
            serve();
            let g = instance::<GoroutineObj>(slf);
            (*g).is_main = false;
            // Abandoned: it is no longer the main thread.
            if let Some(ts) = ThreadState::from_ptr(gref.state().cast())
                .filter(|_| !GoroutineObj::done(slf).is_set())
            {
                ts.set_ident(tstate::ident_of(gref.goid()));
            }
        }
        obj::none()
    }
}

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    // `_golib._wait_main(g, timeout)`: waits for the end of a main goroutine, serving it meanwhile; false after timeout.
    // Raises what a signal handler raised.
    parking!(golib_entry_wait_main => wait_main(_module, args, n, _kwnames) {
        // SAFETY: a METH_FASTCALL | METH_KEYWORDS function, called by golib._run.
        unsafe {
            if n != 2 {
                return errors::raise(ffi::PyExc_TypeError, "_wait_main() takes 2 arguments");
            }
            let Some(slf) = handle(*args) else { return ptr::null_mut() };
            let Some(wait) = wait_of(*args.add(1)) else { return ptr::null_mut() };
            let done = GoroutineObj::done(slf);
            loop {
                serve();
                match guard(|| done.wait(wait, WaitReason::Join)) {
                    Some(Ok(())) => return obj::boolean(true),
                    Some(Err(WaitError::Timeout | WaitError::WouldBlock)) => return obj::boolean(false),
                    Some(Err(WaitError::Interrupted)) if errors::interrupted() => {}
                    Some(Err(WaitError::Deadlock)) => return errors::deadlock(),
                    _ => return ptr::null_mut(),
                }
            }
        }
    });
}

pub(crate) use parks::golib_entry_wait_main;

/// Does the jobs that wait for the main thread.
unsafe fn serve() {
    if !host::on_main_os_thread() {
        return;
    }
    loop {
        let job = lock(&JOBS).pop();
        let Some(JobPtr(job)) = job else { return };
        // SAFETY: by 2; its goroutine waits.
        unsafe {
            ((*job).call)((*job).arg);
            (*job).done.set();
        }
    }
}

/// See `cpython::identity::HostTable`.
pub unsafe extern "C" fn in_main_goroutine() -> c_int {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: a host goroutine's payload is its handle.
    c_int::from(!host.is_null() && unsafe { (*instance::<GoroutineObj>(host)).is_main })
}

/// See `cpython::identity::HostTable`.
pub unsafe extern "C" fn on_main_thread(
    call: unsafe extern "C" fn(*mut c_void),
    arg: *mut c_void,
) -> c_int {
    let waiter = *lock(&WAITER);
    let Some(waiter) = waiter else {
        // SAFETY: the GIL is held.
        unsafe {
            errors::set(
                ffi::PyExc_RuntimeError,
                "the main thread does not wait in golib.run any more",
            )
        };
        return -1;
    };
    let job = Job { call, arg, done: Event::new() };
    lock(&JOBS).push(JobPtr(&job));
    waiter.interrupt();
    // A frame of C is below us: the goroutine keeps its M.
    embedder::set_caller(ptr::null());
    let mut interrupted = false;
    while !job.done.is_set() {
        // By 2 nothing else ends this wait; the main thread is about to serve. An interrupt stays for the next wait.
        if let Some(Err(WaitError::Interrupted)) =
            guard(|| job.done.wait(Wait::Block, WaitReason::Join))
        {
            embedder::take_interrupt();
            interrupted = true;
        }
    }
    if let Some(me) = embedder::current().filter(|_| interrupted) {
        me.interrupt();
    }
    0
}

/// How many reasons there are to expect a wake-up from outside the runtime.
static EXPECTED: AtomicUsize = AtomicUsize::new(0);

/// True while something outside the runtime may wake a goroutine.
pub fn others_can_wake() -> bool {
    EXPECTED.load(Ordering::Relaxed) != 0
}

/// Counts the threads of ours in Python that can wake nobody by themselves; null: there are none.
static IDLE_THREADS: Global = Global::new();

/// How many Python threads wait for others only, though the runtime does not see it.
///
/// # Safety
/// The GIL is held.
pub unsafe fn idle_threads() -> usize {
    // SAFETY: the GIL is held.
    unsafe {
        if IDLE_THREADS.get().is_null() {
            return 0;
        }
        let count = ffi::PyObject_CallNoArgs(IDLE_THREADS.get());
        let n = if count.is_null() { -1 } else { ffi::PyLong_AsLong(count) };
        ffi::Py_XDECREF(count);
        if !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_WriteUnraisable(IDLE_THREADS.get());
        }
        n.max(0) as usize
    }
}

/// `_golib._set_idle_threads(count)`: by whom [`idle_threads`] is answered, for good.
pub(crate) unsafe extern "C" fn set_idle_threads(_: Raw, count: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        ffi::Py_INCREF(count);
        let old = IDLE_THREADS.get();
        IDLE_THREADS.set(count);
        ffi::Py_XDECREF(old);
        obj::none()
    }
}

/// `_golib._expect_wakeups(delta)`: counts the reasons (a signal that `notify` waits for) for which nothing is a deadlock.
pub(crate) unsafe extern "C" fn expect_wakeups(_: Raw, delta: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        let Some(delta) = crate::raw::integer_of(delta) else { return ptr::null_mut() };
        // Changed under the GIL alone.
        let now = EXPECTED.load(Ordering::Relaxed).saturating_add_signed(delta as isize);
        EXPECTED.store(now, Ordering::Relaxed);
        obj::none()
    }
}

/// In a forked child.
pub(crate) fn after_fork() {
    MAIN.store(ptr::null_mut(), Ordering::Relaxed);
    *lock(&WAITER) = None;
    lock(&JOBS).clear();
    EXPECTED.store(0, Ordering::Relaxed);
}

/// `_golib._interrupt(g, error)`: has `error` raised in a goroutine that waits in an operation of ours, or that has not
/// begun. False: it runs Python or C code.
pub(crate) unsafe extern "C" fn interrupt(_: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function.
    unsafe {
        if n != 2 {
            return errors::raise(ffi::PyExc_TypeError, "_interrupt() takes 2 arguments");
        }
        let Some(slf) = handle(*args) else { return ptr::null_mut() };
        let gref = GoroutineObj::gref(slf);
        let waits =
            !matches!(gref.status_text(), "running" | "runnable" | "syscall" | "idle" | "dead");
        if waits {
            ffi::Py_INCREF(*args.add(1));
            GoroutineObj::interrupt(slf, *args.add(1));
        }
        obj::boolean(waits)
    }
}

/// `_golib._is_interrupted(g)`: what `_interrupt` left has not been raised yet.
pub(crate) unsafe extern "C" fn is_interrupted(_: Raw, slf: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        let Some(slf) = handle(slf) else { return ptr::null_mut() };
        obj::boolean(GoroutineObj::has_pending(slf))
    }
}

/// `_golib._set_async_exc(g, class)`: CPython's asynchronous exception; None takes it back.
pub(crate) unsafe extern "C" fn set_async_exc(_: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function.
    unsafe {
        if n != 2 {
            return errors::raise(ffi::PyExc_TypeError, "_set_async_exc() takes 2 arguments");
        }
        let Some(slf) = handle(*args) else { return ptr::null_mut() };
        let class = *args.add(1);
        let class = if class == ffi::Py_None() { ptr::null_mut() } else { class };
        let done = GoroutineObj::done(slf).is_set();
        if let Some(ts) =
            ThreadState::from_ptr(GoroutineObj::gref(slf).state().cast()).filter(|_| !done)
        {
            // Of several states with this ident CPython takes the newest: the goroutine's, not its main thread's.
            ffi::PyThreadState_SetAsyncExc(ts.ident() as c_long, class);
        }
        obj::none()
    }
}
