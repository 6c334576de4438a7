//! Goroutine stacks: reserved large, committed by the kernel page by page, never moved.
//!
//! ```text
//!  slab (one mapping, MAP_NORESERVE)
//!  | pad | guard | usable ............ top | guard | usable ............ top | …
//!        ^lo-GUARD ^lo                  ^hi
//! ```
//! The pad puts a stack's boundary in the middle of a 2 MiB page-table page, so that a stack's top
//! page and the next stack's guard share one: 4 KiB of page tables a stack instead of 8. The top is a
//! few pages, another number for each stack, below the end (`colour`).
//!
//! # Invariants
//! 1. A stack, once made, is never unmapped: a goroutine's end leaves it, with the host's state that was
//!    made for it, in a cache for the next goroutine's first run.
//! 2. `[lo, hi)` is writable; the `GUARD_BYTES` below `lo` fault.
//! 3. Pages below `hi - WARM_BYTES` of a cached stack are given back by `trim`.
//! 4. `lo`, `hi` and `hi - WARM_BYTES` are multiples of the page, however large it is.
//!
//! Go: runtime/stack.go (ours neither grow nor move)

use std::io;
use std::sync::atomic::AtomicUsize;

use crate::prim::Ordering;
use crate::runtime::object::lock::Locked;
use crate::sys::memory::{self, MAX_PAGE_BYTES};
use crate::sys::{arch, errno};

/// The smallest stack, of which the guard takes half.
pub(crate) const MIN_BYTES: usize = 2 * GUARD_BYTES;
/// The largest.
pub(crate) const MAX_BYTES: usize = 1 << 30;
/// The default size: that of a thread, with room for deep recursion.
const DEFAULT_BYTES: usize = 64 << 20;
/// The same where address space is dear (strict overcommit, a limit of it or of data), and for a goroutine that finds
/// no room for the other one.
pub(crate) const DEAR_DEFAULT_BYTES: usize = 1 << 20;
/// The guard: C code without stack probes may jump over one page.
const GUARD_BYTES: usize = at_least_a_page(32 * 1024);
/// How much of a cached stack stays committed.
const WARM_BYTES: usize = at_least_a_page(16 * 1024);
/// Places for a stack's top, a page apart; and how small a part of the stack they take at most. Fewer than
/// half a page-table page has entries: see the header.
const COLOURS: usize = if MAX_PAGE_BYTES > 4096 { TABLE_BYTES / 2 / MAX_PAGE_BYTES } else { 128 };
/// See above.
const COLOURED_PART: usize = 8;
/// How many bytes the process must still be able to reserve besides a slab. If stacks took all that a limit allows,
/// malloc would fail, and with it everything that needs memory.
const SPARE_BYTES: usize = 32 << 20;
/// Page-table pages cover 2 MiB (of 4 KiB pages); see the header for the pad.
const TABLE_BYTES: usize = 2 << 20;

const fn at_least_a_page(bytes: usize) -> usize {
    if bytes < MAX_PAGE_BYTES {
        MAX_PAGE_BYTES
    } else {
        bytes
    }
}

/// The usable part of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stack {
    pub(crate) lo: usize,
    pub(crate) hi: usize,
}

impl Stack {
    /// No stack yet.
    pub(crate) const NONE: Stack = Stack { lo: 0, hi: 0 };

    pub(crate) fn is_none(self) -> bool {
        self.hi == 0
    }

    /// The size a user names: guard included.
    pub(crate) fn bytes(self) -> usize {
        if self.is_none() {
            0
        } else {
            // Less its colour.
            (self.hi - self.lo + GUARD_BYTES).next_power_of_two()
        }
    }

    /// Where a goroutine's frames may start.
    #[inline(always)]
    pub(crate) fn top(self) -> usize {
        self.hi - arch::TOP_BYTES
    }

    /// True if `addr` lies in the guard below this stack.
    pub(crate) fn guards(self, addr: usize) -> bool {
        !self.is_none() && addr < self.lo && addr >= self.lo - GUARD_BYTES
    }

    /// Gives the deep pages back.
    ///
    /// # Safety
    /// Nothing runs on the stack.
    pub(crate) unsafe fn trim(self) {
        // SAFETY: by 2 a mapping of this module's; the caller says that nothing there is needed.
        unsafe { memory::trim_stack(self.lo, self.hi, WARM_BYTES) };
    }
}

/// A stack and what the host bound to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) stack: Stack,
    /// The host's state; null for a Rust goroutine's stack.
    pub(crate) state: *mut (),
    /// Below it a goroutine's frames start.
    pub(crate) top: usize,
}

// SAFETY: taking a cached bundle makes it the caller's.
unsafe impl Send for Bound {}

/// A size class's slab: the part that is not yet cut into stacks.
#[derive(Clone, Copy)]
struct Slab {
    next: usize,
    end: usize,
    /// Stacks in the last slab: the next one is twice as large.
    count: usize,
}

/// Cuts stacks out of slabs, one slab list a power of two.
pub(crate) struct Stacks {
    slabs: Locked<[Slab; CLASSES]>,
    /// Written at the start only.
    default_bytes: AtomicUsize,
}

const CLASSES: usize = (MAX_BYTES / MIN_BYTES).trailing_zeros() as usize + 1;

/// See [`set_max_stack`]. An atomic of std's: loom's cannot be static.
static LIMIT: AtomicUsize = AtomicUsize::new(MAX_BYTES);

/// Sets how large a goroutine's stack may be, in bytes (1 GiB at first, from 64 KiB on; a power of two
/// is the largest that is not above); the former limit. For goroutines that begin from now on,
/// whatever they wish.
///
/// Go: `debug.SetMaxStack`.
///
/// # Examples
/// ```
/// let old = go_lib::debug::set_max_stack(8 << 20);
/// assert_eq!(go_lib::debug::set_max_stack(old), 8 << 20);
/// ```
pub fn set_max_stack(bytes: usize) -> usize {
    let bytes = bytes.clamp(MIN_BYTES, MAX_BYTES);
    // Relaxed: a number; nothing is published with it.
    LIMIT.swap(1 << bytes.ilog2(), Ordering::Relaxed)
}

/// The wish as a size class's bytes; 0 is the default.
fn class_bytes(wish: usize, default: usize) -> usize {
    let wish = if wish == 0 { default } else { wish };
    wish.clamp(MIN_BYTES, LIMIT.load(Ordering::Relaxed)).next_power_of_two()
}

impl Stacks {
    pub(crate) fn new() -> Self {
        let none = Slab { next: 0, end: 0, count: 0 };
        Stacks {
            slabs: Locked::new([none; CLASSES]),
            default_bytes: AtomicUsize::new(DEFAULT_BYTES),
        }
    }

    /// Chooses the default size by the limits in force: before the first goroutine.
    pub(crate) fn choose_default(&self) {
        if memory::address_space_is_dear() {
            self.default_bytes.store(DEAR_DEFAULT_BYTES, Ordering::Relaxed);
        }
    }

    /// The size that a wish of `bytes` (0: none) leads to.
    pub(crate) fn size_for(&self, bytes: usize) -> usize {
        class_bytes(bytes, self.default_size())
    }

    /// The size of the stacks that are cached: the default, whatever `set_max_stack` says.
    #[inline(always)]
    pub(crate) fn default_size(&self) -> usize {
        self.default_bytes.load(Ordering::Relaxed)
    }

    /// True if stacks of the default size would fill an address space that was limited after the start, and leave nothing
    /// for anything else.
    fn check_room(&self, bytes: usize) -> io::Result<()> {
        if bytes == self.default_size()
            && bytes > DEAR_DEFAULT_BYTES
            && memory::address_space_is_dear()
        {
            return Err(io::Error::from_raw_os_error(errno::ENOMEM));
        }
        Ok(())
    }

    /// A new stack of the class of `bytes` (a result of [`Stacks::size_for`]).
    ///
    /// # Errors
    /// The kernel's when there is no address space or no mapping left.
    pub(crate) fn cut(&self, bytes: usize) -> io::Result<Stack> {
        debug_assert!(bytes.is_power_of_two() && bytes >= MIN_BYTES);
        let class = (bytes / MIN_BYTES).trailing_zeros() as usize;
        let base = {
            let mut slabs = self.slabs.lock();
            let slab = &mut slabs[class];
            if slab.next == slab.end {
                self.check_room(bytes)?;
                *slab = reserve_slab(bytes, slab.count)?;
            }
            let base = slab.next;
            slab.next += bytes;
            base
        };
        let stack = Stack { lo: base + GUARD_BYTES, hi: base + bytes - colour(base, bytes) };
        // SAFETY: the range was cut for us alone.
        let begun = unsafe {
            memory::guard(base, GUARD_BYTES)
                .and_then(|()| memory::begin_stack(base, stack.hi, WARM_BYTES))
        };
        if let Err(e) = begun {
            let slab = &mut self.slabs.lock()[class];
            if slab.next == base + bytes {
                slab.next = base;
            }
            return Err(e);
        }
        arch::tell_valgrind_of_stack(stack.lo, stack.hi);
        Ok(stack)
    }
}

/// How far the top of the stack at `base` lies below its end. Stacks are a power of two apart: with their
/// tops at the same place they would all compete for one set of the TLB, and of the caches that hold page
/// tables.
fn colour(base: usize, bytes: usize) -> usize {
    let colours = (bytes / COLOURED_PART / MAX_PAGE_BYTES).clamp(1, COLOURS);
    base / bytes % colours * MAX_PAGE_BYTES
}

/// The next slab: twice the last one's stacks, fewer if the kernel refuses. The first one is small: a program of a few
/// goroutines reserves little.
fn reserve_slab(bytes: usize, last_count: usize) -> io::Result<Slab> {
    let most = ((64 << 30) / bytes).clamp(4, 1024);
    let first = ((128 << 20) / bytes).clamp(2, 16);
    let mut count = (last_count * 2).clamp(first, most.max(first));
    // A class's first slab may take the last that there is: a goroutine must run.
    let spare = if last_count == 0 { 0 } else { SPARE_BYTES };
    loop {
        let slab_bytes = count * bytes + 2 * TABLE_BYTES;
        match memory::reserve(slab_bytes, spare) {
            Ok(at) => {
                let aligned = at.next_multiple_of(TABLE_BYTES);
                let next = aligned + TABLE_BYTES / 2;
                return Ok(Slab { next, end: next + count * bytes, count });
            }
            Err(_) if count > 1 => count /= 2,
            Err(e) => return Err(e),
        }
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use std::collections::HashSet;

    use super::{
        class_bytes, colour, Stack, Stacks, COLOURED_PART, COLOURS, DEFAULT_BYTES, GUARD_BYTES,
        MAX_BYTES, MAX_PAGE_BYTES, MIN_BYTES, TABLE_BYTES, WARM_BYTES,
    };

    // On Windows a stack grows only under the thread that runs on it.
    #[cfg(unix)]
    #[test]
    fn a_stack_is_writable_from_end_to_end_and_sized_as_wished() {
        let stacks = Stacks::new();
        for wish in [1, MIN_BYTES, 100_000, 1 << 20, 512 << 20, MAX_BYTES, usize::MAX / 4] {
            let bytes = stacks.size_for(wish);
            assert!(bytes >= wish.min(MAX_BYTES));
            let s = stacks.cut(bytes).expect("address space");
            assert!([s.lo, s.hi, s.hi - WARM_BYTES].iter().all(|at| at % MAX_PAGE_BYTES == 0));
            assert_eq!(s.bytes(), bytes);
            assert!(s.guards(s.lo - 1) && s.guards(s.lo - GUARD_BYTES));
            assert!(!s.guards(s.lo) && !s.guards(s.lo - GUARD_BYTES - 1));
            // SAFETY: the stack is ours and nothing runs on it.
            unsafe {
                (s.lo as *mut u8).write(1);
                ((s.hi - 1) as *mut u8).write(2);
                s.trim();
                let all_warm = s.hi - s.lo == WARM_BYTES;
                assert_eq!((s.lo as *mut u8).read(), u8::from(all_warm), "deep pages go back");
                assert_eq!(((s.hi - 1) as *mut u8).read(), 2, "the top stays");
            }
        }
    }

    #[test]
    fn stacks_of_one_class_do_not_overlap() {
        let stacks = Stacks::new();
        let mut all: Vec<_> =
            (0..50).map(|_| stacks.cut(MIN_BYTES).expect("address space")).collect();
        all.sort_by_key(|s| s.lo);
        assert!(all.windows(2).all(|w| w[0].hi <= w[1].lo - GUARD_BYTES));
    }

    #[test]
    fn the_tops_of_neighbours_have_different_page_numbers_in_the_half_page_table_page() {
        let stacks = Stacks::new();
        for bytes in [1 << 20, 8 << 20, DEFAULT_BYTES] {
            // Of one slab.
            let all: Vec<Stack> = (0..16).map(|_| stacks.cut(bytes).expect("space")).collect();
            let pages: HashSet<usize> = all.iter().map(|s| s.hi % bytes / MAX_PAGE_BYTES).collect();
            let colours = (bytes / COLOURED_PART / MAX_PAGE_BYTES).clamp(1, COLOURS);
            assert_eq!(pages.len(), all.len().min(colours), "{bytes}");
            assert!(all.iter().all(|s| s.bytes() == bytes));
            // All that a goroutine uses at first, and the next one's guard.
            let table = |at: usize| at / TABLE_BYTES;
            let end = |s: &Stack| s.lo - GUARD_BYTES + bytes;
            let half = |s: &Stack| table(s.hi - WARM_BYTES) == table(end(s));
            assert!(cfg!(target_arch = "aarch64") || bytes < TABLE_BYTES || all.iter().all(half));
        }
    }

    #[test]
    fn a_colour_takes_an_eighth_of_a_stack_at_most_and_comes_back_after_all_the_others() {
        let classes = std::iter::successors(Some(MIN_BYTES), |b| Some(b * 2));
        for bytes in classes.take_while(|bytes| *bytes <= MAX_BYTES) {
            let all: Vec<usize> = (0..2 * COLOURS).map(|i| colour(i * bytes, bytes)).collect();
            assert!(all.iter().all(|c| c % MAX_PAGE_BYTES == 0 && *c <= bytes / COLOURED_PART));
            let different = all.iter().collect::<HashSet<_>>().len();
            let most = (bytes / COLOURED_PART / MAX_PAGE_BYTES).min(COLOURS);
            assert_eq!(different, most.max(1));
            assert_eq!(all[..COLOURS], all[COLOURS..]);
            for c in all {
                let stack = Stack { lo: GUARD_BYTES, hi: bytes - c };
                assert_eq!(stack.bytes(), bytes, "of colour {c}");
            }
        }
    }

    #[test]
    fn a_wish_is_rounded_up_to_a_class_and_none_is_the_default() {
        assert_eq!(class_bytes(0, DEFAULT_BYTES), DEFAULT_BYTES);
        assert_eq!(class_bytes(1, DEFAULT_BYTES), MIN_BYTES);
        assert_eq!(class_bytes(MIN_BYTES + 1, DEFAULT_BYTES), 2 * MIN_BYTES);
        assert_eq!(class_bytes(MAX_BYTES - 1, DEFAULT_BYTES), MAX_BYTES);
        assert_eq!(class_bytes(usize::MAX, DEFAULT_BYTES), MAX_BYTES);
    }

    #[test]
    fn no_stack_has_no_size_and_guards_nothing() {
        assert!(Stack::NONE.is_none() && Stack::NONE.bytes() == 0);
        assert!([0, 1, GUARD_BYTES, usize::MAX].iter().all(|at| !Stack::NONE.guards(*at)));
    }
}
