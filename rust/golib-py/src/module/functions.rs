//! The functions of the module: the scheduler's, and those of `golib.runtime`.

use std::os::raw::c_long;
use std::ptr;

use go_lib::runtime::embedder::{self, Wait, WaitError, WaitReason};
use pyo3::ffi::{self, PyMethodDef};

use super::{exit, fork, run};
use crate::bridge::{self, alarm, deadlock};
use crate::core::context::ambient;
use crate::core::goroutine;
use crate::core::waits;
use crate::cpython::{self, main_thread, movable, tstate};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Module};
use crate::ffi::obj::{self, Global, Raw};
use crate::ffi::raw::{self, guard, guard_wait, parking, seconds_of, wait_for, Record, Table};
use crate::types::chan::ends;
use crate::types::context::blocks;
use crate::types::{select, sync, timer};

// METH_FASTCALL, though it takes none: the eval loop calls such a function directly, one of METH_NOARGS it does not.
parking!(golib_entry_gosched => gosched(_module, _args, n; record) {
    // SAFETY: a METH_FASTCALL function.
    unsafe {
        if n != 0 {
            let text = format!("gosched() takes no arguments ({n} given)");
            return errors::raise(ffi::PyExc_TypeError, &text);
        }
        give_way(record)
    }
});

parking!(golib_entry_sleep => sleep(_module, seconds; record) {
    // SAFETY: a METH_O function.
    unsafe {
        let Some(seconds) = seconds_of(seconds) else { return ptr::null_mut() };
        if seconds == 0.0 {
            return give_way(record);
        }
        let wait = wait_for(seconds);
        loop {
            let result = match wait {
                Wait::Try => return obj::none(),
                Wait::Block => {
                    guard_wait(record, || Err(embedder::park_forever(WaitReason::Sleep)))
                }
                Wait::Until(deadline_ns) => guard_wait(record, || embedder::sleep_until(deadline_ns)),
            };
            match result {
                Some(Ok(())) => return obj::none(),
                Some(Err(WaitError::Timeout)) => return obj::none(),
                Some(Err(error)) if waits::again(error, "sleep", ptr::null_mut()) => {}
                _ => return ptr::null_mut(),
            }
        }
    }
});

#[inline(always)]
unsafe fn give_way(record: Record) -> Raw {
    // SAFETY: the GIL is held; on a plain thread its own state is attached.
    unsafe {
        if embedder::current_host().is_null() {
            if ambient::cancelled(Gil::assume()).is_some() {
                waits::interrupted();
                return ptr::null_mut();
            }
            // Goroutines need the interpreter, which this thread has.
            let state = tstate::thread_save();
            std::thread::yield_now();
            tstate::thread_restore(state);
            return obj::none();
        }
        match guard_wait(record, embedder::gosched) {
            Some(false) if !waits::interrupted() => ptr::null_mut(),
            Some(_) => obj::none(),
            None => ptr::null_mut(),
        }
    }
}

unsafe extern "C" fn goexit(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        ffi::PyErr_SetNone(errors::GOEXIT.get());
    }
    ptr::null_mut()
}

unsafe extern "C" fn num_goroutine(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { ffi::PyLong_FromSize_t(embedder::num_goroutine()) }
}

unsafe extern "C" fn gomaxprocs(_: Raw, args: *const Raw, n: ffi::Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS function.
    unsafe {
        let Some([count]) = raw::arguments("gomaxprocs", &[c"n"], 0, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let mut wished = 0;
        if !count.is_null() && count != ffi::Py_None() {
            match raw::integer_of(count) {
                Some(n) => wished = n,
                None => return ptr::null_mut(),
            }
        }
        if goroutine::ensure_started(Gil::assume()).is_err() {
            return ptr::null_mut();
        }
        let before = if wished < 1 {
            embedder::start();
            Some(embedder::gomaxprocs())
        } else {
            guard(|| embedder::set_gomaxprocs(usize::try_from(wished).unwrap_or(1)))
        };
        before.map_or(ptr::null_mut(), |n| ffi::PyLong_FromSize_t(n))
    }
}

/// `_golib._is_cancelled()`: an operation that would wait here raises Cancelled.
unsafe extern "C" fn is_cancelled(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { obj::boolean(ambient::cancelled(Gil::assume()).is_some()) }
}

/// `_golib._check_interpreter()`: raises ImportError in another interpreter than the main one.
unsafe extern "C" fn check_interpreter(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        if cpython::check_interpreter() < 0 {
            return ptr::null_mut();
        }
        obj::none()
    }
}

/// `golib` as it was imported first.
static PACKAGE: Global = Global::new();

/// `_golib._package(module)`: notes the package, the first time; returns what is noted, or None. For None it notes nothing.
unsafe extern "C" fn package(_: Raw, module: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        if module != ffi::Py_None() && PACKAGE.get().is_null() {
            ffi::Py_INCREF(module);
            PACKAGE.set(module);
        }
        let noted = if PACKAGE.get().is_null() { ffi::Py_None() } else { PACKAGE.get() };
        ffi::Py_INCREF(noted);
        noted
    }
}

unsafe extern "C" fn in_goroutine(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { obj::boolean(!embedder::current_host().is_null()) }
}

unsafe extern "C" fn current(_: Raw, _: Raw) -> Raw {
    let host: Raw = embedder::current_host().cast();
    // SAFETY: a host goroutine's payload is its handle.
    unsafe {
        if host.is_null() {
            return obj::none();
        }
        ffi::Py_INCREF(host);
    }
    host
}

/// `_golib._mark_thread()`: the calling goroutine has an entry in threading's table.
unsafe extern "C" fn mark_thread(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function: the caller's state is attached.
    unsafe {
        match cpython::ThreadState::current().map(|ts| ts.mark_thread()) {
            Some(Err(())) => ptr::null_mut(),
            _ => obj::none(),
        }
    }
}

/// `_golib._is_async(fn)`: calling it gives a coroutine or an asynchronous generator.
unsafe extern "C" fn is_async(_: Raw, fn_: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe { ffi::PyBool_FromLong(cpython::object::is_async(fn_).into()) }
}

/// `_golib._copy_context()`: a copy of the caller's contextvars; None if it has none.
unsafe extern "C" fn copy_context(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe {
        match tstate::vars_for_spawn() {
            Ok(context) if context.is_null() => obj::none(),
            Ok(context) => context,
            Err(()) => ptr::null_mut(),
        }
    }
}

/// `_golib._use_context(context)`: makes a copy of contextvars, or none, those of the calling goroutine from now on.
unsafe extern "C" fn use_context(_: Raw, context: Raw) -> Raw {
    // SAFETY: a METH_O function, called with what `_copy_context` gave, in a goroutine that has entered no other.
    unsafe {
        let context = if context == ffi::Py_None() { ptr::null_mut() } else { context };
        ffi::Py_XINCREF(context);
        if let Some(ts) = cpython::ThreadState::current() {
            ts.set_vars(context);
        }
        obj::none()
    }
}

unsafe extern "C" fn goroutines(_: Raw, _: Raw) -> Raw {
    let mut found: Vec<Raw> = Vec::new();
    embedder::for_each_g(&mut |g| {
        let host: Raw = g.host().cast();
        if !host.is_null() {
            // SAFETY: the GIL is held: a payload is forgotten before its handle can die.
            unsafe { ffi::Py_INCREF(host) };
            found.push(host);
        }
    });
    // SAFETY: the GIL is held.
    unsafe {
        let list = ffi::PyList_New(found.len() as ffi::Py_ssize_t);
        for (i, host) in found.into_iter().enumerate() {
            if list.is_null() {
                ffi::Py_DECREF(host);
            } else {
                ffi::PyList_SET_ITEM(list, i as ffi::Py_ssize_t, host);
            }
        }
        list
    }
}

unsafe extern "C" fn entersyscall(_: Raw, _: Raw) -> Raw {
    embedder::entersyscall();
    // SAFETY: the GIL is held.
    unsafe { obj::none() }
}

unsafe extern "C" fn exitsyscall(_: Raw, _: Raw) -> Raw {
    embedder::exitsyscall();
    // SAFETY: the GIL is held.
    unsafe { obj::none() }
}

unsafe extern "C" fn lock_os_thread(_: Raw, _: Raw) -> Raw {
    embedder::lock_os_thread();
    // SAFETY: the GIL is held.
    unsafe { obj::none() }
}

unsafe extern "C" fn unlock_os_thread(_: Raw, _: Raw) -> Raw {
    embedder::unlock_os_thread();
    // SAFETY: the GIL is held.
    unsafe { obj::none() }
}

unsafe extern "C" fn stats(_: Raw, _: Raw) -> Raw {
    let s = embedder::stats();
    let [movable, walked, pinned] = movable::counts();
    let entries = [
        (c"procs", s.procs as u64),
        (c"idle_procs", s.idle_procs as u64),
        (c"goroutines", s.goroutines as u64),
        (c"threads", s.threads as u64),
        (c"max_threads", s.max_threads as u64),
        (c"idle_threads", s.idle_threads as u64),
        (c"locked_threads", s.locked_threads as u64),
        (c"handoffs", s.handoffs),
        (c"parks_movable", movable),
        (c"parks_movable_after_walk", walked),
        (c"parks_pinned", pinned),
        (c"direct_swap", u64::from(tstate::swap_is_direct())),
    ];
    // SAFETY: the GIL is held.
    unsafe {
        let dict = ffi::PyDict_New();
        for (name, value) in entries {
            let value = ffi::PyLong_FromUnsignedLongLong(value);
            let failed = dict.is_null()
                || value.is_null()
                || ffi::PyDict_SetItemString(dict, name.as_ptr(), value) < 0;
            ffi::Py_XDECREF(value);
            if failed {
                ffi::Py_XDECREF(dict);
                return ptr::null_mut();
            }
        }
        dict
    }
}

unsafe extern "C" fn set_max_threads(_: Raw, n: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        match raw::integer_of(n) {
            None => ptr::null_mut(),
            Some(n) if n < 1 => errors::raise(ffi::PyExc_ValueError, "the limit must be positive"),
            Some(n) => ffi::PyLong_FromSize_t(embedder::set_max_threads(n as usize)),
        }
    }
}

unsafe extern "C" fn set_debug_migrate(_: Raw, on: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        let on = ffi::PyObject_IsTrue(on);
        if on < 0 {
            return ptr::null_mut();
        }
        embedder::set_debug_migrate(on == 1);
        obj::none()
    }
}

/// `_call_soon(fn)`: calls `fn()` on the main thread when it next runs Python code, or now if it waits in golib.
unsafe extern "C" fn call_soon(_: Raw, function: Raw) -> Raw {
    extern "C" fn call(function: *mut std::os::raw::c_void) -> i32 {
        // SAFETY: a pending call with our reference, the GIL held.
        unsafe {
            let result = ffi::PyObject_CallNoArgs(function.cast());
            ffi::Py_DECREF(function.cast());
            ffi::Py_XDECREF(result);
            if result.is_null() {
                -1
            } else {
                0
            }
        }
    }
    // SAFETY: a METH_O function.
    unsafe {
        ffi::Py_INCREF(function);
        if ffi::Py_AddPendingCall(Some(call), function.cast()) < 0 {
            ffi::Py_DECREF(function);
            return obj::boolean(false);
        }
        bridge::main_thread::interrupt();
        obj::boolean(true)
    }
}

/// `_is_main_thread()`: what only the main thread may do can be done here.
unsafe extern "C" fn is_main_thread(_: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS function.
    unsafe { obj::boolean(main_thread::is_here()) }
}

const fn fastcall(name: &'static std::ffi::CStr, call: ffi::PyCFunctionFast) -> PyMethodDef {
    PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: call },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: ptr::null(),
    }
}

/// A function of the Python layer, which has the documentation.
/// `_golib._monotonic()`: the clock of the runtime's deadlines in seconds; that of the `time` module, unless somebody has
/// replaced its functions.
unsafe extern "C" fn monotonic(_: Raw, _: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyFloat_FromDouble(embedder::nanotime() as f64 / 1e9) }
}

/// `_golib._strangers()`: how many OS threads of the process golib does not know, sysmon among them; -1 where the system
/// does not tell.
unsafe extern "C" fn strangers(_: Raw, _: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyLong_FromLong(embedder::strangers().map_or(-1, |n| n as c_long)) }
}

/// `_golib._last_wait()`: for what the caller waited until a moment ago, as a dump had it between brackets.
unsafe extern "C" fn last_wait(_: Raw, _: Raw) -> Raw {
    // SAFETY: the GIL is held.
    unsafe { obj::unicode(&embedder::last_wait()) }
}

const fn private(name: &'static std::ffi::CStr, call: ffi::PyCFunction, flags: i32) -> PyMethodDef {
    raw::method(name, call, flags, c"For the Python part of golib.")
}

/// The module's functions.
pub(crate) static FUNCTIONS: Table<&[PyMethodDef]> = Table(&[
    raw::keywords(c"go", goroutine::go, GO_DOC),
    raw::keywords(c"spawn", goroutine::spawn, SPAWN_DOC),
    raw::fast(c"gosched", golib_entry_gosched, GOSCHED_DOC),
    raw::method(c"sleep", golib_entry_sleep, ffi::METH_O, SLEEP_DOC),
    raw::method(c"goexit", goexit, ffi::METH_NOARGS, GOEXIT_DOC),
    raw::method(c"num_goroutine", num_goroutine, ffi::METH_NOARGS, NUM_GOROUTINE_DOC),
    raw::keywords(c"gomaxprocs", gomaxprocs, GOMAXPROCS_DOC),
    raw::keywords(c"channel", ends::channel, CHANNEL_DOC),
    raw::method(c"recv", select::recv, ffi::METH_O, RECV_DOC),
    raw::keywords(c"send", select::send, SEND_DOC),
    raw::keywords(c"select", select::golib_entry_select, SELECT_DOC),
    private(c"_check_interpreter", check_interpreter, ffi::METH_NOARGS),
    private(c"_package", package, ffi::METH_O),
    private(c"goroutines", goroutines, ffi::METH_NOARGS),
    private(c"stats", stats, ffi::METH_NOARGS),
    private(c"set_max_threads", set_max_threads, ffi::METH_O),
    private(c"_lock_os_thread", lock_os_thread, ffi::METH_NOARGS),
    private(c"_unlock_os_thread", unlock_os_thread, ffi::METH_NOARGS),
    private(c"_entersyscall", entersyscall, ffi::METH_NOARGS),
    private(c"_exitsyscall", exitsyscall, ffi::METH_NOARGS),
    private(c"_in_goroutine", in_goroutine, ffi::METH_NOARGS),
    private(c"_current", current, ffi::METH_NOARGS),
    private(c"_mark_thread", mark_thread, ffi::METH_NOARGS),
    private(c"_is_async", is_async, ffi::METH_O),
    private(c"_copy_context", copy_context, ffi::METH_NOARGS),
    private(c"_use_context", use_context, ffi::METH_O),
    private(c"_call_soon", call_soon, ffi::METH_O),
    exit::FUNCTIONS[0].def(),
    exit::FUNCTIONS[1].def(),
    fork::FUNCTIONS[0].def(),
    fork::FUNCTIONS[1].def(),
    private(c"_set_debug_migrate", set_debug_migrate, ffi::METH_O),
    private(c"_is_main_thread", is_main_thread, ffi::METH_NOARGS),
    run::RUN_MAIN.def(),
    alarm::SERVE_ALARMS.def(),
    TIMEOUT_AND_SHIELD.0.def(),
    TIMEOUT_AND_SHIELD.1.def(),
    timer::TIMER_FUNC.def(),
    private(c"_is_cancelled", is_cancelled, ffi::METH_NOARGS),
    deadlock::FUNCTIONS[0].def(),
    deadlock::FUNCTIONS[1].def(),
    private(c"_monotonic", monotonic, ffi::METH_NOARGS),
    sync::ITEMS.def(),
    private(c"_strangers", strangers, ffi::METH_NOARGS),
    private(c"_last_wait", last_wait, ffi::METH_NOARGS),
    private(c"_print_error", run::print_error, ffi::METH_O),
    PyMethodDef::zeroed(),
]);

const TIMEOUT_AND_SHIELD: (Method<Module>, Method<Module>) =
    blocks::functions(TIMEOUT_DOC, SHIELD_DOC);

const GO_DOC: &std::ffi::CStr = c"go($module, fn, /, *args, **kwargs)
--

Starts fn(*args, **kwargs) as a goroutine: Go's go statement. Returns its handle.

It never yields: the new goroutine runs when the caller waits. From any thread, at any
time; the first call starts the runtime. An exception that ends the goroutine is raised
by the handle's join(), or reported when the handle is gone.

Blocks: nothing.
Raises: TypeError if fn is not callable or an async function; MemoryError or RuntimeError
    if no stack or no thread can be had.
Cost: O(1); a thread state and 4.5 KB of stack when it first runs, reused afterwards.

>>> golib.go(sum, [1, 2, 3]).join()
6";

const SPAWN_DOC: &std::ffi::CStr = c"spawn($module, fn, args=(), kwargs=None, *, name=None,
      stack_size=None)
--

go() with options: a name for the handle, and the size of the stack.

Units: stack_size in bytes, from 512 KiB (less is rounded up) to 1 GiB; 64 MiB by default.
    It is address space: memory is used page by page. An overflow ends the process; from
    1 MiB on the interpreter's own recursions raise RecursionError before.
Raises: as go(); ValueError for an impossible stack_size.

>>> golib.spawn(pow, (2, 10), name='power').name
'power'";

const GOSCHED_DOC: &std::ffi::CStr = c"gosched($module, /)
--

Lets the other goroutines that can run go first: Go's runtime.Gosched().

On a thread without a goroutine it gives up the interpreter for a moment.

>>> golib.gosched()";

const SLEEP_DOC: &std::ffi::CStr = c"sleep($module, seconds, /)
--

Sleeps. sleep(0) is gosched(); a negative time returns at once.

Blocks: the goroutine, or the OS thread.
Units: seconds.
Raises: ValueError for nan.
Cost: one entry in a timer heap.

>>> golib.sleep(0.001)";

const GOEXIT_DOC: &std::ffi::CStr = c"goexit($module, /)
--

Ends this goroutine; finally blocks run. Its join() returns None.

Unlike Go's it is an exception, Goexit, so `except BaseException` can stop it.

>>> golib.go(golib.goexit).join()";

const TIMEOUT_DOC: &std::ffi::CStr = c"timeout($module, seconds, *, raises=True)
--

A `with` block that may take so long: golib operations in it that would still wait then are left,
and the block ends with TimeoutError. Go passes a context with a deadline instead.

The time begins with the block. It applies to everything that is called in it, also to functions
that know nothing of it, but not to goroutines that are started there. Only waiting is ended, not
computing: a block that ends late without having waited raises nothing. With raises=False the block
is left silently.

`with ... as ctx` gives the block's context.

Units: seconds; 0 or less lets nothing wait; None is no limit.
Raises: TimeoutError at the end of the block; ValueError for nan; in the block Cancelled, which only
    clean-up code should catch.
Cost: about half a microsecond; one entry in a timer heap.

>>> try:
...     with golib.timeout(0.001):
...         golib.Chan().recv()
... except TimeoutError as error:
...     print(error)
block timed out after 0.001 s";

const SHIELD_DOC: &std::ffi::CStr = c"shield($module, /)
--

A `with` block that is not cancelled: clean-up code may wait in it as usual.

What is cancelled outside is raised by the next wait after the block. A timeout in it counts.

>>> with golib.timeout(0, raises=False):
...     try:
...         golib.Chan().recv()
...     finally:
...         with golib.shield():
...             golib.sleep(0.001)
...             print('cleaned up')
cleaned up";

const NUM_GOROUTINE_DOC: &std::ffi::CStr = c"num_goroutine($module, /)
--

How many goroutines live. The main thread is none, but the main function of run() is.

>>> golib.run(golib.num_goroutine)
1";

const GOMAXPROCS_DOC: &std::ffi::CStr = c"gomaxprocs($module, n=None)
--

Sets how many Ps there are, 10,000 at most, and returns the former number; n < 1 or None only reads.

Python goroutines need the interpreter, so on a GIL build one of them runs at a time
whatever n is; blocking calls run beside it. The default is the environment's GOMAXPROCS,
else the number of processors that the process may use.

>>> golib.gomaxprocs() >= 1
True";

const CHANNEL_DOC: &std::ffi::CStr = c"channel($module, capacity=0)
--

A channel as its two ends, (Sender, Receiver); it closes with its last Sender.

Shape: capacity values are buffered.
Raises: as Chan.

>>> tx, rx = golib.channel(1)
>>> tx.send('x'); tx.close()
>>> list(rx)
['x']";

const RECV_DOC: &std::ffi::CStr = c"recv($module, ch, /)
--

A case of select() that receives from ch. recv(None) is never ready, as a receive from
Go's nil channel is.

>>> ch = golib.Chan(1)
>>> ch.send('x')
>>> golib.select(golib.recv(ch)).value
'x'";

const SEND_DOC: &std::ffi::CStr = c"send($module, ch, value)
--

A case of select() that sends value to ch. send(None, value) is never ready.

>>> ch = golib.Chan(1)
>>> golib.select(golib.send(ch, 'x')).index
0";

const SELECT_DOC: &std::ffi::CStr =
    c"select($module, *cases, default=False, timeout=None, biased=False)
--

Waits until one of the cases can proceed and does it: Go's select statement.

A case is recv(ch), send(ch, value), a channel to receive from, or None, which is never
ready (as are recv(None), send(None, v) and every case of golib.nil). Among several that are ready one is chosen at
random, or the first if biased. With default=True it does not wait: index is -1 if nothing
was ready. A case that loses leaves no trace; select() of nothing waits for ever.

Returns: Selected(index, value, ok); ok is False for a receive from a closed channel.
Blocks: the goroutine, or the OS thread.
Units: timeout in seconds; 0 or less tries once, None waits for ever.
Raises: TimeoutError after timeout; SendOnClosed if a send case on a closed channel won.
Cost: O(n) for n cases.
Go: select

>>> a, b = golib.Chan(1), golib.Chan(1)
>>> b.send('x')
>>> golib.select(a, b)
Selected(index=1, value='x', ok=True)
>>> golib.select(a, default=True)
Selected(index=-1, value=None, ok=False)";
