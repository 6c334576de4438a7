//! Under which contexts a goroutine or thread runs: the blocks that it is in, as data.
//!
//! [`ambient`](super::ambient) has the code that changes them, the effect on the goroutine, and the invariants.

use std::cell::Cell;
use std::sync::Arc;

use go_lib::runtime::embedder::GRef;

use super::link::Link;
use crate::ffi::obj::Raw;
use crate::ffi::refs::{New, Slot};

/// Which kind of block an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// None: the bottom entry, for the whole goroutine.
    Base,
    /// `with ctx:`. Nobody keeps the entry, so the block's end searches for it.
    Context,
    /// `timeout`, which keeps its entry.
    Timeout,
    /// `shield`, which keeps its entry: entries below it do not count.
    Shield,
}

/// One block that is being executed.
pub(crate) struct Entry {
    pub(super) ctx: Slot,
    pub(super) kind: Block,
    pub(super) below: Link<Entry>,
    pub(super) above: Link<Entry>,
    /// The neighbours in the list of the context's node, see `list_of`.
    pub(super) prev: Link<Entry>,
    pub(super) next: Link<Entry>,
    /// By 3; owns a share of it, unless this is the holder's base.
    pub(super) holder: *const Holder,
}

impl Entry {
    pub(super) fn new(ctx: New, kind: Block, holder: &Holder) -> Entry {
        Entry {
            ctx: Slot::with(Some(ctx)),
            kind,
            below: Link::none(),
            above: Link::none(),
            prev: Link::none(),
            next: Link::none(),
            holder,
        }
    }

    /// Whose block it is.
    pub(super) fn holder(&self) -> &Holder {
        // SAFETY: by 3.
        unsafe { &*self.holder }
    }
}

/// The events of members that concern a group.
pub(crate) struct GroupHooks {
    /// The member (a handle) has a result, and is about to be done.
    pub(crate) ended: unsafe fn(group: Raw, member: Raw),
    /// It is done. Takes the reference to the group over.
    pub(crate) left: unsafe fn(group: Raw),
}

/// A group, and the function that tells it.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pub(crate) group: Raw,
    pub(crate) hooks: &'static GroupHooks,
}

/// A goroutine or thread in the eyes of its blocks.
pub(crate) struct Holder {
    pub(super) gref: Cell<Option<GRef>>,
    pub(super) top: Link<Entry>,
    /// Under the whole goroutine lies the context by which its group and `Goroutine.cancel` cancel it.
    pub(super) base: Link<Entry>,
    /// The base's context is the goroutine's own, not its group's.
    pub(super) has_root: Cell<bool>,
    /// Its membership in a group; the group is owned.
    member: Cell<Option<Member>>,
}

impl Holder {
    pub(super) fn new(member: Option<Member>) -> Arc<Holder> {
        #[allow(clippy::arc_with_non_send_sync, reason = "the GIL guards it")]
        Arc::new(Holder {
            gref: Cell::new(None),
            top: Link::none(),
            base: Link::none(),
            has_root: Cell::new(false),
            member: Cell::new(member),
        })
    }

    /// Takes the membership, and with it the reference to the group.
    pub(crate) fn take_member(&self) -> Option<Member> {
        self.member.take()
    }
}
