//! A forked child: everything starts afresh there.

use std::ptr;

use go_lib::runtime::embedder::{self, ForkChild};

use crate::bridge::{alarm, attach, deadlock, exit, main_thread, news};
use crate::core::context::ambient;
use crate::core::goroutine;
use crate::cpython::{identity, tstate};
use crate::ffi::gil::Gil;
use crate::ffi::obj::{self, Raw};
use crate::types::{group, patch};

/// In a forked child, before CPython has done anything there.
///
/// # Safety
/// See `cpython::runtime::RuntimeTable`.
pub(crate) unsafe extern "C" fn in_forked_child() {
    // SAFETY: called once in the child, by its only thread; no Python object is touched but for a flag of the handle.
    unsafe {
        let forker: Raw = embedder::current_host().cast();
        let in_goroutine = embedder::after_fork_in_child() == ForkChild::Goroutine;
        let me = if in_goroutine { embedder::current() } else { None };
        attach::after_fork(in_goroutine);
        exit::after_fork();
        main_thread::after_fork(me);
        deadlock::after_fork(me);
        news::after_fork();
        goroutine::set_child_root(if in_goroutine { forker } else { ptr::null_mut() });
        super::run::after_fork();
        alarm::after_fork();
        group::after_fork();
        patch::after_fork();
        goroutine::forget_unread();
    }
}

/// `_golib._after_fork()`: a hook in a forked child, before the program's own.
pub(crate) unsafe extern "C" fn after_fork(_: Raw, _: Raw) -> Raw {
    // SAFETY: called in the child, with the GIL held; the runtime has started afresh.
    unsafe {
        ambient::after_fork(Gil::assume());
        tstate::forget_hooks(embedder::current_host().cast());
        obj::none()
    }
}

/// `_golib._hook_child(hook)`: calls `hook()` in every forked child, before the program's own hooks.
pub(crate) unsafe extern "C" fn hook_child(_: Raw, hook: Raw) -> Raw {
    // SAFETY: a METH_O function.
    unsafe {
        if identity::hook_child(hook) < 0 {
            return ptr::null_mut();
        }
        obj::none()
    }
}
