//! FreeBSD: umtx, private to the process.

use std::ffi::c_void;
use std::mem::size_of_val;
use std::ptr;
use std::sync::atomic::AtomicU32;

use crate::prim::FutexWait;
use crate::sys::{clock, errno};

/// Sleeps while `word == expected`; `deadline_ns` is absolute on the monotonic clock.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline_ns: Option<i64>) -> FutexWait {
    let until = deadline_ns.map(|deadline| libc::_umtx_time {
        _timeout: clock::timespec(deadline),
        _flags: libc::UMTX_ABSTIME,
        _clockid: libc::CLOCK_MONOTONIC as u32,
    });
    let (size, at) = match &until {
        None => (ptr::null_mut(), ptr::null_mut()),
        Some(until) => (
            ptr::without_provenance_mut::<c_void>(size_of_val(until)),
            (&raw const *until).cast_mut().cast(),
        ),
    };
    // SAFETY: word outlives the call; the time is null or valid, with its size.
    let r = unsafe {
        let operation = libc::UMTX_OP_WAIT_UINT_PRIVATE;
        libc::_umtx_op(word.as_ptr().cast(), operation, expected.into(), size, at)
    };
    match if r == 0 { 0 } else { errno::last() } {
        libc::ETIMEDOUT => FutexWait::TimedOut,
        libc::EINTR => FutexWait::Interrupted,
        _ => FutexWait::Woken,
    }
}

/// Wakes at most `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let count = count.min(i32::MAX as u32).into();
    // SAFETY: the kernel uses the address as a key only; a word that is gone wakes no thread.
    unsafe {
        let operation = libc::UMTX_OP_WAKE_PRIVATE;
        libc::_umtx_op(word.as_ptr().cast(), operation, count, ptr::null_mut(), ptr::null_mut());
    }
}
