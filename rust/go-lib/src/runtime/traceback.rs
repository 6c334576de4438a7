//! Dumps in Go's format.
//!
//! ```text
//! goroutine 7 [chan receive, 2 minutes]:
//! created at src/main.rs:12:5 in goroutine 1
//! ```
//!
//! Go: runtime/traceback.go

use std::fmt::Write as _;

use crate::runtime::object::g::{Kind, G};
use crate::runtime::object::gref::GRef;
use crate::runtime::sched::sched;

/// `goroutine 7 [chan receive, 2 minutes]:`
pub(crate) fn header(r: GRef) -> String {
    format!("goroutine {} [{}]:", r.goid(), state(r.g(), r.g().status_text(), r.wait_ns()))
}

/// The text between the brackets of the caller's own header until its last wait ended.
pub(crate) fn last_wait(g: &G) -> String {
    state(g, g.waitreason.get().text(), g.waited_ns())
}

/// `chan receive, 2 minutes, locked to thread`
fn state(g: &G, text: &str, wait_ns: u64) -> String {
    const MINUTE_NS: u64 = 60_000_000_000;
    let mut state = String::from(text);
    let minutes = wait_ns / MINUTE_NS;
    if minutes > 0 {
        let _ = write!(state, ", {minutes} minutes");
    }
    if g.lock_depth.get() > 0 {
        state.push_str(", locked to thread");
    }
    state
}

/// Every live goroutine.
pub(crate) fn all() -> String {
    let mut out = String::new();
    sched().for_each_g(&mut |r| {
        let g = r.g();
        let _ = writeln!(out, "{}", header(r));
        let created = g.created.get();
        if g.kind.get() == Kind::Go {
            if let Some(at) = created.location {
                let _ = write!(out, "created at {at}");
                if created.goid != 0 {
                    let _ = write!(out, " in goroutine {}", created.goid);
                }
                out.push('\n');
            }
        }
        out.push('\n');
    });
    out
}

/// Prints every goroutine to stderr.
pub(crate) fn print_all() {
    eprint!("{}", all());
}
