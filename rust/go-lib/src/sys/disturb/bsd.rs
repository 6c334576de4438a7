//! Getting a thread out of a system call, and changing its signal mask: not written for these systems, whose signals to one
//! thread carry no mark by which a handler could tell ours from the program's.

/// Nothing: the call ends by itself.
pub(crate) fn disturb(_tid: u32) {}

/// Nothing: the masks stay.
pub(crate) fn change_masks(_tids: &[u32], _added: u64, _removed: u64) {}
