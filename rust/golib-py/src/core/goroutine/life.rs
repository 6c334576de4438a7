//! The functions on a goroutine's stack, from its entry to its end.

use super::handle::Goroutine;
use super::name::name_of;
use super::{child, end, stand_in, unread};
use crate::bridge::main_thread;
use crate::core::context::ambient;
use crate::core::context::entry::Member;
use crate::cpython::{tstate, ThreadState};
use crate::ffi::class::{this, Object};
use crate::ffi::errors;
use crate::ffi::gil::Gil;
use crate::ffi::obj::Raw;
use crate::ffi::python::{is_error_of, none, raise_object, system_exit, take_error};
use crate::ffi::refs::{release, New, Ref};

/// A goroutine's life, on its own stack. True: the state may serve another goroutine.
///
/// # Safety
/// `slf` is a handle whose goroutine this is, `ts` its state, attached on this thread. By 1 and 4.
pub(crate) unsafe extern "C-unwind" fn goroutine_main(slf: Raw, ts: ThreadState) -> bool {
    // SAFETY: as the caller says.
    unsafe {
        let (gil, g) = (Gil::assume(), this::<Goroutine>(slf));
        let x = gil.exclusive();
        let goid = g.g().goid();
        let is_main = g.is_main.get(x);
        ts.set_ident(if is_main { main_thread::ident() as _ } else { tstate::ident_of(goid) });
        ts.set_vars(g.vars.take(x).map_or(std::ptr::null_mut(), New::give));
        stand_in::begins(gil, g, ts);
        let result = match g.pending.take(x) {
            None => {
                let (args, kwargs) = (g.args.as_raw(x), g.kwargs.as_raw(x));
                New::nullable(ts.call(slf, g.function.as_raw(x), args, kwargs))
            }
            Some(pending) => {
                let _ = raise_object(gil, pending);
                None
            }
        };
        finish(gil, g, result);
        let member = if g.holder.get(x).is_null() { None } else { end_holder(gil, g) };
        child::end_if_forked(gil, g);
        if stand_in::ends(gil, g) {
            // The thread that waits for the end is the main thread again.
            ts.set_ident(tstate::ident_of(goid));
        }
        g.done.set();
        if let Some(Member { group, hooks }) = member {
            (hooks.left)(group);
        }
        end::end(gil, g, ts)
    }
}

/// Keeps what the function came to and releases the function.
#[inline]
fn finish(gil: Gil<'_>, g: &Object<Goroutine>, result: Option<New>) {
    let x = gil.exclusive();
    match result {
        Some(result) => release(gil, g.result.put(x, Some(result))),
        None => finish_with_error(gil, g),
    }
    if g.name.is_empty(x) && (g.object().is_shared(gil) || g.unread.get(x)) {
        // SAFETY: the function is in its slot until the goroutine itself takes it out.
        let name = unsafe { g.function.peek(x) }.and_then(|function| name_of(gil, function));
        release(gil, g.name.put(x, name));
    }
    g.args.clear(gil);
    g.kwargs.clear(gil);
    g.function.clear(gil);
}

/// Gives up what it had for ambient contexts; its membership in a group, which has been told how it ended. The caller owns it.
/// Never inlined, by 4: it has something to drop.
#[inline(never)]
fn end_holder(gil: Gil<'_>, g: &Object<Goroutine>) -> Option<Member> {
    let mut member = None;
    loop {
        // Objects that are dropped here may need a holder again.
        let holder = g.holder.replace(gil.exclusive(), std::ptr::null());
        if holder.is_null() {
            return member;
        }
        // SAFETY: the handle's share; a member's group, and a member.
        unsafe {
            let of_holder = (*holder).take_member();
            ambient::end(holder);
            if let Some(Member { group, hooks }) = of_holder {
                member = of_holder;
                (hooks.ended)(group, g.object().as_raw());
            }
        }
    }
}

#[cold]
#[inline(never)]
fn finish_with_error(gil: Gil<'_>, g: &Object<Goroutine>) {
    let x = gil.exclusive();
    let Some(error) = take_error(gil) else { return };
    // SAFETY: found at import, and kept.
    let [goexit, cancelled] =
        [&errors::GOEXIT, &errors::CANCELLED].map(|class| unsafe { Ref::borrowed(class.get()) });
    let is = |class| is_error_of(gil, error.get(), class);
    if is(goexit) {
        error.release(gil);
        release(gil, g.result.put(x, Some(none(gil))));
        return;
    }
    if !is(cancelled) && !is(system_exit()) {
        unread::remember(gil, g);
    }
    release(gil, g.error.put(x, Some(error)));
}
