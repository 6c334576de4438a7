//! Threads of Windows.

use std::ffi::c_void;
use std::io;
use std::sync::Once;
use std::time::Duration;

use crate::sys::win32::{
    timeBeginPeriod, CloseHandle, CreateThread, CreateToolhelp32Snapshot, GetCurrentProcess,
    GetCurrentProcessId, GetCurrentThreadId, TerminateProcess, Thread32First, Thread32Next, HANDLE,
    STACK_SIZE_PARAM_IS_A_RESERVATION, TH32CS_SNAPTHREAD, THREADENTRY32,
};

type Main = extern "C" fn(*mut c_void) -> *mut c_void;

/// Starts a detached OS thread that runs `f(arg)`.
///
/// # Errors
/// The OS's error when it has no thread to give.
///
/// # Safety
/// `f` must be sound to call with `arg` on another thread.
pub(crate) unsafe fn spawn(f: Main, arg: *mut c_void) -> io::Result<()> {
    let start: *mut (Main, *mut c_void) = Box::into_raw(Box::new((f, arg)));
    let flags = STACK_SIZE_PARAM_IS_A_RESERVATION;
    // SAFETY: `begin` takes the box.
    unsafe {
        let no_id = std::ptr::null_mut();
        let thread =
            CreateThread(std::ptr::null(), super::STACK_BYTES, begin, start.cast(), flags, no_id);
        if thread.is_null() {
            let error = io::Error::last_os_error();
            drop(Box::from_raw(start));
            return Err(error);
        }
        CloseHandle(thread);
    }
    Ok(())
}

unsafe extern "system" fn begin(start: *mut c_void) -> u32 {
    // SAFETY: `spawn` passed the box.
    let (f, arg) = *unsafe { Box::from_raw(start.cast::<(Main, *mut c_void)>()) };
    f(arg);
    0
}

/// Ends the process at once, without destructors: other threads may still use what destructors would free.
pub(crate) fn exit_process(status: i32) -> ! {
    // SAFETY: no code of this crate runs after it.
    unsafe { TerminateProcess(GetCurrentProcess(), status as u32) };
    loop {
        std::thread::park();
    }
}

/// The calling thread's number, since the C library has no other handle.
pub(crate) fn pthread() -> u64 {
    gettid() as u64
}

/// Sleeps for `ns` nanoseconds, by a timer of high resolution where the system has one.
pub(crate) fn usleep_ns(ns: i64) {
    if let Some(ns) = u64::try_from(ns).ok().filter(|ns| *ns > 0) {
        std::thread::sleep(Duration::from_nanos(ns));
    }
}

/// The system's number of the calling thread.
pub(crate) fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { GetCurrentThreadId() as i32 }
}

/// The numbers of this process's threads, picked from a list of all threads in the system.
pub(crate) fn tids() -> Option<Vec<u32>> {
    struct Snapshot(HANDLE);
    impl Drop for Snapshot {
        fn drop(&mut self) {
            // SAFETY: this owns the handle.
            unsafe { CloseHandle(self.0) };
        }
    }
    let mut entry = THREADENTRY32 { size: size_of::<THREADENTRY32>() as u32, ..Default::default() };
    let mut tids = Vec::new();
    // SAFETY: the handle is ours; the entry tells its size.
    unsafe {
        let process = GetCurrentProcessId();
        let handle = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
        if handle as isize == -1 {
            return None;
        }
        let snapshot = Snapshot(handle);
        let mut more = Thread32First(snapshot.0, &mut entry) != 0;
        while more {
            if entry.process == process {
                tids.push(entry.thread);
            }
            more = Thread32Next(snapshot.0, &mut entry) != 0;
        }
    }
    // A snapshot taken while processes come and go may be empty.
    tids.contains(&(gettid() as u32)).then_some(tids)
}

/// From now on the process's sleeps end within a millisecond of the time given. By default the clock ticks 64 times a second.
pub(crate) fn sleep_exactly() {
    static ONCE: Once = Once::new();
    // SAFETY: no pointers.
    ONCE.call_once(|| unsafe {
        timeBeginPeriod(1);
    });
}

/// Unknown. A goroutine that did not announce its call is found blocked when it has run for too long.
pub(crate) fn sleeps(_tid: u32) -> bool {
    false
}
