//! Windows has no signals: none ends a system call, and a thread has no signal mask. The console's events (Ctrl-C, closing)
//! arrive on a thread of the system's own, whose handler may use channels like any other thread.

/// Does nothing: there is no signal to call it from.
///
/// # Safety
/// None is needed.
pub(crate) unsafe fn call_within(_tid: u32, _f: unsafe fn(*mut ()), _arg: *mut ()) -> bool {
    false
}

/// Nothing.
pub(crate) fn disturb(_tid: u32) {}

/// Nothing.
pub(crate) fn change_masks(_tids: &[u32], _added: u64, _removed: u64) {}
