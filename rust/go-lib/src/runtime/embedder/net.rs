//! Descriptors of the host: a [`Socket`] is read and written in steps.
//!
//! Between two waits a host may have to run its signal handlers, and before each wait it says where the operation was
//! called from ([`set_caller`](super::set_caller)). So an operation takes a [`Turn`], makes steps, each of which waits
//! once at most, and gives the turn up by itself: a turn has no destructor, since a host may run its own code, and end
//! its thread there, while it has one.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

use crate::runtime::block::netpoll::fd::NetFd;
use crate::runtime::object::timers::NEVER;
use crate::runtime::object::wait::{Wait, WaitError};
use crate::runtime::sched::{sched, Sched};
use crate::sys::socket_io;

pub use crate::runtime::block::netpoll::NetError;
pub use crate::runtime::poller::desc::Mode;
pub use crate::sys::socket_io::Address;

/// A descriptor that the poller knows, with a turn for those who read and one for those who write.
pub struct Socket {
    fd: NetFd<OwnedFd>,
}

/// The right to read, or to write, until [`leave`](Turn::leave).
#[must_use]
pub struct Turn<'a> {
    fd: &'a NetFd<OwnedFd>,
    mode: Mode,
    /// Where it was taken: in a forked child it is no turn any more.
    home: *const Sched,
}

/// The calls on the descriptor that an operation may make; none of them blocks.
#[derive(Clone, Copy)]
pub struct Io<'a>(BorrowedFd<'a>);

impl Socket {
    /// Takes over `fd` and makes it non-blocking. Starts the runtime if need be.
    ///
    /// # Errors
    /// It cannot be polled, or a limit is reached; then it is closed.
    pub fn new(fd: OwnedFd) -> io::Result<Socket> {
        socket_io::set_nonblocking(std::os::fd::AsFd::as_fd(&fd))?;
        Socket::accepted(fd)
    }

    /// As [`new`](Socket::new), of a descriptor that does not block.
    ///
    /// # Errors
    /// As `new`.
    pub fn accepted(fd: OwnedFd) -> io::Result<Socket> {
        Ok(Socket { fd: NetFd::new(fd)? })
    }

    /// Something to wait on for `fd`, which stays the caller's and stays as it is; `None`: it is ready in `mode`, or
    /// always is.
    ///
    /// # Errors
    /// `fd` is none, or a limit is reached.
    pub fn watch(fd: RawFd, mode: Mode) -> io::Result<Option<Socket>> {
        if socket_io::poll_now(fd, mode == Mode::Write)? {
            return Ok(None);
        }
        // A copy: the poller may know `fd` already, and the caller may close it. SAFETY: open, as `poll_now` says.
        let copy = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
        match Socket::accepted(copy) {
            Ok(socket) => Ok(Some(socket)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Does what does not wait and excludes nobody.
    ///
    /// # Errors
    /// It was closed; those of `f`.
    pub fn with<R>(&self, f: impl FnOnce(Io<'_>) -> io::Result<R>) -> Result<R, NetError> {
        self.fd.with(|fd| f(Io(std::os::fd::AsFd::as_fd(fd))))
    }

    /// Takes the turn to read or to write; waits for the others before.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// It was closed, or the wait ended otherwise.
    #[inline]
    pub fn turn(&self, mode: Mode) -> Result<Turn<'_>, NetError> {
        self.fd.hold(mode)?;
        Ok(Turn { fd: &self.fd, mode, home: ptr::from_ref(sched()) })
    }

    /// The turn that the caller has already, for what runs within; not to be left.
    pub fn same_turn(&self, mode: Mode) -> Turn<'_> {
        Turn { fd: &self.fd, mode, home: ptr::from_ref(sched()) }
    }

    /// When operations in `mode` end without having completed; `None`: not by themselves.
    ///
    /// # Errors
    /// It was closed.
    pub fn set_deadline(&self, modes: &[Mode], when_ns: Option<i64>) -> Result<(), NetError> {
        self.fd.set_deadline(modes, when_ns.unwrap_or(NEVER))
    }

    /// Closes it: operations that wait end, later ones fail.
    ///
    /// # Errors
    /// It was closed before.
    pub fn close(&self) -> Result<(), NetError> {
        self.fd.close()
    }

    /// Its number; `None`: it was closed.
    pub fn fileno(&self) -> Option<RawFd> {
        self.fd.with(|fd| Ok(fd.as_raw_fd())).ok()
    }
}

impl Turn<'_> {
    /// Tries `op`, waits once if it would block, and tries it again; `None`: it is to be called again.
    /// `in_vain`: after [`took_all`](Turn::took_all) it waits first.
    ///
    /// # Errors
    /// The socket was closed, the deadline or `wait` has passed, an interrupt; those of `op`.
    #[inline]
    pub fn step<R>(
        &self,
        wait: Wait,
        in_vain: bool,
        mut op: impl FnMut(Io<'_>) -> io::Result<R>,
    ) -> Result<Option<R>, NetError> {
        let until = match wait {
            Wait::Block => Some(None),
            Wait::Until(ns) => Some(Some(ns)),
            Wait::Try => None,
        };
        // SAFETY: it is our turn.
        unsafe {
            self.fd.step(self.mode, in_vain, until, |fd| op(Io(std::os::fd::AsFd::as_fd(fd))))
        }
    }

    /// Waits until it is ready, without doing anything.
    ///
    /// # Errors
    /// As [`step`](Turn::step).
    pub fn wait(&self, wait: Wait) -> Result<(), NetError> {
        let until = match wait {
            Wait::Block => None,
            Wait::Until(ns) => Some(ns),
            Wait::Try => return Err(NetError::Wait(WaitError::WouldBlock)),
        };
        // SAFETY: it is our turn.
        unsafe { self.fd.wait_in_turn(self.mode, until) }
    }

    /// A read of a stream has taken less than it had room for, so all there was.
    #[inline]
    pub fn took_all(&self) {
        // SAFETY: it is our turn.
        unsafe { self.fd.took_all() }
    }

    /// Whether this is a forked child of the process in which it was taken: then it is nobody's turn here.
    pub fn is_stale(&self) -> bool {
        !ptr::eq(self.home, sched())
    }

    /// Gives it up, and wakes whoever is next.
    #[inline]
    pub fn leave(self) {
        if !self.is_stale() {
            // SAFETY: it is our turn, and no longer afterwards.
            unsafe { self.fd.leave(self.mode) }
        }
    }
}

impl Io<'_> {
    /// Receives into `buf`; how many bytes, which are initialised then. 0 from a stream is its end.
    ///
    /// # Errors
    /// The OS's.
    #[inline]
    pub fn recv(self, buf: &mut [MaybeUninit<u8>], flags: i32) -> io::Result<usize> {
        socket_io::recv(self.0, buf, flags)
    }

    /// Sends what the socket takes of `data`; how many bytes.
    ///
    /// # Errors
    /// The OS's.
    #[inline]
    pub fn send(self, data: &[u8], flags: i32) -> io::Result<usize> {
        socket_io::send(self.0, data, flags)
    }

    /// Receives a datagram: how many bytes, and who sent it.
    ///
    /// # Errors
    /// The OS's.
    pub fn recv_from(self, buf: &mut [MaybeUninit<u8>]) -> io::Result<(usize, Address)> {
        socket_io::recv_from(self.0, buf)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// The OS's.
    pub fn send_to(self, data: &[u8], to: &SocketAddr) -> io::Result<usize> {
        socket_io::send_to(self.0, data, to)
    }

    /// Takes a connection, and says with whom.
    ///
    /// # Errors
    /// The OS's. A connection that broke before it was accepted counts as interrupted: another may be there.
    pub fn accept(self) -> io::Result<(OwnedFd, Address)> {
        socket_io::accept(self.0).map_err(|e| match e.kind() {
            io::ErrorKind::ConnectionAborted => io::ErrorKind::Interrupted.into(),
            _ => e,
        })
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// The OS's.
    pub fn local_address(self) -> io::Result<Address> {
        socket_io::local_address(self.0)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// The OS's; there may be none.
    pub fn peer_address(self) -> io::Result<Address> {
        socket_io::peer_address(self.0)
    }

    /// Ends one direction, or both.
    ///
    /// # Errors
    /// The OS's.
    pub fn shutdown(self, how: Shutdown) -> io::Result<()> {
        socket_io::shutdown(self.0, how)
    }

    /// The error that it has met since somebody last asked: how a connect ended.
    ///
    /// # Errors
    /// The OS's, of asking.
    pub fn take_error(self) -> io::Result<Option<io::Error>> {
        socket_io::take_error(self.0)
    }
}
