//! An operation that waits: its turn, its steps, its failures.

use std::io;

use go_lib::runtime::embedder::net::{Io, Mode, NetError, Socket, Turn};
use go_lib::runtime::embedder::Wait;

use super::outcome;
use super::socket::Sock;
use crate::ffi::gil::{guard, Entry, Gil};
use crate::ffi::refs::{Outcome, Raised};

/// Why a step failed.
pub(super) enum Failure {
    Raised(Raised),
    Net(NetError),
}

impl From<Raised> for Failure {
    fn from(raised: Raised) -> Failure {
        Failure::Raised(raised)
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Failure {
        Failure::Net(error)
    }
}

/// What a step is given: the turn, and how long the operation may wait.
#[derive(Clone, Copy)]
pub(super) struct Step<'t> {
    pub(super) turn: &'t Turn<'t>,
    pub(super) wait: Wait,
}

impl Step<'_> {
    /// Tries `op`, waits once if it would block, and tries it again. None: the caller repeats the step. `op` runs no Python
    /// code. With `in_vain`, it waits first if [`Turn::took_all`] was called.
    #[inline]
    pub(super) fn attempt<R>(
        self,
        entry: &mut Entry,
        in_vain: bool,
        mut op: impl FnMut(Gil<'_>, Io<'_>) -> io::Result<R>,
    ) -> Result<Option<R>, Failure> {
        // SAFETY: the runtime calls it before and after the wait on behalf of this caller, so a thread state stays attached
        // until it returns.
        let op = |io: Io<'_>| op(unsafe { Gil::assume() }, io);
        Ok(entry.wait(|| self.turn.step(self.wait, in_vain, op))??)
    }
}

/// Calls `step` during turns for `mode` until it gives a result.
///
/// Signal handlers run between two turns. `step` leaves the instance consistent whenever it fails.
#[inline]
pub(super) fn operate<R>(
    entry: &mut Entry,
    slf: &Sock,
    mode: Mode,
    mut step: impl FnMut(&mut Entry, Step<'_>) -> Result<Option<R>, Failure>,
) -> Outcome<R> {
    let wait = slf.wait(entry.gil());
    loop {
        match in_turn(entry, &slf.socket, mode, wait, &mut step) {
            Ok(result) => return Ok(result),
            Err(Failure::Raised(raised)) => return Err(raised),
            Err(Failure::Net(error)) => outcome::again(entry.gil(), error)?,
        }
    }
}

/// Takes the turn, makes the step, and gives the turn up.
#[inline]
pub(super) fn in_turn<R>(
    entry: &mut Entry,
    socket: &Socket,
    mode: Mode,
    wait: Wait,
    step: impl FnMut(&mut Entry, Step<'_>) -> Result<Option<R>, Failure>,
) -> Result<R, Failure> {
    let turn = entry.wait(|| socket.turn(mode))??;
    let result = steps(entry, Step { turn: &turn, wait }, step);
    guard(entry.gil(), || turn.leave())?;
    result
}

/// Repeats the step until it has a result or fails.
#[inline]
pub(super) fn steps<R>(
    entry: &mut Entry,
    step: Step<'_>,
    mut make: impl FnMut(&mut Entry, Step<'_>) -> Result<Option<R>, Failure>,
) -> Result<R, Failure> {
    loop {
        if let Some(result) = make(entry, step)? {
            return Ok(result);
        }
    }
}
