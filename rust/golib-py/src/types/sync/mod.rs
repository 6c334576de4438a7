//! `golib.sync`: the primitives whose waiting is the runtime's; the others are in `python/golib/sync`.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | the common parts of the primitives |
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

use crate::ffi::gil::Gil;
use crate::ffi::refs::{New, Outcome};

pub(crate) use reference::ITEMS;

/// Makes the types, which belong into the module under these names.
pub(crate) fn init(gil: Gil<'_>) -> Outcome<[(&'static CStr, New); 6]> {
    Ok([
        (c"Event", event::init(gil)?),
        (c"Mutex", mutex::init(gil)?),
        (c"RWMutex", rwmutex::init(gil)?),
        (c"Ref", reference::init(gil)?),
        (c"Semaphore", semaphore::init(gil)?),
        (c"WaitGroup", waitgroup::init(gil)?),
    ])
}
