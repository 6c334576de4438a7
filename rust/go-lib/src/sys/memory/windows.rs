//! `VirtualAlloc`: address space is reserved, and a stack's pages are committed one by one as it grows.
//!
//! Below the committed pages of a stack lies one with `PAGE_GUARD`. Whoever touches it makes it an ordinary page, and the
//! kernel puts the next one below, as long as the thread's information block tells that the address is of the stack it runs on:
//! a switch sees to that (`arch`). At the stack's end the kernel raises an overflow instead (`signal`).
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

/// Every refusal means the same: no address space, or no memory for what is committed.
fn no_memory() -> io::Error {
    io::Error::from_raw_os_error(ERROR_NOT_ENOUGH_MEMORY)
}

/// Reserves `bytes` of address space, which cannot be used as it is: see [`begin_stack`].
fn reserve_alone(bytes: usize) -> io::Result<usize> {
    // SAFETY: a new reservation touches nothing that exists.
    let at = unsafe { VirtualAlloc(std::ptr::null_mut(), bytes, MEM_RESERVE, PAGE_READWRITE) };
    if at.is_null() {
        return Err(no_memory());
    }
    Ok(at as usize)
}

/// As [`reserve_alone`]; fails too if there is not room for `spare` more.
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
                // SAFETY: just reserved, and nobody knows of it.
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
/// `reserve_alone` gave it, and nobody uses it any more.
unsafe fn release(at: usize) {
    // SAFETY: the caller's duty.
    unsafe { VirtualFree(at as *mut c_void, 0, MEM_RELEASE) };
}

/// Nothing: what is not committed faults, and the kernel watches the end of a stack.
///
/// # Errors
/// None.
///
/// # Safety
/// None.
pub(crate) unsafe fn guard(_addr: usize, _bytes: usize) -> io::Result<()> {
    Ok(())
}

/// A guard is a page of the stack's own.
pub(crate) fn guards_take_mappings() -> bool {
    false
}

/// Makes `[end, hi)` a stack of which the `warm` bytes below `hi` are there.
///
/// # Errors
/// No memory.
///
/// # Safety
/// The range lies in a reservation and nobody uses it.
pub(crate) unsafe fn begin_stack(end: usize, hi: usize, warm: usize) -> io::Result<()> {
    commit(hi - warm, warm, PAGE_READWRITE)?;
    commit(hi - warm - PAGE_BYTES, PAGE_BYTES, PAGE_READWRITE | PAGE_GUARD)?;
    // SAFETY: just committed.
    unsafe { (hi as *mut StackRecord).sub(1).write(StackRecord { end, limit: hi - warm }) };
    Ok(())
}

fn commit(at: usize, bytes: usize, rights: u32) -> io::Result<()> {
    // SAFETY: the callers own the range.
    let done = unsafe { VirtualAlloc(at as *mut c_void, bytes, MEM_COMMIT, rights) };
    if done.is_null() {
        return Err(no_memory());
    }
    Ok(())
}

/// Gives the pages of a stack back that lie below the `warm` bytes at its top.
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
    // SAFETY: nothing of value is there. The new guard's page is committed, because it is not below the limit.
    unsafe {
        VirtualFree(low as *mut c_void, guard - low, MEM_DECOMMIT);
        VirtualProtect(guard as *mut c_void, PAGE_BYTES, PAGE_READWRITE | PAGE_GUARD, &mut former);
    }
    record.limit = keep;
}

/// Whether the process may not reserve much more than it uses: nothing limits that here.
pub(crate) fn address_space_is_dear() -> bool {
    false
}
