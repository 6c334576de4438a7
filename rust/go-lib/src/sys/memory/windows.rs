//! `VirtualAlloc`: address space is reserved, and a stack's pages are committed one by one as it grows.
//!
//! Below the committed pages of a stack lies one with `PAGE_GUARD`. A touch makes it an ordinary page, and the kernel puts the
//! next guard below it, as long as the thread's information block says that the address belongs to the stack it runs on: a
//! switch sees to that (`arch`). At the stack's end the kernel raises an overflow instead (`signal`).
//!
//! ```text
//!  | reserved: room for the report | reserved … | guard | committed ........ | record |
//!  ^ end                           ^ lo                                       ^ first frame   ^ hi
//! ```

#[cfg(test)]
mod tests;

use std::ffi::c_void;
use std::io;

use crate::sys::arch::StackRecord;
use crate::sys::win32::{
    VirtualAlloc, VirtualFree, VirtualProtect, ERROR_NOT_ENOUGH_MEMORY, MEM_COMMIT, MEM_DECOMMIT,
    MEM_RELEASE, MEM_RESERVE, PAGE_GUARD, PAGE_READWRITE,
};

const PAGE_BYTES: usize = super::MAX_PAGE_BYTES;

/// The error for every refusal, each of which means the same: no address space, or no memory to commit.
fn no_memory() -> io::Error {
    io::Error::from_raw_os_error(ERROR_NOT_ENOUGH_MEMORY)
}

/// Reserves `bytes` of address space, which can be used only after [`begin_stack`].
fn reserve_alone(bytes: usize) -> io::Result<usize> {
    // SAFETY: a new reservation touches nothing that exists.
    let at = unsafe { VirtualAlloc(std::ptr::null_mut(), bytes, MEM_RESERVE, PAGE_READWRITE) };
    if at.is_null() {
        return Err(no_memory());
    }
    Ok(at as usize)
}

/// Like [`reserve_alone`], but fails too if there is no room for `spare` more.
///
/// # Errors
/// No address space.
pub(crate) fn reserve(bytes: usize, spare: usize) -> io::Result<usize> {
    let at = reserve_alone(bytes)?;
    if spare > 0 {
        match reserve_alone(spare) {
            // SAFETY: just reserved.
            Ok(other) => unsafe { release(other) },
            Err(e) => {
                // SAFETY: just reserved, and not used yet.
                unsafe { release(at) };
                return Err(e);
            }
        }
    }
    Ok(at)
}

/// Gives a whole reservation back.
///
/// # Safety
/// It is a reservation of `reserve_alone`, and nothing uses it any more.
unsafe fn release(at: usize) {
    // SAFETY: the caller's duty.
    unsafe { VirtualFree(at as *mut c_void, 0, MEM_RELEASE) };
}

/// Does nothing: pages that are not committed fault, and the kernel watches the end of a stack.
///
/// # Errors
/// None.
///
/// # Safety
/// None.
pub(crate) unsafe fn guard(_addr: usize, _bytes: usize) -> io::Result<()> {
    Ok(())
}

/// False: a guard is one of the stack's own pages.
pub(crate) fn guards_take_mappings() -> bool {
    false
}

/// Makes `[end, hi)` a stack and commits the `warm` bytes below `hi`.
///
/// # Errors
/// No memory.
///
/// # Safety
/// The range lies in a reservation, and nothing uses it.
pub(crate) unsafe fn begin_stack(end: usize, hi: usize, warm: usize) -> io::Result<()> {
    commit(hi - warm, warm, PAGE_READWRITE)?;
    commit(hi - warm - PAGE_BYTES, PAGE_BYTES, PAGE_READWRITE | PAGE_GUARD)?;
    // SAFETY: just committed.
    unsafe { (hi as *mut StackRecord).sub(1).write(StackRecord { end, limit: hi - warm }) };
    Ok(())
}

fn commit(at: usize, bytes: usize, rights: u32) -> io::Result<()> {
    // SAFETY: the caller owns the range.
    let done = unsafe { VirtualAlloc(at as *mut c_void, bytes, MEM_COMMIT, rights) };
    if done.is_null() {
        return Err(no_memory());
    }
    Ok(())
}

/// Gives back the pages of a stack below the `warm` bytes at its top.
///
/// # Safety
/// `begin_stack` made it, and nothing runs on it.
pub(crate) unsafe fn trim_stack(_lo: usize, hi: usize, warm: usize) {
    // SAFETY: the record is written as long as nothing runs on the stack.
    let record = unsafe { &mut *(hi as *mut StackRecord).sub(1) };
    let keep = hi - warm;
    if record.limit >= keep {
        return; // nothing has grown
    }
    let (low, guard, mut former) = (record.end, keep - PAGE_BYTES, 0);
    // SAFETY: those pages hold nothing of value. The new guard's page is committed, because it is not below the limit.
    unsafe {
        VirtualFree(low as *mut c_void, guard - low, MEM_DECOMMIT);
        VirtualProtect(guard as *mut c_void, PAGE_BYTES, PAGE_READWRITE | PAGE_GUARD, &mut former);
    }
    record.limit = keep;
}

/// False: nothing limits how much the process may reserve.
pub(crate) fn address_space_is_dear() -> bool {
    false
}
