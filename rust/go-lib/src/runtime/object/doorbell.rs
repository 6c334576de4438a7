//! A waiter without a goroutine: a sender leaves it at a channel instead of waiting there.

use crate::runtime::object::g::{Kind, G};

/// A request to be told when a full channel has room for one value, left by a sender that does not wait: a G that runs
/// nothing. Readying it means calling `ring`.
#[repr(C)]
pub struct Doorbell {
    /// First: a G without an M is the one of a doorbell.
    g: G,
    ring: unsafe fn(*mut ()),
    arg: *mut (),
}

impl Doorbell {
    /// A doorbell that calls `ring(arg)` each time that it has been left at a channel and the channel has room again: on the
    /// receiver's thread, with no lock of the runtime held.
    ///
    /// # Safety
    /// `ring` may be called with `arg` then; it neither parks nor calls code of the user.
    #[must_use]
    pub unsafe fn new(ring: unsafe fn(*mut ()), arg: *mut ()) -> Self {
        Doorbell { g: G::new(Kind::Thread), ring, arg }
    }

    /// The sudog in the channel's queue.
    pub(crate) fn g(&self) -> *mut G {
        (&raw const self.g).cast_mut()
    }
}

/// Called by `goready` for a G that stands for nobody.
///
/// # Safety
/// `gp` is a doorbell's, taken from a channel.
#[cold]
pub(crate) unsafe fn ring(gp: *mut G) {
    // SAFETY: it is the first field; the caller's duty.
    unsafe {
        let bell = gp.cast::<Doorbell>();
        ((*bell).ring)((*bell).arg);
    }
}
