//! `GOLIB_DEBUG=blocked=100ms`: says on stderr which Python line keeps the GIL, or an OS thread, for so long.
//!
//! All of it runs on sysmon's thread, which never waits for the GIL: it could come much later, or not at all.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::FromRawFd;

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
    let (state, changes, waiters) = frames::holder();
    Holder { state: state.cast(), changes, is_wanted: waiters > 0 }
}

/// For the table of hooks.
pub(super) unsafe fn overstays(overstay: Overstay) -> bool {
    if cpython::finalizing() {
        return true;
    }
    let seen = if overstay.holds { within(overstay) } else { outside(overstay) };
    let Some(places) = seen else { return false };
    let stack = stack(&places);
    let is_new = REPORTED.with_borrow_mut(|all| all.len() < MOST && all.insert(stack.clone()));
    if is_new {
        write(&format!("{}\n{stack}", headline(overstay, &places)));
    }
    true
}

fn of(overstay: Overstay) -> Of {
    let (name, function) = goroutine::glance_at_name(overstay.g);
    Of { state: state_of(overstay.g.state()), name, function }
}

/// The places of a goroutine whose state is attached: its thread looks.
fn within(overstay: Overstay) -> Option<Box<Places>> {
    unsafe fn look(arg: *mut ()) {
        // SAFETY: the pair below; the calling thread runs the goroutine.
        unsafe {
            let (of, places, seen) = &mut *arg.cast::<Seen>();
            *seen = frames::within(*of, places);
        }
    }
    type Seen = (Of, MaybeUninit<Places>, bool);
    let mut seen: Box<Seen> = Box::new((of(overstay), MaybeUninit::zeroed(), false));
    // SAFETY: `look` only reads and copies; all bits zero are valid places.
    unsafe {
        let called = embedder::look_within(overstay.g, look, (&raw mut *seen).cast());
        (called && seen.2).then(|| Box::new(seen.1.assume_init()))
    }
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
fn headline(overstay: Overstay, places: &Places) -> String {
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
    let place = places.newest().iter().find(|at| at.file() != ENTRY).map_or_else(
        || String::from("no Python frame"),
        |at| format!("{}:{} in {}", at.file(), at.line(), at.function()),
    );
    format!("golib: goroutine {}{name} has {what} for {ms} ms: {place}", overstay.g.goid())
}

/// To stderr, without the lock that std puts before it: a thread that forks must not leave it held.
fn write(text: &str) {
    // SAFETY: stderr is open as long as the program wants it; it is not closed here.
    let mut stderr = ManuallyDrop::new(unsafe { File::from_raw_fd(2) });
    let _ = stderr.write_all(text.as_bytes()); // nowhere is left to report it
}
