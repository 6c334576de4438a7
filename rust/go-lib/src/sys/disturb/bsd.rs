//! Getting a thread out of a system call, and changing its signal mask: not written for these systems, whose signals to one
//! thread carry no mark by which a handler could tell ours from the program's.

/// Nothing: no signal can be told from the program's.
///
/// # Safety
/// None is needed.
pub(crate) unsafe fn call_within(_tid: u32, _f: unsafe fn(*mut ()), _arg: *mut ()) -> bool {
    false
}

/// Nothing: the call ends by itself.
pub(crate) fn disturb(_tid: u32) {}

/// Nothing: the masks stay.
pub(crate) fn change_masks(_tids: &[u32], _added: u64, _removed: u64) {}
