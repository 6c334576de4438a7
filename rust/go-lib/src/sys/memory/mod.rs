//! Address space: reserving stacks, guard pages, giving pages back.
//!
//! # The contract of a backend
//!
//! | function | does |
//! |---|---|
//! | `reserve(bytes, spare)` | reserves address space for stacks, with pages of the usual size; fails too if there is no room for `spare` more |
//! | `guard(addr, bytes)` | makes a range of it fault on any access |
//! | `guards_take_mappings()` | whether each guard uses up some of a limited number of mappings |
//! | `begin_stack(end, hi, warm)` | makes a range of it a stack, which is zero and committed page by page as it grows; commits the `warm` bytes at its top at once, where the system wants that |
//! | `trim_stack(lo, hi, warm)` | gives the pages between `lo` and the `warm` bytes at its top back |
//! | `address_space_is_dear()` | whether the process should not reserve much more than it uses |
//!
//! On POSIX a stack is zeroed memory like any other. Those backends also have
//!
//! | function | does |
//! |---|---|
//! | `reserve_small(bytes)` | reserves less than a huge page of zeroed memory, committed page by page |
//! | `discard(addr, bytes)` | gives the pages of a range back, which then reads as zero |
//! | `release(addr, bytes)` | gives a part or all of a reservation back |
//! | `is_readable(addr)` | whether a word of zeroes at `addr` can be read, for tests and for `guard` (Linux) |
//!
//! | backend | where |
//! |---|---|
//! | `linux` | Linux |
//! | `bsd` | macOS, FreeBSD |
//! | `posix` | stacks on both |
//! | `windows` | Windows |

#[cfg(not(any(target_os = "linux", windows)))]
mod bsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(unix)]
mod posix;
#[cfg(windows)]
mod windows;

#[cfg(not(any(target_os = "linux", windows)))]
use bsd as system;
#[cfg(target_os = "linux")]
use linux as system;
#[cfg(unix)]
pub(crate) use posix::{begin_stack, reserve, trim_stack};
#[cfg(windows)]
use windows as system;
#[cfg(windows)]
pub(crate) use windows::{begin_stack, reserve, trim_stack};

pub(crate) use system::{address_space_is_dear, guard, guards_take_mappings};
#[cfg(unix)]
pub(crate) use system::{release, reserve_small};

/// The largest page that a kernel may use on this CPU. Addresses at which a page must begin or end are
/// multiples of it.
pub(crate) const MAX_PAGE_BYTES: usize =
    if cfg!(target_arch = "aarch64") { 64 * 1024 } else { 4 * 1024 };

#[cfg(all(test, not(golib_loom), target_os = "linux"))]
mod tests {
    use super::linux::{discard, is_readable, reserve};
    use super::{guard, MAX_PAGE_BYTES};

    #[test]
    fn what_the_kernel_does_not_have_is_refused() {
        assert_eq!(reserve(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(reserve(usize::MAX / 2).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }

    #[test]
    fn a_page_that_is_given_back_is_zero_again_and_its_neighbours_are_not() {
        let at = reserve(3 * MAX_PAGE_BYTES).unwrap();
        let pages = [0, 1, 2].map(|i| (at + i * MAX_PAGE_BYTES) as *mut u64);
        // SAFETY: our own mapping.
        unsafe {
            pages.iter().for_each(|page| {
                assert_eq!(page.read(), 0);
                page.write(!0);
            });
            discard(pages[1].addr(), MAX_PAGE_BYTES);
            assert_eq!(pages.map(|page| page.read()), [!0, 0, !0]);
            pages[1].write(1);
            assert_eq!(pages[1].read(), 1);
            discard(at, 0);
            assert_eq!(pages[0].read(), !0);
        }
    }

    #[test]
    fn a_guard_cannot_be_read_from_its_first_byte_to_its_last() {
        let at = reserve(3 * MAX_PAGE_BYTES).unwrap();
        let end = at + 3 * MAX_PAGE_BYTES;
        assert!([at, end - 4].into_iter().all(is_readable));
        let (lo, hi) = (at + MAX_PAGE_BYTES, at + 2 * MAX_PAGE_BYTES);
        // SAFETY: our own mapping.
        unsafe { guard(lo, MAX_PAGE_BYTES).unwrap() };
        assert!(!is_readable(lo) && !is_readable(hi - 4));
        assert!([at, lo - 4, hi, end - 4].into_iter().all(is_readable));
        assert!(!is_readable(0));
    }
}
