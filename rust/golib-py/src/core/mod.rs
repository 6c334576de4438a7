//! What a goroutine of Python's is.
//!
//! | file | holds |
//! |---|---|
//! | [`goroutine`] | the handle, and a goroutine's life |
//! | [`context`] | cancellation |
//! | [`results`] | the tuples that operations return |

pub(crate) mod context;
pub(crate) mod goroutine;
pub(crate) mod results;
