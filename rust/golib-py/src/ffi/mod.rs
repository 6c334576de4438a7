//! How everything above speaks with CPython.
//!
//! | file | holds |
//! |---|---|
//! | [`obj`] | owned references |
//! | [`raw`] | functions, methods and types as CPython calls them, and what can park |
//! | [`errors`] | exceptions: the classes of the Python layer, and what a wait's failure means |

pub(crate) mod errors;
pub(crate) mod obj;
pub(crate) mod raw;
