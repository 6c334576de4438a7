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
//! 3. A holder lives as long as its goroutine or thread and all its entries. A block may be left by another goroutine
//!    than the one that entered it (a generator's, when the collector closes it), even after the end of that one.
//! 4. The interrupt of a holder's G is pending if a visible entry's context is cancelled.

use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

use go_lib::runtime::embedder::{self, GRef};

use super::entry::{Block, Entry, Holder, Member};
use super::node::{background, text_of, Context, Kind, NO_DEADLINE};
use super::tree;
use crate::core::goroutine::handle::GoroutineObj;
use crate::ffi::class::{this, Object};
use crate::ffi::errors;
use crate::ffi::gil::{Exclusive, Gil};
use crate::ffi::obj::Raw;
use crate::ffi::refs::{release, New, Outcome, Raised, Ref};

thread_local! {
    /// The holder of a thread that runs no goroutine.
    static OF_THREAD: ThreadHolder = const { ThreadHolder(Cell::new(ptr::null())) };
}

/// A thread's share of its holder. A thread ends without the GIL: entries left in the stack belong to generators.
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

impl Entry {
    /// The context of the block, for the block's duration.
    pub(super) fn context<'x>(&self, x: Exclusive<'x>) -> &'x Object<Context> {
        // SAFETY: by 2 an entry has a context, which it keeps.
        unsafe { this(self.ctx.as_raw(x)) }
    }
}

/// The running goroutine's handle; null on a thread.
#[inline]
fn handle() -> Raw {
    embedder::current_host().cast()
}

/// The caller's holder, if it ever needed one.
#[inline]
pub(crate) fn current(_gil: Gil<'_>) -> Option<&Holder> {
    let host = handle();
    // SAFETY: a host goroutine's payload is its handle; by 3 the holder lives as long as its goroutine or thread.
    unsafe {
        if host.is_null() {
            OF_THREAD.with(|own| own.0.get()).as_ref()
        } else {
            GoroutineObj::holder(host).as_ref()
        }
    }
}

/// The caller's holder.
fn current_or_new(gil: Gil<'_>) -> &Holder {
    let host = handle();
    if !host.is_null() {
        // SAFETY: a host goroutine's payload is its handle.
        return unsafe { of_goroutine(gil, host) };
    }
    let holder = OF_THREAD.with(|own| {
        if own.0.get().is_null() {
            let holder = Holder::new(None);
            holder.gref.set(Some(embedder::current_or_thread()));
            own.0.set(Arc::into_raw(holder));
        }
        own.0.get()
    });
    // SAFETY: by 3 it lives as long as the thread.
    unsafe { &*holder }
}

/// The holder of the goroutine with the handle `slf`.
///
/// # Safety
/// It has not ended.
pub(super) unsafe fn of_goroutine(_gil: Gil<'_>, slf: Raw) -> &Holder {
    // SAFETY: a handle; by 3 the holder lives as long as its goroutine.
    unsafe {
        let mut holder = GoroutineObj::holder(slf);
        if holder.is_null() {
            let new = Holder::new(None);
            new.gref.set(Some(GoroutineObj::gref(slf)));
            holder = Arc::into_raw(new);
            GoroutineObj::set_holder(slf, holder);
        }
        &*holder
    }
}

/// The holder of a goroutine that is being made, which belongs to a group with the context `ctx`.
pub(crate) fn for_member(gil: Gil<'_>, member: Member, ctx: &Object<Context>) -> *const Holder {
    let holder = Holder::new(Some(member));
    put_base(gil, &holder, ctx.object().own(gil));
    Arc::into_raw(holder)
}

/// The goroutine of `h` has its G now.
pub(crate) fn has_goroutine(gil: Gil<'_>, h: &Holder, gref: GRef) {
    h.gref.set(Some(gref));
    if visible_cancelled(gil.exclusive(), h).is_some() {
        gref.interrupt();
    }
}

/// The end of a goroutine, or of one that could not be started: gives its share of the holder back.
///
/// # Safety
/// The GIL is held; `holder` is the handle's, which forgot it.
pub(crate) unsafe fn end(holder: *const Holder) {
    // SAFETY: the caller gives its share up.
    unsafe {
        let (gil, h) = (Gil::assume(), &*holder);
        let base = h.base.get(gil.exclusive());
        h.base.set(gil.exclusive(), None);
        if let Some(base) = base {
            free(gil, base);
        }
        h.gref.set(None);
        let member = h.take_member();
        drop(Arc::from_raw(holder));
        if let Some(member) = member {
            New::owned(member.group).release(gil);
        }
    }
}

/// Puts `ctx` under everything in the holder's stack. The base is freed with the goroutine's end, before the holder.
fn put_base(gil: Gil<'_>, h: &Holder, ctx: New) {
    let x = gil.exclusive();
    let base = leaked(Entry::new(ctx, Block::Base, h));
    h.base.set(x, Some(base));
    match h.top.get(x) {
        None => h.top.set(x, Some(base)),
        Some(top) => {
            let mut lowest = top;
            while let Some(below) = lowest.below.get(x) {
                lowest = below;
            }
            lowest.below.set(x, Some(base));
            base.above.set(x, Some(lowest));
        }
    }
    enlist(x, base);
}

/// An entry that lives until it is freed.
fn leaked<'x>(entry: Entry) -> &'x Entry {
    Box::leak(Box::new(entry))
}

/// In whose list the blocks under `ctx` are: its node's, or its own if nothing can cancel it. The caller holds the
/// context and with it the node.
fn list_of<'x>(x: Exclusive<'x>, ctx: &'x Object<Context>) -> &'x Object<Context> {
    ctx.node(x).unwrap_or(ctx)
}

/// Enters that list.
fn enlist(x: Exclusive<'_>, e: &Entry) {
    let list = list_of(x, e.context(x));
    e.next.copy(x, &list.entries);
    if let Some(next) = e.next.get(x) {
        next.prev.set(x, Some(e));
    }
    list.entries.set(x, Some(e));
}

/// Leaves that list.
fn delist(x: Exclusive<'_>, e: &Entry) {
    if let Some(next) = e.next.get(x) {
        next.prev.copy(x, &e.prev);
    }
    match e.prev.get(x) {
        None => list_of(x, e.context(x)).entries.copy(x, &e.next),
        Some(prev) => prev.next.copy(x, &e.next),
    }
    e.prev.set(x, None);
    e.next.set(x, None);
}

/// Takes the entry out of both lists and frees it.
///
/// # Safety
/// It is not used again.
unsafe fn free(gil: Gil<'_>, e: &Entry) {
    let x = gil.unobserved("a block leaves its lists before its context is dropped");
    delist(x, e);
    match e.above.get(x) {
        None => e.holder().top.copy(x, &e.below),
        Some(above) => above.below.copy(x, &e.below),
    }
    if let Some(below) = e.below.get(x) {
        below.above.copy(x, &e.above);
    }
    let ctx = e.ctx.take(x);
    // SAFETY: made by `leaked`, and by 2 in no list any more.
    unsafe { drop(Box::from_raw(ptr::from_ref(e).cast_mut())) };
    release(gil, ctx);
}

/// A block that is being executed: the code that began it ends it by [`pop`].
#[must_use = "pop it"]
pub(crate) struct Begun(*const Entry);

impl Begun {
    /// To a field of C's.
    pub(crate) fn into_raw(self) -> *const Entry {
        self.0
    }

    /// # Safety
    /// From [`into_raw`](Begun::into_raw), once.
    pub(crate) unsafe fn from_raw(entry: *const Entry) -> Begun {
        Begun(entry)
    }
}

/// Begins a block under `ctx`, which is taken over.
pub(crate) fn push(gil: Gil<'_>, ctx: New, kind: Block) -> Begun {
    let holder = current_or_new(gil);
    // SAFETY: an Arc's; the entry owns a share of it.
    unsafe { Arc::increment_strong_count(holder) };
    let x = gil.exclusive();
    let e = leaked(Entry::new(ctx, kind, holder));
    e.below.copy(x, &holder.top);
    if let Some(below) = e.below.get(x) {
        below.above.set(x, Some(e));
    }
    holder.top.set(x, Some(e));
    enlist(x, e);
    // A thread waits for the GIL with everybody else: the servant is faster.
    if e.context(x).deadline_ns.get(x) != NO_DEADLINE && !handle().is_null() {
        tree::deadline_concerns(x, e.context(x), holder.gref.get());
    }
    if kind == Block::Shield || e.context(x).is_done(x) {
        settle(gil, holder);
    }
    Begun(e)
}

/// Ends a block.
pub(crate) fn pop(gil: Gil<'_>, block: Begun) {
    // SAFETY: from `push`, and ended once; the entry owns a share of its holder.
    unsafe {
        let e = &*block.0;
        let holder = e.holder;
        let x = gil.exclusive();
        let looks = e.kind == Block::Shield || e.context(x).is_done(x);
        // The alarm of a `timeout` block is stopped next.
        if e.kind == Block::Context && e.context(x).deadline_ns.get(x) != NO_DEADLINE {
            let heir = e.next.get(x).or(e.prev.get(x)).and_then(|other| other.holder().gref.get());
            let heir = heir.filter(|heir| !heir.host().is_null());
            tree::deadline_concerns_no_more(x, e.context(x), (*holder).gref.get(), heir);
        }
        free(gil, e);
        if looks {
            settle(gil, &*holder);
        }
        drop(Arc::from_raw(holder));
    }
}

/// Begins a shield of the caller's: a cancellation outside it ends no wait.
pub(crate) fn push_shield(gil: Gil<'_>) -> Outcome<Begun> {
    Ok(push(gil, shield_context(gil)?, Block::Shield))
}

/// The context of a shield that the caller begins.
pub(crate) fn shield_context(gil: Gil<'_>) -> Outcome<New> {
    let parent = innermost(gil)?;
    let ctx = tree::make(gil, Kind::WithoutCancel, as_context(&parent));
    parent.release(gil);
    ctx.map(|ctx| ctx.into_new())
}

/// A reference that [`innermost`] gave, as a context.
pub(crate) fn as_context(ctx: &New) -> &Object<Context> {
    // SAFETY: contexts only are passed here.
    unsafe { this(ctx.get().as_raw()) }
}

/// The newest `with ctx:` block: the caller's if there is one, else the one entered last.
pub(crate) fn block_of(gil: Gil<'_>, ctx: &Object<Context>) -> Option<Begun> {
    let x = gil.exclusive();
    let is_it = |e: &Entry| e.kind == Block::Context && e.ctx.is(x, ctx.object());
    let mut own = current(gil).and_then(|holder| holder.top.get(x));
    while let Some(e) = own {
        if is_it(e) {
            return Some(Begun(e));
        }
        own = e.below.get(x);
    }
    let mut any = list_of(x, ctx).entries.get(x);
    while let Some(e) = any {
        if is_it(e) {
            return Some(Begun(e));
        }
        any = e.next.get(x);
    }
    None
}

/// The cancelled node under which the holder runs: that of its innermost block, up to the nearest shield.
fn visible_cancelled<'x>(x: Exclusive<'x>, h: &Holder) -> Option<&'x Object<Context>> {
    let mut at = h.top.get(x);
    while let Some(e) = at.filter(|e| e.kind != Block::Shield) {
        if let Some(node) = e.context(x).node(x).filter(|node| node.has_ended(x)) {
            return Some(node);
        }
        at = e.below.get(x);
    }
    None
}

/// As [`visible_cancelled`], of the caller.
#[inline]
pub(crate) fn cancelled(gil: Gil<'_>) -> Option<&Object<Context>> {
    current(gil).and_then(|holder| visible_cancelled(gil.exclusive(), holder))
}

/// Raises Cancelled because of `node`, which is done.
#[cold]
#[inline(never)]
pub(crate) fn raise_cancelled(gil: Gil<'_>, node: &Object<Context>) -> Raised {
    let text = text_of(node.why.get(gil.exclusive()));
    errors::fail(gil, cancelled_class(), text)
}

fn cancelled_class() -> Ref<'static> {
    // SAFETY: found at import, and kept.
    unsafe { Ref::borrowed(errors::CANCELLED.get()) }
}

/// Restores 4 after the holder's stack has changed.
fn settle(gil: Gil<'_>, h: &Holder) {
    let Some(gref) = h.gref.get() else { return };
    if visible_cancelled(gil.exclusive(), h).is_some() {
        gref.interrupt();
    } else if current(gil).is_some_and(|own| ptr::eq(h, own)) && embedder::is_interrupted() {
        let host = handle();
        // An exception that somebody left for it must still be raised. SAFETY: a host goroutine's payload is its
        // handle.
        if host.is_null() || unsafe { !GoroutineObj::has_pending(host) } {
            embedder::take_interrupt();
        }
    }
    // An interrupt that has lost its reason ends a wait for nothing: the operation is tried again.
}

/// In a forked child, where the runtime has started afresh: the deadlines of the blocks that the caller is in pass here too.
/// Other contexts belong to what is gone: their registered functions are called in the parent only.
pub(crate) fn after_fork(gil: Gil<'_>) {
    let x = gil.exclusive();
    let mut at = current(gil).and_then(|holder| holder.top.get(x));
    while let Some(e) = at {
        tree::set_again(gil, e.context(x));
        at = e.below.get(x);
    }
}

/// The context by which a goroutine as a whole is cancelled.
pub(super) fn root_of<'g>(gil: Gil<'g>, h: &Holder) -> Outcome<&'g Object<Context>> {
    let x = gil.exclusive();
    let base = h.base.get(x);
    if let Some(base) = base.filter(|_| h.has_root.get()) {
        return Ok(base.context(x));
    }
    let parent = base.map_or(background() as &Object<Context>, |base| base.context(x));
    let root = tree::make_cancel(gil, parent)?.into_new();
    h.has_root.set(true);
    match base {
        None => put_base(gil, h, root),
        Some(base) => {
            delist(x, base);
            let old = base.ctx.put(x, Some(root));
            enlist(x, base);
            release(gil, old);
        }
    }
    match h.base.get(x) {
        Some(base) => Ok(base.context(x)),
        None => Ok(background()), // it was put there just now
    }
}

/// The caller's innermost ambient context. In a goroutine without any it is the goroutine's own, on a thread the
/// background.
pub(crate) fn innermost(gil: Gil<'_>) -> Outcome<New> {
    let x = gil.exclusive();
    let in_goroutine = !handle().is_null();
    let holder = if in_goroutine { Some(current_or_new(gil)) } else { current(gil) };
    let Some(h) = holder else { return Ok(background().object().own(gil)) };
    let is_base = |top: &&Entry| h.base.get(x).is_some_and(|base| ptr::eq(*top, base));
    let ctx = match h.top.get(x).filter(|top| !is_base(top)) {
        Some(top) => top.context(x),
        None if in_goroutine => root_of(gil, h)?,
        None => background(),
    };
    Ok(ctx.object().own(gil))
}
