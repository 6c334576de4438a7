//! Tells AddressSanitizer of switches, in builds with `--cfg golib_asan`; does nothing in others.
//!
//! AddressSanitizer marks the memory around a frame's variables. A call that does not return leaves marks
//! behind, as does a panic, so it first removes them all, if it knows where the stack is. If it does not,
//! the marks stay and are wrong for the next goroutine on this stack.

#[cfg(golib_asan)]
mod told {
    use std::ffi::c_void;
    use std::ptr::null_mut;

    unsafe extern "C" {
        fn __sanitizer_start_switch_fiber(fake: *mut *mut c_void, low: *const c_void, size: usize);
        fn __sanitizer_finish_switch_fiber(
            fake: *mut c_void,
            low: *mut *const c_void,
            size: *mut usize,
        );
    }

    /// Announces a switch to the stack `lo..hi`.
    pub(crate) fn leaves_for(lo: usize, hi: usize) {
        // SAFETY: it only notes where the stack is. No frame lies elsewhere, because detect_stack_use_after_return is off.
        unsafe { __sanitizer_start_switch_fiber(null_mut(), lo as *const c_void, hi - lo) };
    }

    /// Announces a switch to the thread's own stack.
    pub(crate) fn leaves_for_g0() {
        // SAFETY: the kernel's and the C library's answers about this thread; attr is initialized by
        // the first call and freed by the last.
        let (lo, size) = unsafe {
            let mut attr: libc::pthread_attr_t = std::mem::zeroed();
            let (mut lo, mut size) = (null_mut(), 0);
            libc::pthread_getattr_np(libc::pthread_self(), &mut attr);
            libc::pthread_attr_getstack(&attr, &mut lo, &mut size);
            libc::pthread_attr_destroy(&mut attr);
            (lo as usize, size)
        };
        leaves_for(lo, lo + size);
    }

    /// Completes a switch.
    pub(crate) fn has_come() {
        // SAFETY: as above; the stack that was left is not asked for.
        unsafe { __sanitizer_finish_switch_fiber(null_mut(), null_mut(), null_mut()) };
    }
}
#[cfg(golib_asan)]
pub(crate) use told::{has_come, leaves_for, leaves_for_g0};

#[cfg(not(golib_asan))]
mod untold {
    #[inline(always)]
    pub(crate) fn leaves_for(_lo: usize, _hi: usize) {}
    #[inline(always)]
    pub(crate) fn leaves_for_g0() {}
    #[inline(always)]
    pub(crate) fn has_come() {}
}
#[cfg(not(golib_asan))]
pub(crate) use untold::{has_come, leaves_for, leaves_for_g0};
