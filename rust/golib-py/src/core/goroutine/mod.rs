//! `golib.Goroutine`: a goroutine's handle, and the functions on its stack.
//!
//! | file | holds |
//! |---|---|
//! | [`handle`] | the handle |
//! | [`class`], [`methods`] | its class |
//! | [`name`], [`python`] | its name; its calls to the Python layer |
//! | [`spawn`] | making handles and starting their goroutines: `go`, `spawn` |
//! | [`life`] | the functions on a goroutine's stack, from its entry to its end |
//! | [`stand_in`] | the main goroutine of a `run` on the main thread |
//! | [`child`] | a forked child of a goroutine's |
//! | [`end`] | its last steps, which release everything that it alone holds |
//! | [`unread`] | exceptions that nobody has read yet, and their report at exit |
//!
//! The handle is the runtime's payload for the goroutine: it holds the function until it has run, then the result.
//!
//! # Invariants
//! 1. While the goroutine lives the runtime owns one reference to its payload, which [`goroutine_main`] gives back as its
//!    last step.
//! 2. `result` or `error` is set before `done` is, and not changed afterwards but by the collector.
//! 3. The collector knows a handle once its goroutine has ended: until then the runtime holds it, so that it and what it
//!    refers to are no garbage, and most handles never have to be looked at.
//! 4. On the stack of a goroutine, between its entry and its function, nothing needs dropping and nothing catches: at
//!    exit CPython may end the thread by unwinding it.
//! 5. `holder` is set on first need, and taken at the goroutine's end; after `done` once more, for code that runs
//!    then.
//!
//! Go: runtime/proc.go (newproc, goexit)

mod child;
mod class;
mod end;
pub(crate) mod handle;
mod life;
mod methods;
mod name;
mod python;
mod spawn;
pub(crate) mod stand_in;
mod unread;

pub(crate) use child::set_child_root;
pub(crate) use class::init;
pub(crate) use handle::{glance_at_name, held_files, GoroutineObj};
pub(crate) use life::goroutine_main;
pub(crate) use spawn::{
    check_function, ensure_started, functions, prepare, rest_of_call, start_goroutine,
    vars_for_spawn, Spec, Vars,
};
pub(crate) use unread::{forget_unread, is_unread, report_unread, reports_in_progress};
