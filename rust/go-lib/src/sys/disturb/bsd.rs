//! Not written for these systems: a signal to one thread carries no mark there by which a handler could tell ours from the
//! program's.

/// Does nothing: our signal could not be told from the program's.
///
/// # Safety
/// None is needed.
pub(crate) unsafe fn call_within(_tid: u32, _f: unsafe fn(*mut ()), _arg: *mut ()) -> bool {
    false
}

/// Does nothing: the call ends by itself.
pub(crate) fn disturb(_tid: u32) {}

/// Does nothing: the masks stay as they are.
pub(crate) fn change_masks(_tids: &[u32], _added: u64, _removed: u64) {}
