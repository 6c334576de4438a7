//! Thread states: one per goroutine, one attached per OS thread that holds the GIL.

use std::os::raw::{c_char, c_ulong};
use std::ptr::NonNull;

use pyo3::ffi::{PyObject, PyThreadState};

use super::ffi;

/// A goroutine's `PyThreadState`. Copyable like the pointer that it is; each function says when it may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct ThreadState(NonNull<PyThreadState>);

// SAFETY: a pointer; each function below says which thread may call it when.
unsafe impl Send for ThreadState {}
// SAFETY: no method but the unsafe ones uses the pointer.
unsafe impl Sync for ThreadState {}

impl ThreadState {
    /// A new state, neither attached nor bound; `None` when memory is short (no exception is set). With or without the
    /// GIL.
    pub fn new() -> Option<Self> {
        // SAFETY: callable in any state of the calling thread.
        NonNull::new(unsafe { ffi::golib_ts_new() }).map(Self)
    }

    /// The state that `ptr` points to.
    pub fn from_ptr(ptr: *mut PyThreadState) -> Option<Self> {
        NonNull::new(ptr).map(Self)
    }

    /// The raw pointer.
    pub fn as_ptr(self) -> *mut PyThreadState {
        self.0.as_ptr()
    }

    /// The attached state of this OS thread.
    ///
    /// # Safety
    /// On 3.11 the GIL is held by this OS thread (there the answer is the process's, not the thread's).
    #[inline]
    pub unsafe fn current() -> Option<Self> {
        // SAFETY: reads one word.
        NonNull::new(unsafe { ffi::golib_ts_current() }).map(Self)
    }

    /// Prepares the state for a goroutine's first run on the stack `[lo, hi)`; returns where its C stack may start.
    ///
    /// # Safety
    /// The state is new or retired, and not attached; the stack is mapped, `hi` is page-aligned, and the stack outlives
    /// the goroutine (until [`retire`](Self::retire) or [`delete_current`](Self::delete_current)).
    pub unsafe fn arm(self, lo: *mut u8, hi: *mut u8) -> *mut u8 {
        // SAFETY: not attached, so nobody reads it; the stack outlives it.
        unsafe { ffi::golib_ts_arm(self.as_ptr(), lo.cast::<c_char>(), hi.cast::<c_char>()).cast() }
    }

    /// Sets what `threading.get_ident()` says in this state.
    ///
    /// # Safety
    /// The state is alive and used by nobody else.
    pub unsafe fn set_ident(self, ident: c_ulong) {
        // SAFETY: alive, and used by nobody else.
        unsafe { ffi::golib_ts_set_ident(self.as_ptr(), ident) }
    }

    /// The result of `threading.get_ident()` in this state.
    ///
    /// # Safety
    /// The state is alive.
    pub unsafe fn ident(self) -> c_ulong {
        // SAFETY: alive.
        unsafe { ffi::golib_ts_ident(self.as_ptr()) }
    }

    /// The state's goroutine has an entry in threading's table, which is taken out at its end.
    ///
    /// # Errors
    /// `Err(())`: a Python exception is set.
    ///
    /// # Safety
    /// The state is attached on this OS thread.
    pub unsafe fn mark_thread(self) -> Result<(), ()> {
        // SAFETY: attached here.
        if unsafe { ffi::golib_identity_mark(self.as_ptr()) } < 0 {
            return Err(());
        }
        Ok(())
    }

    /// Takes the GIL on this OS thread for this state.
    ///
    /// # Safety
    /// No state is attached on this OS thread, this state nowhere. During finalization this does not return: the frames
    /// below must hold nothing that needs dropping, and have no landing pad (3.11 to 3.13 end the thread by unwinding).
    #[inline]
    pub unsafe fn attach(self) {
        // SAFETY: attached nowhere, and this thread has no state attached.
        unsafe { ffi::golib_ts_attach(self.as_ptr()) }
    }

    /// Releases the GIL; afterwards no state is bound to this OS thread.
    ///
    /// # Safety
    /// The state is attached on this OS thread, which has no Python thread state of its own.
    #[inline]
    pub unsafe fn detach(self) {
        // SAFETY: attached here, and this thread has no other state.
        unsafe { ffi::golib_ts_detach(self.as_ptr()) }
    }

    /// Detaches `self` and attaches `to`, usually by a few stores. Other threads may run Python code in between.
    ///
    /// # Safety
    /// `self` is attached on this OS thread and can be attached by nobody else before this returns; `to` is attached
    /// nowhere.
    #[inline]
    pub unsafe fn swap(self, to: Self) {
        // SAFETY: `self` is attached here and `to` nowhere.
        unsafe { ffi::golib_ts_swap(self.as_ptr(), to.as_ptr()) }
    }

    /// As [`swap`](Self::swap), if a few stores will do: no other thread runs in between. False: nothing was done.
    ///
    /// # Safety
    /// As [`swap`](Self::swap).
    #[inline]
    pub unsafe fn swap_at_once(self, to: Self) -> bool {
        // SAFETY: `self` is attached here and `to` nowhere.
        unsafe { ffi::golib_ts_swap_at_once(self.as_ptr(), to.as_ptr()) != 0 }
    }

    /// Ends the state's use for its goroutine if nothing is left in it: true: it may be armed again; false: delete it.
    /// `None`: something is left, and nothing was done. Runs no Python code.
    ///
    /// # Safety
    /// The state is attached on this OS thread, and no frame of its goroutine is left but the entry.
    #[inline]
    pub unsafe fn retire(self) -> Option<bool> {
        // SAFETY: attached here, with no frame left but the entry.
        let retired = unsafe { ffi::golib_ts_retire(self.as_ptr()) };
        (retired >= 0).then_some(retired != 0)
    }

    /// After [`retire`](Self::retire): ends what libraries keep for the goroutine on this OS thread.
    ///
    /// # Safety
    /// As [`retire`](Self::retire), on the goroutine's own stack.
    #[inline]
    pub unsafe fn leave_thread(self) {
        // SAFETY: attached here, on the goroutine's own stack.
        unsafe { ffi::golib_identity_leave(self.as_ptr()) }
    }

    /// Drops what is left in the state; Python code that this runs may wait, and leave something again. False: delete the
    /// state, whatever [`retire`](Self::retire) says.
    ///
    /// # Safety
    /// As [`retire`](Self::retire); on the goroutine's own stack.
    pub unsafe fn drop_leftovers(self) -> bool {
        // SAFETY: attached here, on the goroutine's own stack: what it drops may run Python code.
        unsafe { ffi::golib_ts_drop(self.as_ptr()) != 0 }
    }

    /// Empties a state that is refilled each time it is emptied; what is left is never freed.
    ///
    /// # Safety
    /// As [`drop_leftovers`](Self::drop_leftovers).
    pub unsafe fn abandon(self) {
        // SAFETY: attached here, on the goroutine's own stack.
        unsafe { ffi::golib_ts_abandon(self.as_ptr()) }
    }

    /// Frees the attached state, which is retired, and releases the GIL.
    ///
    /// # Safety
    /// The state is attached on this OS thread, and nobody uses it afterwards.
    pub unsafe fn delete_current(self) {
        // SAFETY: attached here, and never used again.
        unsafe { ffi::golib_ts_delete_current(self.as_ptr()) }
    }

    /// Makes `ctx` the contextvars context; steals the reference (null: none).
    ///
    /// # Safety
    /// The GIL is held; `ctx` is null or an owned reference to a `contextvars.Context` that nobody has entered.
    #[inline]
    pub unsafe fn set_vars(self, ctx: *mut PyObject) {
        // SAFETY: nobody has entered `ctx`, whose reference is given.
        unsafe { ffi::golib_ts_set_vars(self.as_ptr(), ctx) }
    }

    /// `function(*args, **kwargs)` as the outermost call of the goroutine whose handle is `owner`: a new reference, or null
    /// with an exception set. Nothing between this and the eval loop has a landing pad.
    ///
    /// # Safety
    /// The state is attached on this OS thread; `args` is a tuple, `kwargs` a dict or null, all borrowed.
    pub unsafe fn call(
        self,
        owner: *mut PyObject,
        function: *mut PyObject,
        args: *mut PyObject,
        kwargs: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: attached here; the caller holds the arguments.
        unsafe { ffi::golib_call(self.as_ptr(), owner.cast(), function, args, kwargs) }
    }
}

/// The ident of goroutine number `goid`; never equal to a `pthread_t`.
///
/// # Safety
/// The GIL is held.
pub unsafe fn ident_of(goid: u64) -> c_ulong {
    // SAFETY: reads the interpreter's range of idents, for which the GIL suffices.
    unsafe { ffi::golib_ident_of(goid) }
}

/// The goroutine whose handle is `owner` begins with the trace and profile functions of the calling thread.
///
/// # Errors
/// `Err(())`: a Python exception is set.
///
/// # Safety
/// The thread's own state is attached; [`take_back_hooks`] comes before the handle dies.
pub unsafe fn lend_hooks(owner: *mut PyObject) -> Result<(), ()> {
    // SAFETY: the attached state is the thread's own, and the handle is alive.
    if unsafe { ffi::golib_hooks_lend(owner.cast()) } < 0 {
        return Err(());
    }
    Ok(())
}

/// The calling thread gets the functions with which `owner` ended, if it has.
///
/// # Safety
/// As [`lend_hooks`], on the same thread.
pub unsafe fn take_back_hooks(owner: *mut PyObject) {
    // SAFETY: the attached state is the thread's own, and the handle is alive.
    unsafe { ffi::golib_hooks_take_back(owner.cast()) }
}

/// In a forked child: forgets what was lent, but to `owner` (null: to nobody).
///
/// # Safety
/// The GIL is held.
pub unsafe fn forget_hooks(owner: *mut PyObject) {
    // SAFETY: changes the list of what is lent, for which the GIL suffices.
    unsafe { ffi::golib_hooks_after_fork(owner.cast()) }
}

/// `PyEval_SaveThread` for an OS thread with a state of its own; the state stays bound to the thread.
///
/// # Safety
/// The thread's own state is attached.
pub unsafe fn thread_save() -> *mut PyThreadState {
    // SAFETY: the attached state is the thread's own.
    unsafe { ffi::golib_thread_save() }
}

/// `PyEval_RestoreThread` for an OS thread with a state of its own.
///
/// # Safety
/// `ts` came from [`thread_save`] on this OS thread. As for [`ThreadState::attach`], this may not return.
pub unsafe fn thread_restore(ts: *mut PyThreadState) {
    // SAFETY: `ts` is this thread's, and no state is attached.
    unsafe { ffi::golib_thread_restore(ts) }
}

/// A copy of the current contextvars context for a goroutine spawned now; null when there is none to copy, which is free.
///
/// # Errors
/// `Err(())`: a Python exception is set.
///
/// # Safety
/// The GIL is held.
#[inline]
pub unsafe fn vars_for_spawn() -> Result<*mut PyObject, ()> {
    let mut context = std::ptr::null_mut();
    // SAFETY: the GIL is held (caller); the slot is ours.
    if unsafe { ffi::golib_vars_copy(&mut context) } < 0 {
        return Err(());
    }
    Ok(context)
}

/// Takes the part of Python's frame stack that lies in C stacks out of every state but `except`, so that CPython may delete
/// them: at exit. (A forked child does it by itself.)
///
/// # Safety
/// The GIL is held.
pub unsafe fn unlink_all_chunks(except: Option<ThreadState>) {
    let except = except.map_or(std::ptr::null_mut(), ThreadState::as_ptr);
    // SAFETY: with the GIL no state runs; `except` is alive or null.
    unsafe { ffi::golib_ts_unlink_all(except) }
}

/// A swap writes CPython's slot directly; otherwise it goes through `PyThreadState_Swap`. For `runtime.stats()`.
pub fn swap_is_direct() -> bool {
    // SAFETY: reads one word that is written at import only.
    unsafe { ffi::golib_swap_is_direct() != 0 }
}
