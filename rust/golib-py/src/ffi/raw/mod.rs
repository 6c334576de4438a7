//! Functions, methods and types that Python calls without PyO3 in between.
//!
//! | file | holds |
//! |---|---|
//! | [`calls`] | operations that can park, and calls into the runtime |
//! | [`args`] | what the arguments of a call mean |
//! | [`types`] | types, their methods and properties |

mod args;
mod calls;
mod types;

pub(crate) use args::{arguments, deadline_after, integer_of, seconds_of, wait_for, wait_of, NS};
pub(crate) use calls::{guard, guard_wait, parking, Record};
pub(crate) use types::{
    dealloc, free_instance, instance, keywords, make_type, method, property, slot, weaklist,
    Container, Table, CLASS_GETITEM, END_OF_PROPERTIES,
};
