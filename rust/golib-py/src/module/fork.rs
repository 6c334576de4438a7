//! A forked child: everything starts afresh there.

use std::ptr;

use go_lib::runtime::embedder::{self, ForkChild};

use crate::bridge::{alarm, attach, deadlock, exit, main_thread, news};
use crate::core::context::ambient;
use crate::core::goroutine;
use crate::cpython::{identity, tstate};
use crate::ffi::class::Object;
use crate::ffi::gil::Gil;
use crate::ffi::methods::{Method, Module};
use crate::ffi::obj::Raw;
use crate::ffi::python::none;
use crate::ffi::refs::{New, Outcome, Raised, Ref};
use crate::types::{group, patch};

/// See `cpython::runtime::RuntimeTable`: what a fork calls.
pub(super) const BEFORE: Option<unsafe extern "C" fn()> = Some(before_fork);
pub(super) const CHILD: Option<unsafe extern "C" fn()> = Some(in_forked_child);

unsafe extern "C" fn before_fork() {
    embedder::before_fork();
}

/// In a forked child, before CPython has done anything there.
///
/// # Safety
/// See `cpython::runtime::RuntimeTable`.
unsafe extern "C" fn in_forked_child() {
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

/// `_golib._after_fork()`: a hook in a forked child, before the program's own. The runtime has started afresh.
fn after_fork(gil: Gil<'_>, _: &Object<Module>) -> Outcome<New> {
    ambient::after_fork(gil);
    // SAFETY: the token; the caller's goroutine, or none.
    unsafe { tstate::forget_hooks(embedder::current_host().cast()) };
    Ok(none(gil))
}

/// `_golib._hook_child(hook)`: calls `hook()` in every forked child, before the program's own hooks.
fn hook_child(gil: Gil<'_>, _: &Object<Module>, hook: Ref<'_>) -> Outcome<New> {
    // SAFETY: alive; an exception is set if it fails.
    unsafe {
        if identity::hook_child(hook.as_raw()) < 0 {
            return Err(Raised::assume());
        }
    }
    Ok(none(gil))
}

/// The function `_after_fork`.
pub(super) const AFTER_FORK: Method<Module> =
    Method::noargs(c"_after_fork", after_fork, c"For the Python part of golib.");

/// The function `_hook_child`.
pub(super) const HOOK_CHILD: Method<Module> =
    Method::one(c"_hook_child", hook_child, c"For the Python part of golib.");
