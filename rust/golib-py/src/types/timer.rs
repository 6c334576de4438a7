//! The core of `golib.time`: timers that send to a channel or start a goroutine, once or again and again.
//!
//! # Invariants
//! 1. A timer dies with its last reference, set or not; the view that `c` gives refers to it. Only one that is to start a
//!    goroutine is held by its alarm while it is set.
//! 2. What an alarm of an earlier setting does is nothing (`HostAlarm`'s `seq`), and `stop` and `reset` empty the channel:
//!    after them nobody receives a time from before.
//! 3. `chan` has room for one value, and only the servant sends to it.
//! 4. A ticker whose last tick was not received is not set: it costs nothing until somebody receives that tick, which rings
//!    `bell`. The bell is in no channel when the ticker gives `chan` up, or dies.
//!
//! Go: time/sleep.go (Timer), time/tick.go (Ticker)

use std::mem::offset_of;
use std::os::raw::{c_int, c_void};
use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::{nanotime, Doorbell, Wait};
use pyo3::ffi::{self, PyMethodDef, PyObject, PyTypeObject, Py_ssize_t};

use crate::bridge::alarm::HostAlarm;
use crate::core::goroutine::{check_function, start_goroutine, Spec};
use crate::cpython::{object, tstate};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Global, Obj, Raw};
use crate::ffi::raw::{
    self, arguments, deadline_after, free_instance, guard, instance, seconds_of, Table, NS,
};
use crate::ffi::refs::Ref;
use crate::types::chan::{self, hchan};

/// An instance of `golib.time.Timer` or of the core of `Ticker`.
#[repr(C)]
struct TimerObj {
    ob_base: PyObject,
    weaklist: Raw,
    /// Where it sends to; null if it starts a goroutine. By 3.
    chan: Raw,
    /// What it starts, with a tuple of arguments and the contextvars of the maker (or null).
    function: Raw,
    args: Raw,
    vars: Raw,
    /// A share; null only in an instance that could not be made.
    alarm: *const HostAlarm,
    /// When it is due next.
    when_ns: i64,
    /// Of a ticker; 0 for a timer.
    period_ns: i64,
    /// By 1: the alarm owns a reference.
    held: bool,
    /// By 4; null until it first rests. Owned.
    bell: *mut Doorbell,
}

static TIMER: Global = Global::new();

unsafe fn timer<'a>(slf: Raw) -> &'a mut TimerObj {
    // SAFETY: a method of that type; the GIL is held, and nobody keeps the reference while Python code may run.
    unsafe { &mut *instance::<TimerObj>(slf) }
}

/// An instance of `class` that is not set; null with an exception set.
unsafe fn make(class: *mut PyTypeObject, sends: bool) -> Raw {
    // SAFETY: the GIL is held; a fresh instance is zeroed.
    unsafe {
        let slf = ffi::PyType_GenericAlloc(class, 0);
        if slf.is_null() {
            return slf;
        }
        timer(slf).alarm = Arc::into_raw(HostAlarm::new(Ref::borrowed(slf), due, None));
        if sends {
            let channel = chan::make(chan::CHAN.get().cast(), 1);
            if channel.is_null() {
                ffi::Py_DECREF(slf);
                return channel;
            }
            timer(slf).chan = channel;
        }
        slf
    }
}

/// Runs `call` with the timer's alarm.
#[inline(never)]
unsafe fn with_alarm<R>(slf: Raw, call: impl FnOnce(&Arc<HostAlarm>) -> R) -> R {
    // SAFETY: the share that make left stays the instance's.
    unsafe {
        let alarm = std::mem::ManuallyDrop::new(Arc::from_raw(timer(slf).alarm));
        call(&alarm)
    }
}

/// Sets the timer to `when_ns` (None: never); false: an exception is set.
unsafe fn set(slf: Raw, when_ns: Option<i64>) -> bool {
    // SAFETY: a timer that is not set; the GIL is held.
    unsafe {
        let Some(when_ns) = when_ns else { return true };
        timer(slf).when_ns = when_ns;
        if with_alarm(slf, |alarm| alarm.set(Gil::assume(), when_ns)).is_err() {
            return false;
        }
        if timer(slf).chan.is_null() && !timer(slf).held {
            timer(slf).held = true;
            ffi::Py_INCREF(slf);
        }
        true
    }
}

/// Stops the timer; true if that kept something from happening, or from being received. The caller holds it.
unsafe fn unset(slf: Raw) -> bool {
    // SAFETY: a timer; the GIL is held.
    unsafe {
        let was_set = with_alarm(slf, |alarm| alarm.stop(Gil::assume()));
        let_go(slf);
        // Before the tick is taken, which would ring.
        take_bell_back(slf);
        // By 2.
        let drained =
            hchan_of(slf).is_some_and(|h| matches!(guard(|| h.recv(Wait::Try)), Some(Ok(Some(_)))));
        was_set || drained
    }
}

unsafe fn hchan_of<'a>(slf: Raw) -> Option<&'a go_lib::runtime::embedder::Hchan<Obj>> {
    // SAFETY: the timer owns its channel.
    unsafe {
        match timer(slf).chan {
            channel if channel.is_null() => None,
            channel => hchan(channel).as_ref(),
        }
    }
}

/// Gives up what the alarm owns, by 1. The caller holds the timer.
unsafe fn let_go(slf: Raw) {
    // SAFETY: a timer.
    unsafe {
        if timer(slf).held {
            timer(slf).held = false;
            ffi::Py_DECREF(slf);
        }
    }
}

/// An alarm's act.
fn due(_gil: Gil<'_>, slf: Ref<'_>) {
    let slf = slf.as_raw();
    // SAFETY: called by the servant, which holds the timer.
    unsafe {
        let_go(slf);
        let now = nanotime();
        if !timer(slf).chan.is_null() {
            let sent = send_now(slf, now);
            if sent && timer(slf).period_ns > 0 && !set_next(slf, now) {
                ffi::PyErr_WriteUnraisable(slf);
            }
            return;
        }
        let t = timer(slf);
        let (function, args, vars) = (t.function, t.args, t.vars);
        if function.is_null() {
            return; // the collector was faster
        }
        ffi::Py_INCREF(args);
        ffi::Py_XINCREF(vars);
        let g = start_goroutine(Spec { vars: Some(vars), ..Spec::new(function, args) });
        if g.is_null() {
            ffi::PyErr_WriteUnraisable(slf);
        }
        ffi::Py_XDECREF(g);
    }
}

/// Sets a ticker to the first of its times after `now`: ticks that nobody could receive in time are left out, the others
/// keep the beat. False: an exception is set.
unsafe fn set_next(slf: Raw, now: i64) -> bool {
    // SAFETY: a ticker that is not set; the GIL is held.
    unsafe {
        let (when, period) = (timer(slf).when_ns, timer(slf).period_ns);
        let late = (now - when).max(0);
        set(slf, Some(when.saturating_add((late / period + 1).saturating_mul(period))))
    }
}

/// Sends the time, unless the last one has not been received. False: a ticker rests, by 4.
#[inline(never)]
unsafe fn send_now(slf: Raw, now_ns: i64) -> bool {
    // SAFETY: as due. A float that was not sent is only a float. The bell is taken back before it is freed.
    unsafe {
        let Some(h) = hchan_of(slf) else { return true };
        let value = ffi::PyFloat_FromDouble(now_ns as f64 / NS);
        if value.is_null() {
            ffi::PyErr_WriteUnraisable(slf);
            return true;
        }
        let value = Obj::owned(value);
        if timer(slf).period_ns == 0 {
            let _ = guard(|| h.send(value, Wait::Try));
            return true;
        }
        if timer(slf).bell.is_null() {
            timer(slf).bell = Box::into_raw(Box::new(Doorbell::new(received, slf.cast())));
        }
        let bell = &*timer(slf).bell;
        !matches!(guard(|| h.send_or_leave(value, bell).is_ok()), Some(false))
    }
}

/// A bell's `ring`: somebody has received the tick that was too much.
unsafe fn received(slf: *mut ()) {
    // SAFETY: by 4 the ticker lives; the receiver holds the GIL.
    unsafe {
        let slf: Raw = slf.cast();
        let parents = with_alarm(slf, |alarm| alarm.is_of_parent());
        if !parents && !set_next(slf, nanotime()) {
            // The servant exists: it has sent that tick.
            ffi::PyErr_Clear();
        }
    }
}

/// By 4.
unsafe fn take_bell_back(slf: Raw) {
    // SAFETY: a timer; the GIL is held.
    unsafe {
        if let Some(h) = hchan_of(slf).filter(|_| !timer(slf).bell.is_null()) {
            let _ = guard(|| h.take_bell_back());
        }
    }
}

/// `Timer(seconds)`.
unsafe extern "C" fn new_timer(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new.
    unsafe {
        let Some(seconds) = one_number(args, kwargs, c"O:Timer") else { return ptr::null_mut() };
        let slf = make(class, true);
        if !slf.is_null() && !set(slf, deadline_after(seconds)) {
            ffi::Py_DECREF(slf);
            return ptr::null_mut();
        }
        slf
    }
}

/// `Ticker(seconds)`.
unsafe extern "C" fn new_ticker(class: *mut PyTypeObject, args: Raw, kwargs: Raw) -> Raw {
    // SAFETY: a tp_new.
    unsafe {
        let Some(seconds) = one_number(args, kwargs, c"O:Ticker") else { return ptr::null_mut() };
        let slf = make(class, true);
        if !slf.is_null() && !begin_ticking(slf, seconds) {
            ffi::Py_DECREF(slf);
            return ptr::null_mut();
        }
        slf
    }
}

/// Sets a ticker; false: an exception is set.
unsafe fn begin_ticking(slf: Raw, seconds: f64) -> bool {
    // SAFETY: a ticker that is not set.
    unsafe {
        if seconds <= 0.0 {
            errors::set(ffi::PyExc_ValueError, "non-positive interval for a ticker");
            return false;
        }
        let now = nanotime();
        let first = deadline_after(seconds);
        timer(slf).period_ns = first.map_or(i64::MAX, |first| (first - now).max(1));
        set(slf, first)
    }
}

/// The one argument of a constructor; None: an exception is set.
unsafe fn one_number(args: Raw, kwargs: Raw, format: &std::ffi::CStr) -> Option<f64> {
    // SAFETY: a tp_new: a tuple, and a dict or null.
    unsafe {
        let mut number: Raw = ptr::null_mut();
        let names = [c"seconds".as_ptr(), ptr::null()];
        let parsed = ffi::PyArg_ParseTupleAndKeywords(
            args,
            kwargs,
            format.as_ptr(),
            names.as_ptr().cast_mut().cast(),
            &raw mut number,
        );
        if parsed == 0 {
            return None;
        }
        seconds_of(number)
    }
}

/// `_golib._timer_func(seconds, fn, args)`: the timer of `golib.time.after_func`.
pub(crate) unsafe extern "C" fn timer_func(_: Raw, args: *mut Raw, n: Py_ssize_t) -> Raw {
    // SAFETY: a METH_FASTCALL function.
    unsafe {
        if n != 3 {
            return errors::raise(ffi::PyExc_TypeError, "_timer_func() takes 3 arguments");
        }
        let [number, function, positional] = [*args, *args.add(1), *args.add(2)];
        let Some(seconds) = seconds_of(number) else { return ptr::null_mut() };
        if !check_function(function) {
            return ptr::null_mut();
        }
        let slf = make(TIMER.get().cast(), false);
        if slf.is_null() {
            return slf;
        }
        ffi::Py_INCREF(function);
        timer(slf).function = function;
        ffi::Py_INCREF(positional);
        timer(slf).args = positional;
        match tstate::vars_for_spawn() {
            Ok(vars) if set(slf, deadline_after(seconds)) => {
                timer(slf).vars = vars;
                slf
            }
            Ok(vars) => {
                ffi::Py_XDECREF(vars);
                ffi::Py_DECREF(slf);
                ptr::null_mut()
            }
            Err(()) => {
                ffi::Py_DECREF(slf);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn stop(slf: Raw, _: Raw) -> Raw {
    // SAFETY: a METH_NOARGS method; the caller holds the timer.
    unsafe { obj::boolean(unset(slf)) }
}

unsafe extern "C" fn reset(slf: Raw, args: *const Raw, n: Py_ssize_t, kwnames: Raw) -> Raw {
    // SAFETY: a METH_FASTCALL | METH_KEYWORDS method; the caller holds the timer.
    unsafe {
        let Some([number]) = arguments("reset", &[c"seconds"], 1, args, n, kwnames) else {
            return ptr::null_mut();
        };
        let Some(seconds) = seconds_of(number) else { return ptr::null_mut() };
        let ticks = timer(slf).period_ns != 0;
        if ticks && seconds <= 0.0 {
            return errors::raise(ffi::PyExc_ValueError, "non-positive interval for a ticker");
        }
        let was_set = unset(slf);
        let is_set =
            if ticks { begin_ticking(slf, seconds) } else { set(slf, deadline_after(seconds)) };
        if is_set {
            obj::boolean(was_set)
        } else {
            ptr::null_mut()
        }
    }
}

unsafe extern "C" fn get_c(slf: Raw, _: *mut c_void) -> Raw {
    // SAFETY: a property.
    unsafe {
        match timer(slf).chan {
            channel if channel.is_null() => obj::none(),
            channel => crate::types::chan::ends::receiver_of(channel, slf),
        }
    }
}

unsafe extern "C" fn traverse(slf: Raw, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: a tp_traverse.
    unsafe {
        let t = instance::<TimerObj>(slf);
        obj::visit_all(slf, [(*t).chan, (*t).function, (*t).args, (*t).vars], visit, arg)
    }
}

unsafe extern "C-unwind" fn clear(slf: Raw) -> c_int {
    // SAFETY: a tp_clear, or the end.
    unsafe {
        take_bell_back(slf);
        let t = instance::<TimerObj>(slf);
        for slot in
            [&raw mut (*t).function, &raw mut (*t).args, &raw mut (*t).vars, &raw mut (*t).chan]
        {
            obj::clear(slot);
        }
    }
    0
}

unsafe extern "C-unwind" fn dealloc(slf: Raw) {
    // SAFETY: the last reference is gone. The alarm forgets it at once: the end itself may be put off.
    unsafe {
        ffi::PyObject_GC_UnTrack(slf.cast());
        take_bell_back(slf);
        forget_alarm(slf);
        object::trashcan(slf, dealloc, free);
    }
}

#[inline(never)]
unsafe fn forget_alarm(slf: Raw) {
    // SAFETY: the share that make left.
    unsafe {
        let alarm = ptr::replace(&raw mut timer(slf).alarm, ptr::null());
        if !alarm.is_null() {
            Arc::from_raw(alarm).forget(Gil::assume());
        }
    }
}

unsafe extern "C-unwind" fn free(slf: Raw) {
    // SAFETY: called by dealloc.
    unsafe {
        if !timer(slf).weaklist.is_null() {
            ffi::PyObject_ClearWeakRefs(slf);
        }
        clear(slf);
        let bell = timer(slf).bell;
        if !bell.is_null() {
            drop(Box::from_raw(bell));
        }
        free_instance(slf);
    }
}

static METHODS: Table<[PyMethodDef; 3]> = Table([
    raw::method(
        c"stop",
        stop,
        ffi::METH_NOARGS,
        c"stop($self, /)
--

Stops it; True if it has kept the timer from firing, or its time from being received.

Nothing is received from it afterwards. The channel is not closed.

Blocks: nothing.

>>> golib.time.Timer(10).stop()
True",
    ),
    raw::keywords(
        c"reset",
        reset,
        c"reset($self, seconds)
--

Sets it anew, whether it has fired or not; what stop() would have returned.

A time from before is not received any more.

Blocks: nothing.
Units: seconds, from now; for a ticker also the new interval.

>>> timer = golib.time.Timer(10)
>>> timer.reset(0.001)
True
>>> timer.c.recv() > 0
True",
    ),
    PyMethodDef::zeroed(),
]);

static PROPERTIES: Table<[ffi::PyGetSetDef; 2]> = Table([
    raw::property(
        c"c",
        get_c,
        c"The channel from which its time is received; None for a timer of after_func().",
    ),
    raw::END_OF_PROPERTIES,
]);

static MEMBERS: Table<[ffi::PyMemberDef; 2]> = Table(raw::weaklist(offset_of!(TimerObj, weaklist)));

/// Makes the types; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Option<[(&'static std::ffi::CStr, Raw); 2]> {
    let make = |name, doc: &'static std::ffi::CStr, new: ffi::newfunc| {
        let mut slots = vec![
            raw::slot(ffi::Py_tp_doc, doc.as_ptr().cast()),
            raw::slot(ffi::Py_tp_new, new as *const c_void),
            raw::slot(ffi::Py_tp_dealloc, dealloc as *const c_void),
            raw::slot(ffi::Py_tp_traverse, traverse as *const c_void),
            raw::slot(ffi::Py_tp_clear, clear as *const c_void),
            raw::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast()),
            raw::slot(ffi::Py_tp_getset, PROPERTIES.0.as_ptr().cast()),
            raw::slot(ffi::Py_tp_members, MEMBERS.0.as_ptr().cast()),
        ];
        let flags = ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_BASETYPE;
        // SAFETY: the slots are those of TimerObj.
        unsafe { raw::make_type::<TimerObj>(name, flags, &mut slots) }
    };
    TIMER.set(make(c"golib.time.Timer", TIMER_DOC, new_timer));
    let ticker = make(c"golib._golib.Ticker", c"The core of golib.time.Ticker.", new_ticker);
    (!TIMER.get().is_null() && !ticker.is_null())
        .then(|| [(c"Timer", TIMER.get()), (c"Ticker", ticker)])
}

const TIMER_DOC: &std::ffi::CStr = c"Timer(seconds)
--

Sends the time to its channel `c` once, after so many seconds: Go's time.Timer.

What is sent is time.monotonic(). A timer that nobody refers to any more, nor to its channel,
is collected, set or not.

Units: seconds; 0 or less is now, inf never.
Raises: ValueError for nan.
Cost: a channel, and one entry in a timer heap while it is set; no goroutine.

>>> timer = golib.time.Timer(0.001)
>>> timer.c.recv() > 0
True
>>> timer.stop()
False";
