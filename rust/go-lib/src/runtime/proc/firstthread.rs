//! The end of the process's first thread, if the process goes on without it.
//!
//! A process ends with its last thread, unless somebody ends it before. Mostly the first thread does, by returning from
//! `main`. In a child that an ordinary thread forked, that thread is the first one, and only it ends when it returns.
//! The runtime's threads, which never end, must not keep the process alive then. So the first thread does not end before
//! all others have that are not the runtime's; then it ends the process, as the C library would. Goroutines end with it,
//! wherever they are.

use std::ffi::c_void;

use crate::runtime::proc::checkdead;
use crate::runtime::sched::sched;
use crate::sys::thread;

/// The pauses between two looks: nobody reports the end of a thread.
const FIRST_PAUSE_NS: i64 = 1_000_000;
const LONGEST_PAUSE_NS: i64 = 64_000_000;

/// Has the runtime see to the calling thread's end, if it is the process's first.
#[cold]
pub(crate) fn watch() {
    if thread::is_first() {
        thread::at_end(outlive_the_others);
    }
}

unsafe extern "C" fn outlive_the_others(_: *mut c_void) {
    let mut pause = FIRST_PAUSE_NS;
    // Where the system does not tell its threads, `is_first` is false.
    while checkdead::others(sched()).is_none_or(|n| n > 0) {
        thread::usleep_ns(pause);
        pause = (pause * 2).min(LONGEST_PAUSE_NS);
    }
    thread::exit_after_last_thread()
}
