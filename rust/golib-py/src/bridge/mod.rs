//! Between the runtime and the interpreter: what the two tell each other.
//!
//! | file | holds |
//! |---|---|
//! | [`attach`] | how the runtime gives a goroutine the interpreter |
//! | [`threads`], [`main_thread`] | ordinary threads that wait in the runtime; the main thread |
//! | [`news`] | signals and calls for the main thread while it waits in `run` |
//! | [`deadlock`], [`signals`] | whether anything can still wake a waiter |
//! | [`alarm`] | how an action that is due gets the GIL |
//! | [`startup`], [`exit`] | what the first goroutine sets up; the end of the interpreter |

pub(crate) mod alarm;
pub(crate) mod attach;
pub(crate) mod deadlock;
pub(crate) mod exit;
pub(crate) mod main_thread;
pub(crate) mod news;
pub(crate) mod signals;
pub(crate) mod startup;
pub(crate) mod threads;
