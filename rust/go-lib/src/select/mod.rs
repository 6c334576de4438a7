//! [`select!`](crate::select!): waits for whichever of several channel operations comes first.
//!
//! The macro makes an *arm* for each of its cases, which keeps the value, runs them all through
//! the runtime's `selectgo`, and asks each arm what came of it. [`Select`] does the same for a
//! list of channels that is known at run time.
//!
//! Go: the select statement; reflect.Select

mod arms;
mod list;

#[doc(hidden)]
pub use arms::{forever, limit, no_arm, run, ElseArm, End, Limit, RecvArm, SendArm};
pub use list::Select;

pub use crate::runtime::block::select::Selected;

/// Waits for several channel operations and does the first that can proceed.
///
/// ```text
/// select! {
///     recv(rx) -> v => …            v is Some(value), or None from a closed channel
///     send(tx, expression) => …     panics if the channel is closed
///     timeout(duration) => …        nothing happened for that long
///     default => …                  nothing can proceed now
/// }
/// ```
/// Any number of arms in any order, at most one of them a `timeout` or a `default`; among those
/// that can proceed a random one is taken. The expressions are evaluated once, in the order in
/// which they are written; the value of a send that did not happen is dropped. A channel may be any
/// expression that yields a `Sender` or `Receiver`, a reference to one, or an `Option`, where
/// `None` is Go's nil channel: never ready. The bodies may `break`, `return` and use `?`; the value
/// of the macro is that of the body. Without arms it blocks forever. More than about 60 arms need a
/// higher `#![recursion_limit]`; a list of channels is [`select::Select`](Select)'s.
///
/// Blocks: the goroutine or the OS thread; with a `default`, nothing. Cost: no allocation with up
/// to eight arms.
///
/// # Examples
/// ```
/// use go_lib::{chan::chan, select};
/// use std::time::Duration;
///
/// let (tx, rx) = chan::<i32>(1);
/// let (out, _rx2) = chan::<&str>(0);
/// tx.send(4);
/// let text = select! {
///     recv(rx) -> v => format!("received {v:?}"),
///     send(out, "word") => "sent".to_string(),
///     timeout(Duration::from_secs(5)) => "nothing happened".to_string(),
/// };
/// assert_eq!(text, "received Some(4)");
///
/// select! {
///     recv(rx) -> _v => unreachable!(),
///     default => println!("rx is empty"),
/// }
/// ```
#[macro_export]
macro_rules! select {
    () => { $crate::select::forever() };
    ($($arms:tt)+) => { $crate::__select!(@arm [] [] $($arms)+) };
}

/// The steps of [`select!`]. `@arm [done arms] [limit]` reads the head of the next arm and writes
/// the statements that make it; each step's `arm`, `slot` and `chan` are new names by hygiene.
/// `@body` reads its body.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    (@arm $done:tt $limit:tt recv($c:expr $(,)?) -> $v:pat => $($rest:tt)+) => {
        $crate::__select!(@body $done $limit {
            { let chan = &$c; let mut arm = $crate::select::RecvArm::new(chan); } arm slot $v
        } $($rest)+)
    };
    (@arm $done:tt $limit:tt recv($c:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@arm $done $limit recv($c) -> _ => $($rest)+)
    };
    (@arm $done:tt $limit:tt send($c:expr, $e:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $done $limit {
            { let chan = &$c; let mut arm = $crate::select::SendArm::new(chan, $e); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [] default => $($rest:tt)+) => {
        $crate::__select!(@body $done [limited] {
            { let mut arm = $crate::select::ElseArm::now(); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [] timeout($d:expr $(,)?) => $($rest:tt)+) => {
        $crate::__select!(@body $done [limited] {
            { let mut arm = $crate::select::ElseArm::after($d); } arm slot ()
        } $($rest)+)
    };
    (@arm $done:tt [limited] default => $($rest:tt)+) => {
        compile_error!("select! takes one `default` or `timeout` arm")
    };
    (@arm $done:tt [limited] timeout($d:expr $(,)?) => $($rest:tt)+) => {
        compile_error!("select! takes one `default` or `timeout` arm")
    };
    (@arm [$({ { $($make:tt)* } $arm:ident $slot:ident $v:pat, $body:expr })*] $limit:tt) => {{
        let ($($slot,)*) = {
            $($($make)*)*
            let wait = $crate::select::limit(&[$($arm.limit()),*]);
            let chosen = $crate::select::run(&[$($arm.case()),*], wait);
            ($($arm.finish(chosen),)*)
        };
        $(if let ::core::option::Option::Some(value) = $slot {
            let $v = value;
            $body
        } else)* {
            $crate::select::no_arm()
        }
    }};
    (@arm $done:tt $limit:tt $($other:tt)+) => {
        compile_error!(concat!(
            "select!: expected `recv(rx) -> v => …`, `send(tx, value) => …`, \
             `timeout(duration) => …` or `default => …` at: ",
            stringify!($($other)+)
        ))
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:block , $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:block $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:expr , $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit $($rest)*)
    };
    (@body [$($done:tt)*] $limit:tt { $($arm:tt)* } $body:expr) => {
        $crate::__select!(@arm [$($done)* { $($arm)*, $body }] $limit)
    };
}
