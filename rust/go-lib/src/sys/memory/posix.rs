//! Stacks on systems where they are zeroed memory like any other.

use std::io;

use super::system;

/// Reserves `bytes` of zeroed address space that the kernel commits page by page. Fails too if there is no room for `spare`
/// more.
///
/// # Errors
/// The kernel's: no address space, an address-space limit, too many mappings.
pub(crate) fn reserve(bytes: usize, spare: usize) -> io::Result<usize> {
    let at = system::reserve(bytes + spare)?;
    // SAFETY: just mapped, and that part is not used yet.
    unsafe { system::release(at + bytes, spare) };
    Ok(at)
}

/// Does nothing: the kernel commits a stack's pages when they are first touched.
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

/// Gives back the pages of a stack below the `warm` bytes at its top.
///
/// # Safety
/// Nothing runs on the stack.
#[inline(always)]
pub(crate) unsafe fn trim_stack(lo: usize, hi: usize, warm: usize) {
    // SAFETY: the caller's duty.
    unsafe { system::discard(lo, hi - warm - lo) };
}
