//! Windows has no signals: no call ends for one, and a thread has no mask of them. What the console tells (Ctrl-C, its
//! close) comes on a thread of the system's own, whose handler may use channels as any thread may.

/// Nothing: there is nothing to call it within.
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
