//! The contract of stacks, held against the backend for Windows.

use super::{begin_stack, reserve, trim_stack};
use crate::sys::arch::StackRecord;
use crate::sys::memory::MAX_PAGE_BYTES;
use crate::sys::win32::{VirtualQuery, MEMORY_BASIC_INFORMATION, MEM_COMMIT, PAGE_GUARD};

const BYTES: usize = 64 * MAX_PAGE_BYTES;
const WARM: usize = 4 * MAX_PAGE_BYTES;

/// For each page, the lowest first: `.` not there, `g` the guard, `#` there.
fn pages(at: usize) -> String {
    (0..BYTES / MAX_PAGE_BYTES)
        .map(|i| {
            let mut info = MEMORY_BASIC_INFORMATION::default();
            let size = size_of::<MEMORY_BASIC_INFORMATION>();
            // SAFETY: info has this size.
            unsafe { VirtualQuery((at + i * MAX_PAGE_BYTES) as *const _, &mut info, size) };
            match (info.state & MEM_COMMIT != 0, info.protect & PAGE_GUARD != 0) {
                (false, _) => '.',
                (true, true) => 'g',
                (true, false) => '#',
            }
        })
        .collect()
}

#[test]
fn a_stack_has_its_top_and_a_guard_and_nothing_below() {
    let at = reserve(BYTES, 0).unwrap();
    assert_eq!(pages(at), ".".repeat(64));
    // SAFETY: our own reservation.
    unsafe { begin_stack(at, at + BYTES, WARM).unwrap() };
    let new = ".".repeat(59) + "g####";
    assert_eq!(pages(at), new);
    // SAFETY: the record, which is written.
    let record = unsafe { &mut *((at + BYTES) as *mut StackRecord).sub(1) };
    assert_eq!((record.end, record.limit), (at, at + BYTES - WARM));
    // As if it had grown by ten pages.
    let grown = at + BYTES - WARM - 10 * MAX_PAGE_BYTES;
    // SAFETY: our own reservation, whose record tells what is there.
    unsafe {
        begin_stack(at, at + BYTES, WARM + 10 * MAX_PAGE_BYTES).unwrap();
        assert_eq!(record.limit, grown);
        assert_eq!(pages(at), ".".repeat(49) + "g" + &"#".repeat(14));
        ((at + BYTES - WARM - 8) as *mut u64).write(7);
        trim_stack(at, at + BYTES, WARM);
        assert_eq!(pages(at), new);
        assert_eq!(record.limit, at + BYTES - WARM);
        trim_stack(at, at + BYTES, WARM);
        assert_eq!(pages(at), new, "nothing has grown");
    }
}

#[test]
fn what_the_system_does_not_have_is_refused() {
    assert_eq!(reserve(usize::MAX / 2, 0).unwrap_err().kind(), std::io::ErrorKind::OutOfMemory);
    assert!(reserve(MAX_PAGE_BYTES, usize::MAX / 2).is_err());
}
