//! A goroutine has overflowed its stack: prints the report and ends the process.

use crate::runtime::object::gref::GRef;
use crate::runtime::proc::{current_goroutine, fatal};
use crate::runtime::traceback;

/// Called on a signal stack with a fault's address: if it lies in the running goroutine's guard,
/// prints Go's report and ends the process.
pub(crate) fn report_hit(addr: usize) {
    let gp = current_goroutine();
    if gp.is_null() {
        return;
    }
    // SAFETY: the running goroutine's stack bounds do not change while it runs.
    let stack = unsafe { *(*gp).stack.get() };
    if !stack.guards(addr) {
        return;
    }
    let who = GRef::new(gp);
    eprintln!(
        "runtime: goroutine stack exceeds {}-byte limit\nfatal error: stack overflow\n\n{}",
        stack.bytes(),
        traceback::header(who),
    );
    fatal::end()
}
