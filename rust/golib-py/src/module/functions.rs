//! The functions that programs call: those of the scheduler.

use pyo3::ffi;

use go_lib::runtime::embedder::{self, Wait, WaitError, WaitReason};

use crate::core::context::ambient;
use crate::core::{goroutine, waits};
use crate::cpython::tstate;
use crate::ffi::args::wait_for;
use crate::ffi::args::{integer_of, seconds_of, Args, Timeout};
use crate::ffi::class::Object;
use crate::ffi::errors;
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::methods::{entry, Method, Methods, Module};
use crate::ffi::python::{none, size, type_error};
use crate::ffi::refs::{New, Outcome, Raised};
use crate::types::chan::ends;
use crate::types::context::blocks;
use crate::types::select;

// METH_FASTCALL, though it takes none: the eval loop calls such a function directly, one of METH_NOARGS it does not.
entry! { GOSCHED: golib_entry_gosched => gosched fast(entry, _module: Module, args) {
    if args.len() != 0 {
        return Err(takes_none(entry.gil(), args.len()));
    }
    give_way(entry)
} }

#[cold]
fn takes_none(gil: Gil<'_>, n: usize) -> Raised {
    errors::fail(gil, type_error(), &format!("gosched() takes no arguments ({n} given)"))
}

entry! { SLEEP: golib_entry_sleep => sleep one(entry, _module: Module, seconds) {
    let seconds = seconds_of(entry.gil(), seconds)?;
    if seconds == 0.0 {
        return give_way(entry);
    }
    let wait = wait_for(seconds);
    loop {
        let result = match wait {
            Wait::Try => return Ok(none(entry.gil())),
            Wait::Block => entry.wait(|| Err(embedder::park_forever(WaitReason::Sleep))),
            Wait::Until(deadline_ns) => entry.wait(|| embedder::sleep_until(deadline_ns)),
        };
        match result? {
            Ok(()) | Err(WaitError::Timeout) => return Ok(none(entry.gil())),
            Err(error) => waits::failed(entry.gil(), error, "sleep", Timeout::NONE)?,
        }
    }
} }

#[inline(always)]
fn give_way(entry: &mut Entry) -> Outcome<New> {
    if embedder::current_host().is_null() {
        return give_way_as_thread(entry.gil());
    }
    if !entry.wait(embedder::gosched)? {
        waits::interrupted(entry.gil())?;
    }
    Ok(none(entry.gil()))
}

/// Goroutines need the interpreter, which this thread has.
fn give_way_as_thread(gil: Gil<'_>) -> Outcome<New> {
    if ambient::cancelled(gil).is_some() {
        waits::interrupted(gil)?;
    }
    // SAFETY: on a plain thread its own state is attached.
    unsafe {
        let state = tstate::thread_save();
        std::thread::yield_now();
        tstate::thread_restore(state);
    }
    Ok(none(gil))
}

fn goexit(_gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    // SAFETY: the token; a class, found at import.
    unsafe {
        ffi::PyErr_SetNone(errors::GOEXIT.get());
        Err(Raised::assume())
    }
}

fn num_goroutine(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    size(gil, embedder::num_goroutine())
}

fn gomaxprocs(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [count] = args.parse(gil, "gomaxprocs", &[c"n"], 0)?;
    let wished = match count.filter(|count| !count.is_none()) {
        Some(count) => integer_of(gil, count)?,
        None => 0,
    };
    goroutine::ensure_started(gil)?;
    let before = if wished < 1 {
        embedder::start();
        embedder::gomaxprocs()
    } else {
        guard(gil, || embedder::set_gomaxprocs(usize::try_from(wished).unwrap_or(1)))?
    };
    size(gil, before)
}

/// The module's functions.
pub(crate) static FUNCTIONS: Methods<Module, 14> = Methods([
    GO_AND_SPAWN.0,
    GO_AND_SPAWN.1,
    Method::parks(c"gosched", GOSCHED, GOSCHED_DOC),
    Method::parks(c"sleep", SLEEP, SLEEP_DOC),
    Method::noargs(c"goexit", goexit, GOEXIT_DOC),
    Method::noargs(c"num_goroutine", num_goroutine, NUM_GOROUTINE_DOC),
    Method::keywords(c"gomaxprocs", gomaxprocs, GOMAXPROCS_DOC),
    ends::channel_function(CHANNEL_DOC),
    select::recv_function(RECV_DOC),
    select::send_function(SEND_DOC),
    Method::parks(c"select", select::SELECT, SELECT_DOC),
    TIMEOUT_AND_SHIELD.0,
    TIMEOUT_AND_SHIELD.1,
    Method::END,
]);

const GO_AND_SPAWN: (Method<Module>, Method<Module>) = goroutine::functions(GO_DOC, SPAWN_DOC);
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
