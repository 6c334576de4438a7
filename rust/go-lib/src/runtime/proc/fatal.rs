//! Two ways to die: the runtime's fault, and the program's.

use crate::runtime::traceback;
use crate::sys::thread;

/// The runtime's own bug: says so with all goroutines and dies.
#[cold]
#[inline(never)]
pub(crate) fn throw(what: &str) -> ! {
    eprintln!("fatal error: {what}");
    traceback::print_all();
    std::process::abort()
}

/// The program's fault, which it cannot recover from: Go's exit status 2.
#[cold]
#[inline(never)]
pub(crate) fn fatal(what: &str) -> ! {
    eprintln!("fatal error: {what}\n");
    traceback::print_all();
    end()
}

/// Ends the process by the program's fault, which has been told.
pub(crate) fn end() -> ! {
    thread::exit_process(2)
}
