//! How everything above talks to CPython. Begin with [`gil`].
//!
//! | file | holds |
//! |---|---|
//! | [`gil`] | the tokens that say what a thread may do; how to write a method |
//! | [`refs`] | references to objects: borrowed, new, and in fields |
//! | [`runtime`] | calls into the runtime, which may park |
//! | [`pile`] | references that are dropped later |
//! | [`bytes`] | the memory of bytes-like arguments and of new `bytes` |
//! | [`python`], [`containers`] | the functions of the C API that are used; those of tuples, lists and dicts |
//! | [`class`], [`spec`], [`methods`], [`args`] | types, their methods and properties, the meaning of a call's
//!   arguments |
//! | [`errors`] | exceptions: the classes of the Python layer, and how to raise them |
//! | [`obj`] | values in structures of Rust's, and what lives as long as the process |

pub(crate) mod args;
pub(crate) mod bytes;
pub(crate) mod class;
pub(crate) mod containers;
pub(crate) mod errors;
pub(crate) mod gil;
pub(crate) mod methods;
pub(crate) mod obj;
pub(crate) mod pile;
pub(crate) mod python;
pub(crate) mod refs;
pub(crate) mod runtime;
pub(crate) mod spec;
