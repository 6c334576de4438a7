//! The core of `golib.time`: timers that send to a channel or start a goroutine, once or repeatedly.
//!
//! # Invariants
//! 1. A timer dies with its last reference, whether it is set or not; the view that `c` returns refers to it. Only a timer that
//!    starts a goroutine is held by its alarm while it is set.
//! 2. The alarm of an earlier setting has no effect (`HostAlarm`'s `seq`), and `stop` and `reset` empty the channel. So an
//!    earlier time is never received after them.
//! 3. `chan` has room for one value, and only the servant sends to it.
//! 4. A ticker whose last tick has not been received is not set: it costs nothing until that tick is received, which rings
//!    `bell`. The bell is in no channel when the ticker gives `chan` up or dies.
//!
//! Go: time/sleep.go (Timer), time/tick.go (Ticker)

use std::ffi::CStr;
use std::mem::offset_of;
use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::{nanotime, Doorbell, Hchan, Wait};

use crate::bridge::alarm::HostAlarm;
use crate::core::goroutine::{check_function, start_goroutine, vars_for_spawn, Spec, Vars};
use crate::ffi::args::{deadline_after, NS};
use crate::ffi::args::{seconds_of, Args, NewArgs};
use crate::ffi::class::{this, Class, Fresh, Object, TypeCell, TypeOf, Visitor, Weaklist};
use crate::ffi::errors;
use crate::ffi::gil::{guard, Gil};
use crate::ffi::methods::{Method, Methods, Module, Properties, Property};
use crate::ffi::obj::{Obj, Raw};
use crate::ffi::python::{
    boolean, clear_error, float, none, type_error, value_error, write_unraisable,
};
use crate::ffi::refs::{release, Field, New, Outcome, Raised, Ref, Slot};
use crate::ffi::spec::TypeSpec;
use crate::types::chan::{self, ends, CHAN};

/// The fields of `golib.time.Timer` and of the core of `Ticker`.
struct Timer {
    weaklist: Weaklist,
    /// The channel to which it sends, by 3; empty if it starts a goroutine.
    chan: Slot,
    /// The function that it starts as a goroutine, with a tuple of arguments and the context variables of its maker (or none).
    function: Slot,
    args: Slot,
    vars: Slot,
    /// A share of the alarm; null only in an instance that is dying.
    alarm: Field<*const HostAlarm>,
    /// The time at which it is due next.
    when_ns: Field<i64>,
    /// A ticker's period; 0 for a timer.
    period_ns: Field<i64>,
    /// Whether the alarm owns a reference, by 1.
    held: Field<bool>,
    /// Used by 4, and owned; null until the ticker first rests.
    bell: Field<*mut Doorbell>,
}

static TIMER: TypeCell<Timer> = TypeCell::new();
static TICKER: TypeCell<Timer> = TypeCell::new();

/// Makes an instance of `class` that is not set.
fn make(gil: Gil<'_>, class: TypeOf<'_, Timer>, channel: Option<New>) -> Outcome<Fresh<Timer>> {
    let fields = Timer {
        weaklist: Weaklist::new(),
        chan: Slot::with(channel),
        function: Slot::empty(),
        args: Slot::empty(),
        vars: Slot::empty(),
        alarm: Field::new(ptr::null()),
        when_ns: Field::new(0),
        period_ns: Field::new(0),
        held: Field::new(false),
        bell: Field::new(ptr::null_mut()),
    };
    let timer = class.make(gil, fields)?;
    let alarm = HostAlarm::new(timer.object(), due);
    timer.alarm.set(gil.exclusive(), Arc::into_raw(alarm));
    Ok(timer)
}

/// Like [`make`], with a channel to send to.
fn make_sender(gil: Gil<'_>, class: TypeOf<'_, Timer>) -> Outcome<Fresh<Timer>> {
    let channel = chan::make(gil, CHAN.get(gil)?, 1)?.into_new();
    make(gil, class, Some(channel))
}

/// Returns the instance to the caller, or drops it if it could not be completed.
fn completed(gil: Gil<'_>, timer: Fresh<Timer>, set: Outcome<()>) -> Outcome<New> {
    match set {
        Ok(()) => Ok(timer.into_new()),
        Err(raised) => {
            timer.release(gil);
            Err(raised)
        }
    }
}

impl Timer {
    /// Runs `call` with the alarm.
    #[inline(never)]
    fn with_alarm<R>(&self, gil: Gil<'_>, call: impl FnOnce(&Arc<HostAlarm>) -> R) -> R {
        // SAFETY: `make` left this share to the instance, which keeps it.
        let alarm = unsafe { Arc::from_raw(self.alarm.get(gil.exclusive())) };
        call(&std::mem::ManuallyDrop::new(alarm))
    }

    /// The channel to which it sends.
    fn hchan<'a>(&'a self, gil: Gil<'a>) -> Option<&'a Hchan<Obj>> {
        // SAFETY: the timer owns its channel until its end.
        let channel = unsafe { self.chan.peek(gil.exclusive()) };
        CHAN.cast(gil, channel?).and_then(|chan| chan.face.hchan(gil))
    }

    /// Takes the bell out of the channel, by 4.
    fn take_bell_back(&self, gil: Gil<'_>) {
        if !self.bell.get(gil.exclusive()).is_null() {
            if let Some(h) = self.hchan(gil) {
                let _ = guard(gil, || h.take_bell_back());
            }
        }
    }

    #[inline(never)]
    fn forget_alarm(&self, gil: Gil<'_>) {
        let alarm = self.alarm.replace(gil.exclusive(), ptr::null());
        if !alarm.is_null() {
            // SAFETY: the share that `make` left to the instance.
            unsafe { Arc::from_raw(alarm) }.forget(gil);
        }
    }
}

impl Class for Timer {
    const COLLECTED: bool = true;
    const WEAKLIST: Option<usize> = Some(offset_of!(Timer, weaklist));

    fn visit(&self, visitor: &mut Visitor) {
        visitor.slots([&self.chan, &self.function, &self.args, &self.vars]);
    }

    fn clear(&self, gil: Gil<'_>) {
        self.take_bell_back(gil);
        for slot in [&self.function, &self.args, &self.vars, &self.chan] {
            slot.clear(gil);
        }
    }

    fn leave(slf: &Object<Self>, gil: Gil<'_>) {
        slf.take_bell_back(gil);
        slf.forget_alarm(gil);
    }

    fn end(slf: &Object<Self>, gil: Gil<'_>) {
        slf.clear(gil);
        let bell = slf.bell.replace(gil.exclusive(), ptr::null_mut());
        if !bell.is_null() {
            // SAFETY: made by Box in `bell`, and no longer in a channel.
            unsafe { drop(Box::from_raw(bell)) };
        }
    }
}

/// Sets the timer, which is not set yet, to `when_ns` (None: never).
fn set(gil: Gil<'_>, timer: &Object<Timer>, when_ns: Option<i64>) -> Outcome<()> {
    let Some(when_ns) = when_ns else { return Ok(()) };
    let x = gil.exclusive();
    timer.when_ns.set(x, when_ns);
    timer.with_alarm(gil, |alarm| alarm.set(gil, when_ns))?;
    if timer.chan.is_empty(x) && !timer.held.replace(x, true) {
        let _ = timer.object().own(gil).give();
    }
    Ok(())
}

/// Stops the timer. True if this prevented its function from being called or its time from being received. The caller holds the
/// timer.
fn unset(gil: Gil<'_>, timer: &Object<Timer>) -> bool {
    let was_set = timer.with_alarm(gil, |alarm| alarm.stop(gil));
    let_go(gil, timer);
    // Before the tick is taken, which would ring the bell.
    timer.take_bell_back(gil);
    // By 2.
    let drained = timer
        .hchan(gil)
        .is_some_and(|h| matches!(guard(gil, || h.recv(Wait::Try)), Ok(Ok(Some(_)))));
    was_set || drained
}

/// Drops the alarm's reference, by 1. The caller holds the timer.
fn let_go(gil: Gil<'_>, timer: &Object<Timer>) {
    if timer.held.replace(gil.exclusive(), false) {
        // SAFETY: by 1 the alarm owns a reference.
        unsafe { New::owned(timer.object().as_raw()) }.release(gil);
    }
}

/// What an alarm calls when it is due. The servant holds the timer.
fn due(gil: Gil<'_>, timer: Ref<'_>) {
    // SAFETY: the alarm belongs to a timer.
    let timer = unsafe { this::<Timer>(timer.as_raw()) };
    let_go(gil, timer);
    let (x, now) = (gil.exclusive(), nanotime());
    let done = if timer.chan.is_empty(x) {
        start_function(gil, timer)
    } else if send_now(gil, timer, now) && timer.period_ns.get(x) > 0 {
        set_next(gil, timer, now)
    } else {
        Ok(())
    };
    if done.is_err() {
        write_unraisable(gil, timer.object());
    }
}

/// Starts the goroutine of the function.
fn start_function(gil: Gil<'_>, timer: &Object<Timer>) -> Outcome<()> {
    let Some(function) = timer.function.get(gil) else {
        return Ok(()); // the collector has cleared it
    };
    let handle = match timer.args.get(gil) {
        Some(args) => {
            let vars = Vars::Given(timer.vars.get(gil));
            start_goroutine(gil, Spec { vars, ..Spec::new(function.get(), args) }).map(Some)
        }
        None => Ok(None), // as above
    };
    function.release(gil);
    handle.map(|handle| release(gil, handle))
}

/// Sets a ticker, which is not set, to the first of its times after `now`. It leaves out ticks that nothing could receive in
/// time; the others keep the beat.
fn set_next(gil: Gil<'_>, timer: &Object<Timer>, now: i64) -> Outcome<()> {
    let x = gil.exclusive();
    let (when, period) = (timer.when_ns.get(x), timer.period_ns.get(x));
    let late = (now - when).max(0);
    set(gil, timer, Some(when.saturating_add((late / period + 1).saturating_mul(period))))
}

/// Sends the time, unless the last one has not been received. Returns false if the ticker rests, by 4.
#[inline(never)]
fn send_now(gil: Gil<'_>, timer: &Object<Timer>, now_ns: i64) -> bool {
    let Some(h) = timer.hchan(gil) else { return true };
    let Ok(value) = float(gil, now_ns as f64 / NS) else {
        write_unraisable(gil, timer.object());
        return true;
    };
    // If it is not sent, only a float is dropped.
    let value = value.into_obj();
    if timer.period_ns.get(gil.exclusive()) == 0 {
        let _ = guard(gil, || h.send(value, Wait::Try));
        return true;
    }
    // SAFETY: the bell is taken back before it is freed.
    let bell = unsafe { &*bell(gil, timer) };
    // SAFETY: the bell lives until it has been taken back, by 4.
    !matches!(guard(gil, || unsafe { h.send_or_leave(value, bell) }.is_ok()), Ok(false))
}

/// The ticker's bell, which is made the first time that the ticker may rest.
fn bell(gil: Gil<'_>, timer: &Object<Timer>) -> *mut Doorbell {
    let x = gil.exclusive();
    if timer.bell.get(x).is_null() {
        // SAFETY: by 4 the bell is in no channel when the timer dies.
        let new = unsafe { Doorbell::new(received, timer.object().as_raw().cast()) };
        timer.bell.set(x, Box::into_raw(Box::new(new)));
    }
    timer.bell.get(x)
}

/// A bell's `ring`: the tick that filled the channel has been received.
///
/// # Safety
/// The receiver holds the GIL; `timer` is the ticker that made the bell.
unsafe fn received(timer: *mut ()) {
    // SAFETY: by 4 the ticker lives.
    let (gil, timer) = unsafe { (Gil::assume(), this::<Timer>(timer.cast::<_>() as Raw)) };
    let parents = timer.with_alarm(gil, |alarm| alarm.is_of_parent());
    if !parents && set_next(gil, timer, nanotime()).is_err() {
        // This cannot fail: the servant exists, since it has sent that tick.
        clear_error(gil);
    }
}

/// `Timer(seconds)`.
fn new_timer(gil: Gil<'_>, class: TypeOf<'_, Timer>, args: NewArgs<'_>) -> Outcome<New> {
    let seconds = one_number(gil, args, c"O:Timer")?;
    let timer = make_sender(gil, class)?;
    let is_set = set(gil, &timer, deadline_after(seconds));
    completed(gil, timer, is_set)
}

/// `Ticker(seconds)`.
fn new_ticker(gil: Gil<'_>, class: TypeOf<'_, Timer>, args: NewArgs<'_>) -> Outcome<New> {
    let seconds = one_number(gil, args, c"O:Ticker")?;
    let timer = make_sender(gil, class)?;
    let is_set = begin_ticking(gil, &timer, seconds);
    completed(gil, timer, is_set)
}

/// Sets a ticker, which is not set.
fn begin_ticking(gil: Gil<'_>, timer: &Object<Timer>, seconds: f64) -> Outcome<()> {
    if seconds <= 0.0 {
        return Err(not_positive(gil));
    }
    let now = nanotime();
    let first = deadline_after(seconds);
    let period = first.map_or(i64::MAX, |first| (first - now).max(1));
    timer.period_ns.set(gil.exclusive(), period);
    set(gil, timer, first)
}

#[cold]
fn not_positive(gil: Gil<'_>) -> Raised {
    errors::fail(gil, value_error(), "non-positive interval for a ticker")
}

/// Parses the one argument of a constructor.
fn one_number(gil: Gil<'_>, args: NewArgs<'_>, format: &'static CStr) -> Outcome<f64> {
    match args.one(gil, format, c"seconds")? {
        Some(number) => seconds_of(gil, number),
        None => Err(errors::fail(gil, type_error(), "a number of seconds is needed")),
    }
}

/// `_golib._timer_func(seconds, fn, args)`: makes the timer of `golib.time.after_func`.
fn timer_func(gil: Gil<'_>, _: &Object<Module>, args: Args<'_>) -> Outcome<New> {
    let [number, function, positional] = args.positional() else {
        return Err(errors::fail(gil, type_error(), "_timer_func() takes 3 arguments"));
    };
    let seconds = seconds_of(gil, *number)?;
    check_function(gil, *function)?;
    let vars = vars_for_spawn(gil)?;
    let timer = match TIMER.get(gil).and_then(|class| make(gil, class, None)) {
        Ok(timer) => timer,
        Err(raised) => {
            release(gil, vars);
            return Err(raised);
        }
    };
    let x = gil.exclusive();
    release(gil, timer.function.put(x, Some(function.own(gil))));
    release(gil, timer.args.put(x, Some(positional.own(gil))));
    release(gil, timer.vars.put(x, vars));
    let is_set = set(gil, &timer, deadline_after(seconds));
    completed(gil, timer, is_set)
}

/// The function `_timer_func`.
pub(crate) const TIMER_FUNC: Method<Module> =
    Method::fast(c"_timer_func", timer_func, c"For the Python part of golib.");

fn stop(gil: Gil<'_>, timer: &Object<Timer>) -> Outcome<New> {
    Ok(boolean(gil, unset(gil, timer)))
}

fn reset(gil: Gil<'_>, timer: &Object<Timer>, args: Args<'_>) -> Outcome<New> {
    let [number] = args.parse(gil, "reset", &[c"seconds"], 1)?;
    let seconds = number.map_or(Ok(0.0), |number| seconds_of(gil, number))?;
    let ticks = timer.period_ns.get(gil.exclusive()) != 0;
    if ticks && seconds <= 0.0 {
        return Err(not_positive(gil));
    }
    let was_set = unset(gil, timer);
    if ticks {
        begin_ticking(gil, timer, seconds)?;
    } else {
        set(gil, timer, deadline_after(seconds))?;
    }
    Ok(boolean(gil, was_set))
}

fn get_c(gil: Gil<'_>, timer: &Object<Timer>) -> Outcome<New> {
    let Some(channel) = timer.chan.get(gil) else { return Ok(none(gil)) };
    let view = match CHAN.cast(gil, channel.get()) {
        Some(chan) => ends::receiver_of(gil, chan, timer.object()),
        None => Ok(none(gil)),
    };
    channel.release(gil);
    view
}

static METHODS: Methods<Timer, 3> = Methods([
    Method::noargs(
        c"stop",
        stop,
        c"stop($self, /)
--

Stops it; True if it has kept the timer from firing, or its time from being received.

Nothing is received from it afterwards. The channel is not closed.

Blocks: nothing.

>>> golib.time.Timer(10).stop()
True",
    ),
    Method::keywords(
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
    Method::END,
]);

static PROPERTIES: Properties<Timer, 2> = Properties([
    Property::new(
        c"c",
        get_c,
        c"The channel from which its time is received; None for a timer of after_func().",
    ),
    Property::END,
]);

/// Makes the types. Called once.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 2]> {
    let timer = TypeSpec::<Timer>::new(c"golib.time.Timer", TIMER_DOC)
        .subclassable()
        .constructor(new_timer)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &TIMER)?;
    let ticker = TypeSpec::<Timer>::new(c"golib._golib.Ticker", c"The core of golib.time.Ticker.")
        .subclassable()
        .constructor(new_ticker)
        .methods(&METHODS)
        .properties(&PROPERTIES)
        .make(gil, &TICKER)?;
    Ok([(c"Timer", timer), (c"Ticker", ticker)])
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
