//! The common part of all systems with BSD sockets.

use std::io;
use std::mem::size_of_val;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{accept_from, stream};

/// The OS's error, if the call failed.
pub(super) fn check(r: i32) -> io::Result<i32> {
    if r < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(r)
    }
}

/// A new non-blocking TCP socket of `addr`'s family.
///
/// # Errors
/// The OS's.
pub(crate) fn tcp_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    stream(family)
}

/// Begins to connect. `false`: the connection is under way; when the socket can be written to, its
/// error says how that ended.
///
/// # Errors
/// The OS's.
pub(crate) fn connect(fd: BorrowedFd<'_>, addr: &SocketAddr) -> io::Result<bool> {
    let fd = fd.as_raw_fd();
    let r = match addr {
        SocketAddr::V4(a) => {
            let raw = libc::sockaddr_in {
                #[cfg(not(target_os = "linux"))]
                sin_len: size_of::<libc::sockaddr_in>() as u8,
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: a.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: raw is an address of this size.
            unsafe { libc::connect(fd, (&raw const raw).cast(), size_of_val(&raw) as u32) }
        }
        SocketAddr::V6(a) => {
            let raw = libc::sockaddr_in6 {
                #[cfg(not(target_os = "linux"))]
                sin6_len: size_of::<libc::sockaddr_in6>() as u8,
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: a.port().to_be(),
                sin6_flowinfo: a.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                sin6_scope_id: a.scope_id(),
            };
            // SAFETY: as above.
            unsafe { libc::connect(fd, (&raw const raw).cast(), size_of_val(&raw) as u32) }
        }
    };
    match check(r) {
        Ok(_) => Ok(true),
        // A signal does not stop the connect either.
        Err(e) if matches!(e.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Accepts a connection as a non-blocking socket.
///
/// # Errors
/// The OS's; `WouldBlock` if no connection waits.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: no address is asked for.
    unsafe { accept_from(fd, std::ptr::null_mut(), std::ptr::null_mut()) }
}

/// Sets how many connections may wait to be accepted by a listening socket.
///
/// # Errors
/// The OS's.
pub(crate) fn set_backlog(fd: BorrowedFd<'_>, n: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), n) }).map(|_| ())
}
