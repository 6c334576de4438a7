//! `golib.run`.
//!
//! The thread that called `run` waits for the main goroutine. If it is the main thread it also serves: signal handlers
//! run in it, what they raise is handed to the main goroutine, and builtins that only work on the main thread
//! (`signal.signal`) are carried out by it for the main goroutine.
//!
//! # Invariants
//! 1. `MAIN` and `WAITER` are the main goroutine's handle and the main thread's G while a `run` called on the main thread
//!    is under way; at most one is.
//! 2. A job lies on the stack of the goroutine that waits for it.

mod raised;

use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use go_lib::runtime::embedder::{self, Event, GRef, Wait, WaitError, WaitReason};
use pyo3::ffi::{self, PyObject};

use crate::context::ambient;
use crate::cpython::{tstate, ThreadState};
use crate::errors;
use crate::goroutine::{self, GoroutineObj, Spec};
use crate::host;
use crate::obj::{self, Global, Raw};
use crate::raw::{guard_wait, instance, parking, Record};

use raised::OnItsWay;
pub(crate) use raised::{set_async, take_raised, CLASS};

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

mod parks {
    #[allow(clippy::wildcard_imports, reason = "a section of this file")]
    use super::*;

    // `_golib._run_main(fn, args, kwargs, raised)`: runs fn as a main goroutine; returns or raises what that does.
    parking!(golib_entry_run_main => run_main(_module, args, n; record) {
        // SAFETY: a METH_FASTCALL function, called by golib._run with a function, a tuple, a dict and a class.
        unsafe {
            if n != 4 {
                return errors::raise(ffi::PyExc_TypeError, "_run_main() takes 4 arguments");
            }
            if CLASS.get().is_null() {
                ffi::Py_INCREF(*args.add(3));
                CLASS.set(*args.add(3));
            }
            let slf = start_main(*args, *args.add(1), *args.add(2));
            if slf.is_null() {
                return slf;
            }
            let ended = await_end(slf, record);
            end_main(slf);
            tstate::take_back_hooks(slf);
            let outcome = if ended { GoroutineObj::outcome(slf) } else { ptr::null_mut() };
            ffi::Py_DECREF(slf);
            outcome
        }
    });
}

pub(crate) use parks::golib_entry_run_main;

/// Starts a main goroutine; its handle, or null with an exception set.
unsafe fn start_main(function: Raw, positional: Raw, keywords: Raw) -> Raw {
    // SAFETY: called with a function, a tuple and a dict; the GIL is held.
    unsafe {
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
            // It cannot run before we give the GIL up. Without memory it begins without them.
            if tstate::lend_hooks(slf).is_err() {
                ffi::PyErr_Clear();
            }
            if is_main {
                MAIN.store(slf, Ordering::Relaxed);
                *lock(&WAITER) = Some(embedder::current_or_thread());
            }
            host::push_main(GoroutineObj::gref(slf));
        }
        slf
    }
}

/// That `run` is over, perhaps without its goroutine.
unsafe fn end_main(slf: Raw) {
    // SAFETY: what start_main returned; the GIL is held.
    unsafe {
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
    }
}

/// Waits for the end of the main goroutine `slf`, serving it meanwhile. What is raised here is raised there; if this
/// thread is cancelled, so is main. False: an exception is set that could not be raised there.
///
/// Nothing in here is Python code but what signal handlers do: a second handler could raise between its instructions.
unsafe fn await_end(slf: Raw, record: Record) -> bool {
    // SAFETY: a handle, held by the caller; the GIL is held.
    unsafe {
        let done = GoroutineObj::done(slf);
        let mut thrown = OnItsWay::NOTHING;
        let mut shield: *mut ambient::Entry = ptr::null_mut();
        let ended = loop {
            serve();
            match guard_wait(record, || done.wait(thrown.wait(), WaitReason::Join)) {
                Some(Ok(())) => break true,
                Some(Err(WaitError::Timeout | WaitError::WouldBlock)) => {
                    let lost = thrown.take_back(slf);
                    if !lost.is_null() {
                        errors::restore(lost);
                        break false;
                    }
                    continue;
                }
                Some(Err(WaitError::Interrupted)) if errors::interrupted() => continue,
                Some(Err(WaitError::Deadlock)) => {
                    errors::deadlock();
                }
                _ => {}
            }
            if ffi::PyErr_ExceptionMatches(errors::CANCELLED.get()) == 0 {
                if done.is_set() {
                    break false; // too late for main
                }
                thrown = raised::throw(slf, errors::fetch());
                continue;
            }
            ffi::PyErr_Clear();
            if shield.is_null() {
                shield = ambient::push_shield();
            }
            if shield.is_null() || ambient::cancel_goroutine(slf).is_none() {
                break false;
            }
        };
        if !shield.is_null() {
            ambient::pop(shield);
        }
        ended
    }
}

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
    let mut interrupted = false;
    while !job.done.is_set() {
        // By 2 nothing else ends this wait; the main thread is about to serve. An interrupt stays for the next wait.
        if let Some(Err(WaitError::Interrupted)) =
            guard_wait(ptr::null(), || job.done.wait(Wait::Block, WaitReason::Join))
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
