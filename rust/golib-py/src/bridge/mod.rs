//! Between the runtime and the interpreter.
//!
//! | file | holds |
//! |---|---|
//! | [`host`] | the runtime's hooks: how a goroutine gets the interpreter |
//! | [`start`] | start, exit, fork |
//! | [`signals`] | what signals mean for a deadlock |
//! | [`alarm`] | how what happens at a given time gets the GIL |

pub(crate) mod alarm;
pub(crate) mod host;
pub(crate) mod signals;
pub(crate) mod start;
