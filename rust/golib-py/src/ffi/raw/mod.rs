//! Functions, methods and types that Python calls without PyO3 in between.
//!
//! | file | holds |
//! |---|---|
//! | [`calls`] | calls into the runtime without tokens |
//! | [`types`] | types, their methods and properties |

mod calls;
mod types;

pub(crate) use calls::{guard, guard_wait, Record};
pub(crate) use types::{
    dealloc, free_instance, instance, make_type, method, property, slot, weaklist, Container,
    Table, END_OF_PROPERTIES,
};
