//! The function that a Rust goroutine starts with.
//!
//! A small one lies in the G itself, so that spawning it allocates nothing: the CPU that ends the goroutine would often
//! have to free what another one had allocated.
//!
//! # Invariants
//! 1. `take` is some while `data` holds a function, or a box with one; it knows which, and of what type.

use std::mem::{align_of, size_of, MaybeUninit};

/// Room for a function in place.
const WORDS: usize = 7;

type Data = MaybeUninit<[usize; WORDS]>;

/// A function to be called once, or nothing.
pub(crate) struct Start {
    take: Option<unsafe fn(*mut Data, call: bool)>,
    data: Data,
}

impl Start {
    pub(crate) const NONE: Start = Start { take: None, data: MaybeUninit::uninit() };

    pub(crate) fn new<F: FnOnce() + Send + 'static>(f: F) -> Start {
        // SAFETY: it may live forever.
        unsafe { Self::of_borrower(f) }
    }

    /// Of a function that borrows.
    ///
    /// # Safety
    /// It is called, or dropped, before what it borrows is gone.
    pub(crate) unsafe fn of_borrower<F: FnOnce() + Send>(f: F) -> Start {
        let mut start = Start::NONE;
        let data = &raw mut start.data;
        // SAFETY: there is room for either, and the alignment is right.
        unsafe {
            if size_of::<F>() <= size_of::<Data>() && align_of::<F>() <= align_of::<Data>() {
                data.cast::<F>().write(f);
                start.take = Some(take_in_place::<F>);
            } else {
                data.cast::<*mut F>().write(Box::into_raw(Box::new(f)));
                start.take = Some(take_boxed::<F>);
            }
        }
        start
    }

    /// Calls the function, which is gone then, even if it panics.
    pub(crate) fn call(&mut self) {
        if let Some(take) = self.take.take() {
            // SAFETY: by 1.
            unsafe { take(&raw mut self.data, true) };
        }
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(take) = self.take.take() {
            // SAFETY: by 1.
            unsafe { take(&raw mut self.data, false) };
        }
    }
}

/// # Safety
/// `data` holds an `F`, which is moved out.
unsafe fn take_in_place<F: FnOnce()>(data: *mut Data, call: bool) {
    // SAFETY: the caller's duty.
    let f = unsafe { data.cast::<F>().read() };
    if call {
        f();
    }
}

/// # Safety
/// `data` holds a box with an `F`, which is moved out.
unsafe fn take_boxed<F: FnOnce()>(data: *mut Data, call: bool) {
    // SAFETY: the caller's duty.
    let f = unsafe { Box::from_raw(data.cast::<*mut F>().read()) };
    if call {
        f();
    }
}

#[cfg(all(test, not(golib_loom)))]
mod tests {
    use super::{Start, WORDS};
    use std::panic::{catch_unwind, AssertUnwindSafe};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::Arc;

    /// Counts its drops.
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[repr(align(64))]
    struct Aligned(u8);

    /// Makes one start of each kind with `f`: small, large, of a large alignment.
    fn each_kind(f: impl Fn() + Copy + Send + 'static, check: impl Fn(Start, &AtomicUsize)) {
        let drops = Arc::new(AtomicUsize::new(0));
        let counted = || Counted(drops.clone());
        let c = counted();
        check(Start::new(move || (drop(c), f()).1), &drops);
        let (c, large) = (counted(), [7u8; 8 * WORDS]);
        check(Start::new(move || (drop(c), assert_eq!(large, [7; 8 * WORDS]), f()).2), &drops);
        let (c, aligned) = (counted(), Aligned(7));
        let aligned = move || {
            drop(c);
            assert_eq!((&raw const aligned as usize % 64, aligned.0), (0, 7));
            f();
        };
        check(Start::new(aligned), &drops);
        assert_eq!(drops.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn it_is_called_once() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        let f = || {
            CALLS.fetch_add(1, Ordering::Relaxed);
        };
        each_kind(f, |mut start, drops| {
            let before = drops.load(Ordering::Relaxed);
            start.call();
            assert_eq!(drops.load(Ordering::Relaxed), before + 1);
            start.call();
        });
        assert_eq!(CALLS.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_is_not_called_is_dropped() {
        each_kind(|| panic!("called"), |start, _| drop(start));
        drop(Start::NONE);
    }

    #[test]
    fn a_panic_leaves_nothing() {
        each_kind(
            || std::panic::resume_unwind(Box::new("expected")),
            |mut start, _| {
                assert!(catch_unwind(AssertUnwindSafe(|| start.call())).is_err());
                start.call();
            },
        );
    }
}
