//! `golib.sync`: the primitives whose waiting is the runtime's; the rest of them is `golib/sync`.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | what the primitives have in common |
//! | [`event`], [`mutex`], [`rwmutex`], [`semaphore`], [`waitgroup`] | one class each |
//! | [`reference`] | `Ref`, one field that is changed in one step |

mod event;
mod mutex;
mod object;
mod reference;
mod rwmutex;
mod semaphore;
mod waitgroup;

use std::ffi::CStr;

use crate::ffi::obj::Raw;

pub(crate) use object::waited;
pub(crate) use reference::items;

/// Makes the types; None: an exception is set.
///
/// # Safety
/// The GIL is held; called once.
pub(crate) unsafe fn init() -> Option<[(&'static CStr, Raw); 6]> {
    // SAFETY: the caller's duty.
    let types = unsafe {
        [
            (c"Event", event::init()),
            (c"Mutex", mutex::init()),
            (c"RWMutex", rwmutex::init()),
            (c"Ref", reference::init()),
            (c"Semaphore", semaphore::init()),
            (c"WaitGroup", waitgroup::init()),
        ]
    };
    types.iter().all(|(_, class)| !class.is_null()).then_some(types)
}
