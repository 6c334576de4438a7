//! How everything above speaks with CPython. A newcomer begins with [`gil`].
//!
//! | file | holds |
//! |---|---|
//! | [`gil`] | the tokens that say what a thread may do; how to write a method |
//! | [`refs`] | references to objects: borrowed, new, and in fields |
//! | [`runtime`] | calls into the runtime, which may park |
//! | [`pile`] | references that are dropped later |
//! | [`python`] | the functions of the C API that are used |
//! | [`class`], [`spec`], [`methods`], [`args`] | types, their methods and properties, the meaning of a call's
//!   arguments |
//! | [`errors`] | exceptions: the classes of the Python layer, and how a failed wait is handled |
//! | [`obj`], [`raw`] | the same without tokens |

pub(crate) mod args;
pub(crate) mod class;
pub(crate) mod errors;
pub(crate) mod gil;
pub(crate) mod methods;
pub(crate) mod obj;
pub(crate) mod pile;
pub(crate) mod python;
pub(crate) mod raw;
pub(crate) mod refs;
pub(crate) mod runtime;
pub(crate) mod spec;
