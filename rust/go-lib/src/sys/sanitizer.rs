//! Tells AddressSanitizer of switches, in builds with `--cfg golib_asan`; does nothing in others.
//!
//! It marks what surrounds the variables of a frame. A call that does not return leaves marks behind, as
//! does a panic; so they are all taken away before, if it is known where the stack is. Otherwise they
//! stay for the next goroutine on this stack, where they are false.

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

    /// The next switch is to the stack `lo..hi`.
    pub(crate) fn leaves_for(lo: usize, hi: usize) {
        // SAFETY: notes where the stack is. No frame is kept elsewhere: detect_stack_use_after_return is off.
        unsafe { __sanitizer_start_switch_fiber(null_mut(), lo as *const c_void, hi - lo) };
    }

    /// The next switch is to the thread's own stack.
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

    /// The switch has been made.
    pub(crate) fn has_come() {
        // SAFETY: as above; nobody asks which stack was left.
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
