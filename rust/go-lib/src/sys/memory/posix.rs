//! Stacks, where they are zeroed memory like any other.

use std::io;

use super::system;

/// Reserves `bytes` of zeroed address space that the kernel commits page by page; fails too if there is not room for `spare`
/// more.
///
/// # Errors
/// The kernel's: no address space, an address-space limit, too many mappings.
pub(crate) fn reserve(bytes: usize, spare: usize) -> io::Result<usize> {
    let at = system::reserve(bytes + spare)?;
    // SAFETY: just mapped, and nobody knows of that part.
    unsafe { system::release(at + bytes, spare) };
    Ok(at)
}

/// Nothing: a stack is there when it is first touched.
///
/// # Errors
/// None.
///
/// # Safety
/// None.
#[inline(always)]
pub(crate) unsafe fn begin_stack(_end: usize, _hi: usize, _warm: usize) -> io::Result<()> {
    Ok(())
}

/// Gives the pages of a stack back that lie below the `warm` bytes at its top.
///
/// # Safety
/// Nothing runs on the stack.
#[inline(always)]
pub(crate) unsafe fn trim_stack(lo: usize, hi: usize, warm: usize) {
    // SAFETY: the caller's duty.
    unsafe { system::discard(lo, hi - warm - lo) };
}
