//! `golib.sync`: the primitives that wait in the runtime. The others are in `python/golib/sync`.
//!
//! | file | holds |
//! |---|---|
//! | [`object`] | the common parts of the primitives |
//! | [`event`], [`mutex`], [`rwmutex`], [`semaphore`], [`waitgroup`] | one class each |
//! | [`reference`] | `Ref`, a field that changes in one step |

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

/// Makes the types, with their names in the module.
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
