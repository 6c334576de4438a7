//! The ambient contexts of a goroutine or thread: under which of them it runs now.
//!
//! A `with` block pushes an [`Entry`] onto the stack of its [`Holder`]. The entry also hangs in the list of the node that
//! its context depends on, so that a cancellation finds those who run under it and interrupts them.
//!
//! # How a cancelled holder leaves its waits, and an uncancelled one pays nothing
//! While any context of the stack, down to the nearest shield, is cancelled, the interrupt of the holder's G stays pending
//! (PENDING in its claim word). A wait that would begin is then refused, so each blocking operation fails, at once and
//! for as long as the block lasts; one that need not wait does not look. [`settle`] restores that after every change.
//!
//! # Invariants
//! 1. Everything here is read and written with the GIL held.
//! 2. An entry is in its holder's stack and in a list by its context (`list_of`) from its push to its pop, which frees it.
//! 3. A holder lives as long as its goroutine or thread and all its entries. A block may be left by another goroutine than
//!    entered it (a generator's, when the collector closes it), also after the end of the one that did.
//! 4. The interrupt of a holder's G is pending if a visible entry's context is cancelled.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::{self, GRef};
use pyo3::ffi;

use super::entry::{Block, Entry, Holder, Member};
use super::node::{background, is_done, text_of, ContextObj, Kind};
use super::tree;
use crate::core::goroutine::handle::GoroutineObj;
use crate::ffi::errors;
use crate::ffi::obj::Raw;
use crate::ffi::raw::instance;

thread_local! {
    /// The holder of a thread that runs no goroutine.
    static OF_THREAD: ThreadHolder = const { ThreadHolder(Cell::new(ptr::null())) };
}

/// A thread's share of its holder. A thread ends without the GIL: what is left in the stack belongs to generators.
struct ThreadHolder(Cell<*const Holder>);

impl Drop for ThreadHolder {
    fn drop(&mut self) {
        let holder = self.0.get();
        if !holder.is_null() {
            // SAFETY: the share that `current_or_new` made. A holder's drop touches no Python object: it has no group.
            unsafe { drop(Arc::from_raw(holder)) };
        }
    }
}

/// The caller's holder; null if it never needed one.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn current() -> *const Holder {
    let host: Raw = embedder::current_host().cast();
    if host.is_null() {
        return OF_THREAD.with(|own| own.0.get());
    }
    // SAFETY: a host goroutine's payload is its handle.
    unsafe { GoroutineObj::holder(host) }
}

/// The caller's holder.
unsafe fn current_or_new() -> *const Holder {
    let host: Raw = embedder::current_host().cast();
    if !host.is_null() {
        // SAFETY: as in current.
        return unsafe { of_goroutine(host) };
    }
    OF_THREAD.with(|own| {
        if own.0.get().is_null() {
            let holder = Holder::new(None);
            holder.gref.set(Some(embedder::current_or_thread()));
            own.0.set(Arc::into_raw(holder));
        }
        own.0.get()
    })
}

/// The holder of the goroutine with the handle `slf`, which has not ended.
pub(super) unsafe fn of_goroutine(slf: Raw) -> *const Holder {
    // SAFETY: a handle; the GIL is held.
    unsafe {
        let mut holder = GoroutineObj::holder(slf);
        if holder.is_null() {
            let new = Holder::new(None);
            new.gref.set(Some(GoroutineObj::gref(slf)));
            holder = Arc::into_raw(new);
            GoroutineObj::set_holder(slf, holder);
        }
        holder
    }
}

/// The holder of a goroutine that is being made, which belongs to a group (a new reference is taken) with the context `ctx`.
///
/// # Safety
/// The GIL is held; both are what they should be.
pub(crate) unsafe fn for_member(member: Member, ctx: Raw) -> *const Holder {
    // SAFETY: the caller's duty.
    unsafe {
        ffi::Py_INCREF(member.group);
        let holder = Arc::into_raw(Holder::new(Some(member)));
        ffi::Py_INCREF(ctx);
        put_base(&*holder, ctx);
        holder
    }
}

/// The goroutine of `h` has its G now.
pub(crate) fn has_goroutine(h: &Holder, gref: GRef) {
    h.gref.set(Some(gref));
    // SAFETY: the GIL is held by who starts a goroutine.
    if unsafe { !visible_cancelled(h).is_null() } {
        gref.interrupt();
    }
}

/// The end of a goroutine, or of one that could not be started: gives its share of the holder back.
///
/// # Safety
/// The GIL is held; `holder` is the handle's, which forgot it.
pub(crate) unsafe fn end(holder: *const Holder) {
    // SAFETY: the caller's duty.
    unsafe {
        let h = &*holder;
        let base = h.base.replace(ptr::null_mut());
        if !base.is_null() {
            free(base);
        }
        h.gref.set(None);
        let member = h.take_member();
        drop(Arc::from_raw(holder));
        if let Some(member) = member {
            ffi::Py_DECREF(member.group);
        }
    }
}

/// Puts `ctx` (taken over) under everything in the holder's stack.
unsafe fn put_base(h: &Holder, ctx: Raw) {
    // SAFETY: by 1; the base is freed with the goroutine's end, before the holder.
    unsafe {
        let base = Box::into_raw(Box::new(Entry { ctx, holder: h, ..Entry::EMPTY }));
        h.base.set(base);
        let mut lowest = h.top.get();
        if lowest.is_null() {
            h.top.set(base);
        } else {
            while !(*lowest).below.is_null() {
                lowest = (*lowest).below;
            }
            (*lowest).below = base;
            (*base).above = lowest;
        }
        enlist(base);
    }
}

/// In whose list the blocks under `ctx` are: its node's, or its own if nothing can cancel it.
unsafe fn list_of(ctx: Raw) -> *mut ContextObj {
    // SAFETY: by 1; who asks holds the context and by that the node.
    unsafe {
        let c = instance::<ContextObj>(ctx);
        if (*c).node.is_null() {
            c
        } else {
            (*c).node
        }
    }
}

/// Enters that list.
unsafe fn enlist(e: *mut Entry) {
    // SAFETY: by 1.
    unsafe {
        let list = list_of((*e).ctx);
        (*e).next = (*list).entries;
        if !(*e).next.is_null() {
            (*(*e).next).prev = e;
        }
        (*list).entries = e;
    }
}

/// Leaves that list.
unsafe fn delist(e: *mut Entry) {
    // SAFETY: as enlist.
    unsafe {
        if !(*e).next.is_null() {
            (*(*e).next).prev = (*e).prev;
        }
        if (*e).prev.is_null() {
            (*list_of((*e).ctx)).entries = (*e).next;
        } else {
            (*(*e).prev).next = (*e).next;
        }
        (*e).prev = ptr::null_mut();
        (*e).next = ptr::null_mut();
    }
}

/// Takes the entry out of both lists and frees it.
unsafe fn free(e: *mut Entry) {
    // SAFETY: by 2 and 3.
    unsafe {
        delist(e);
        let h = &*(*e).holder;
        if (*e).above.is_null() {
            h.top.set((*e).below);
        } else {
            (*(*e).above).below = (*e).below;
        }
        if !(*e).below.is_null() {
            (*(*e).below).above = (*e).above;
        }
        let ctx = (*e).ctx;
        drop(Box::from_raw(e));
        ffi::Py_DECREF(ctx);
    }
}

/// Begins a block under `ctx`, which is taken over.
///
/// # Safety
/// The GIL is held; `ctx` is a Context.
pub(crate) unsafe fn push(ctx: Raw, kind: Block) -> *mut Entry {
    // SAFETY: the caller's duty; the entry owns a share of the holder.
    unsafe {
        let holder = current_or_new();
        Arc::increment_strong_count(holder);
        let h = &*holder;
        let below = h.top.get();
        let e = Box::into_raw(Box::new(Entry { ctx, kind, below, holder, ..Entry::EMPTY }));
        if !below.is_null() {
            (*below).above = e;
        }
        h.top.set(e);
        enlist(e);
        if kind == Block::Shield || is_done(ctx) {
            settle(h);
        }
        e
    }
}

/// Ends the block of `e`.
///
/// # Safety
/// The GIL is held; `e` came from [`push`] and is used no more.
pub(crate) unsafe fn pop(e: *mut Entry) {
    // SAFETY: the caller's duty.
    unsafe {
        let holder = (*e).holder;
        let looks = (*e).kind == Block::Shield || is_done((*e).ctx);
        free(e);
        if looks {
            settle(&*holder);
        }
        drop(Arc::from_raw(holder));
    }
}

/// Begins a shield of the caller's: what is cancelled outside ends no wait. Null: an exception is set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn push_shield() -> *mut Entry {
    // SAFETY: the caller's duty.
    unsafe {
        let ctx = shield_context();
        if ctx.is_null() {
            return ptr::null_mut();
        }
        push(ctx, Block::Shield)
    }
}

/// The context of a shield that the caller begins: a new reference, or null with an exception set.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn shield_context() -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let parent = innermost();
        if parent.is_null() {
            return parent;
        }
        let ctx = tree::make(Kind::WithoutCancel, parent);
        ffi::Py_DECREF(parent);
        ctx
    }
}

/// The newest `with ctx:`: the caller's if there is one, else that of whoever entered it last; null if none is.
///
/// # Safety
/// The GIL is held; `ctx` is a Context.
pub(crate) unsafe fn block_of(ctx: Raw) -> *mut Entry {
    // SAFETY: by 1.
    unsafe {
        let holder = current();
        if !holder.is_null() {
            let mut e = (*holder).top.get();
            while !e.is_null() {
                if (*e).ctx == ctx && (*e).kind == Block::Context {
                    return e;
                }
                e = (*e).below;
            }
        }
        let mut e = (*list_of(ctx)).entries;
        while !e.is_null() && ((*e).ctx != ctx || (*e).kind != Block::Context) {
            e = (*e).next;
        }
        e
    }
}

/// The cancelled node under which the holder runs: that of its innermost block, up to the nearest shield; else null.
unsafe fn visible_cancelled(h: &Holder) -> *mut ContextObj {
    // SAFETY: by 1 and 2.
    unsafe {
        let mut e = h.top.get();
        while !e.is_null() && (*e).kind != Block::Shield {
            let node = (*instance::<ContextObj>((*e).ctx)).node;
            if !node.is_null() && (*node).is_done() {
                return node;
            }
            e = (*e).below;
        }
        ptr::null_mut()
    }
}

/// As [`visible_cancelled`], of the caller.
///
/// # Safety
/// The GIL is held.
#[inline]
pub(crate) unsafe fn cancelled() -> *mut ContextObj {
    // SAFETY: the caller's duty.
    unsafe {
        let holder = current();
        if holder.is_null() {
            ptr::null_mut()
        } else {
            visible_cancelled(&*holder)
        }
    }
}

/// Raises Cancelled because of `node`.
///
/// # Safety
/// The GIL is held; the node is done.
#[cold]
#[inline(never)]
pub(crate) unsafe fn raise_cancelled(node: *mut ContextObj) {
    // SAFETY: the caller's duty.
    unsafe { errors::set(errors::CANCELLED.get(), text_of((*node).why)) };
}

/// Restores 4 after the holder's stack has changed.
unsafe fn settle(h: &Holder) {
    let Some(gref) = h.gref.get() else { return };
    // SAFETY: by 1.
    unsafe {
        if !visible_cancelled(h).is_null() {
            gref.interrupt();
        } else if ptr::eq(h, current()) && embedder::is_interrupted() {
            let host: Raw = embedder::current_host().cast();
            // What somebody left for it to raise has still to be raised.
            if host.is_null() || !GoroutineObj::has_pending(host) {
                embedder::take_interrupt();
            }
        }
        // Another's interrupt that became groundless ends a wait for nothing: the operation is tried again.
    }
}

/// In a forked child: the deadlines of the blocks that the caller is in pass here too. Other contexts belong to what is
/// gone: their registered functions are called in the parent only.
///
/// # Safety
/// The GIL is held; the runtime has started afresh.
pub(crate) unsafe fn after_fork() {
    // SAFETY: by 1 and 2.
    unsafe {
        let holder = current();
        let mut e = if holder.is_null() { ptr::null_mut() } else { (*holder).top.get() };
        while !e.is_null() {
            tree::set_again((*e).ctx);
            e = (*e).below;
        }
    }
}

/// The context by which a goroutine as a whole is cancelled (borrowed); null: an exception is set.
pub(super) unsafe fn root_of(h: &Holder) -> Raw {
    // SAFETY: by 1.
    unsafe {
        let base = h.base.get();
        if h.has_root.get() {
            return (*base).ctx;
        }
        let parent = if base.is_null() { background() } else { (*base).ctx };
        let root = tree::make_cancel(parent);
        if root.is_null() {
            return root;
        }
        h.has_root.set(true);
        if base.is_null() {
            put_base(h, root);
        } else {
            delist(base);
            (*base).ctx = root;
            enlist(base);
            ffi::Py_DECREF(parent);
        }
        root
    }
}

/// The caller's innermost ambient context: a new reference, or null with an exception set. In a goroutine without any it
/// is the goroutine's own, on a thread the background.
///
/// # Safety
/// The GIL is held.
pub(crate) unsafe fn innermost() -> Raw {
    // SAFETY: the caller's duty.
    unsafe {
        let in_goroutine = !embedder::current_host().is_null();
        let mut holder = current();
        if in_goroutine && holder.is_null() {
            holder = current_or_new();
        }
        let top = if holder.is_null() { ptr::null_mut() } else { (*holder).top.get() };
        let ctx = if !top.is_null() && top != (*holder).base.get() {
            (*top).ctx
        } else if in_goroutine {
            root_of(&*holder)
        } else {
            background()
        };
        ffi::Py_XINCREF(ctx);
        ctx
    }
}
