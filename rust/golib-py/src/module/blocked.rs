//! `GOLIB_DEBUG=blocked=100ms`: says on stderr which Python line keeps the GIL, or an OS thread, for so long.
//!
//! All of it runs on sysmon's thread, which never waits for the GIL: it could come much later, or not at all.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::ptr;

use go_lib::runtime::embedder::{self, Holder, Overstay};

use crate::bridge::attach::state_of;
use crate::core::goroutine;
use crate::cpython;
use crate::cpython::frames::{self, Of, Places};

/// How many different stacks are reported. A program that has so many has read enough.
const MOST: usize = 1000;

thread_local! {
    /// The stacks that have been reported. sysmon's: a forked child has another, and begins anew.
    static REPORTED: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// For the table of hooks.
pub(super) unsafe fn holder() -> Holder {
    if cpython::finalizing() {
        return Holder::NOBODY;
    }
    let (state, changes, is_wanted) = frames::holder();
    Holder { state: state.cast(), changes, is_wanted }
}

/// For the table of hooks.
pub(super) unsafe fn overstays(overstay: Overstay) -> bool {
    if cpython::finalizing() {
        return true;
    }
    let seen = if overstay.holds { within(overstay) } else { outside(overstay) };
    let Some(places) = seen else { return false };
    tell(&places, |place| headline(overstay, &places, place));
    true
}

/// For the table of hooks.
pub(super) unsafe fn monopolizes(state: *mut (), ns: i64) -> bool {
    if cpython::finalizing() {
        return true;
    }
    let state = state_of(state);
    let Some(tid) = frames::holders_thread(state) else { return false };
    let of = Of { state, name: ptr::null_mut(), function: ptr::null_mut() };
    // SAFETY: `look` only reads and copies.
    let Some(places) = look(of, |f, arg| unsafe { embedder::call_on_thread(tid, f, arg) }) else {
        return false;
    };
    let which = if tid == std::process::id() { "the main thread" } else { "a thread" };
    let ms = ns / 1_000_000;
    tell(&places, |place| format!("golib: {which} has held the GIL for {ms} ms: {place}"));
    true
}

/// Writes the headline for the newest place, and the stack, unless that has been reported.
fn tell(places: &Places, headline: impl FnOnce(&str) -> String) {
    let stack = stack(places);
    let is_new = REPORTED.with_borrow_mut(|all| all.len() < MOST && all.insert(stack.clone()));
    if is_new {
        let place = places.newest().iter().find(|at| at.file() != ENTRY).map_or_else(
            || String::from("no Python frame"),
            |at| format!("{}:{} in {}", at.file(), at.line(), at.function()),
        );
        write(&format!("{}\n{stack}", headline(&place)));
    }
}

fn of(overstay: Overstay) -> Of {
    let (name, function) = goroutine::glance_at_name(overstay.g);
    Of { state: state_of(overstay.g.state()), name, function }
}

/// The places of a goroutine whose state is attached: its thread looks.
fn within(overstay: Overstay) -> Option<Box<Places>> {
    // SAFETY: `look`'s function only reads and copies.
    look(of(overstay), |f, arg| unsafe { embedder::look_within(overstay.g, f, arg) })
}

/// The places that another thread notes: `call` makes that thread call a function with an argument, or returns false.
fn look(of: Of, call: impl FnOnce(unsafe fn(*mut ()), *mut ()) -> bool) -> Option<Box<Places>> {
    type Seen = (Of, MaybeUninit<Places>, bool);
    unsafe fn there(arg: *mut ()) {
        // SAFETY: the record below. If the state is attached here, this thread runs the goroutine.
        unsafe {
            let (of, places, seen) = &mut *arg.cast::<Seen>();
            *seen = frames::within(*of, places);
        }
    }
    let mut seen: Box<Seen> = Box::new((of, MaybeUninit::zeroed(), false));
    let called = call(there, (&raw mut *seen).cast());
    // SAFETY: all bits zero are valid places.
    (called && seen.2).then(|| Box::new(unsafe { seen.1.assume_init() }))
}

/// The places of a goroutine that has released the GIL.
fn outside(overstay: Overstay) -> Option<Box<Places>> {
    // SAFETY: a goroutine that is on its thread keeps its handle, and that the rest.
    unsafe { frames::outside(of(overstay), || embedder::is_outside(overstay.g)) }
}

/// golib's own frame, in which a goroutine begins.
const ENTRY: &str = "<goroutine>";

/// As in a traceback, the newest last.
fn stack(places: &Places) -> String {
    let mut text = String::from(if places.has_more() { "  ...\n" } else { "" });
    for at in places.newest().iter().rev().filter(|at| at.file() != ENTRY) {
        // Writing to a String does not fail.
        let _ =
            writeln!(text, "  File \"{}\", line {}, in {}", at.file(), at.line(), at.function());
    }
    text
}

/// `golib: goroutine 7 (crawl) has held the GIL for 104 ms: crawl.py:9 in parse`
fn headline(overstay: Overstay, places: &Places, place: &str) -> String {
    let name = places.name();
    let name = if name.is_empty() { name } else { format!(" ({name})") };
    let ms = overstay.ns / 1_000_000;
    // The looks see a part of what happens.
    let what = if overstay.kept_ns >= overstay.ns / 10 * 8 {
        "held the GIL"
    } else if overstay.held_ns >= overstay.ns / 5 {
        "been computing"
    } else {
        "been in a call that released the GIL"
    };
    format!("golib: goroutine {}{name} has {what} for {ms} ms: {place}", overstay.g.goid())
}

/// To stderr, without the lock that std puts before it: a thread that forks must not leave it held.
fn write(text: &str) {
    #[cfg(unix)]
    // SAFETY: stderr is open as long as the program wants it; it is not closed here.
    let mut stderr = std::mem::ManuallyDrop::new(unsafe {
        <std::fs::File as std::os::fd::FromRawFd>::from_raw_fd(2)
    });
    #[cfg(windows)]
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes()); // nowhere is left to report it
}
