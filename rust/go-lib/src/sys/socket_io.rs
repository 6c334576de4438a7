//! Socket operations that an embedder needs and std lacks: reads into uninitialised memory, flags, an accept that reports the
//! peer, and addresses of any family.

use std::io;
use std::mem::{size_of, zeroed, MaybeUninit};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// The address of one end of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Address {
    /// Unknown, or of a family that has no variant here.
    Unknown,
    /// An IPv4 or IPv6 address.
    Inet(SocketAddr),
    /// A path; empty for a socket without a name, beginning with a zero byte for an abstract one.
    Unix(Box<[u8]>),
}

fn check(r: isize) -> io::Result<usize> {
    usize::try_from(r).map_err(|_| io::Error::last_os_error())
}

/// Receives into `buf` and returns how many bytes. The memory beyond them is unchanged.
///
/// # Errors
/// The OS's.
pub(crate) fn recv(
    fd: BorrowedFd<'_>,
    buf: &mut [MaybeUninit<u8>],
    flags: i32,
) -> io::Result<usize> {
    // SAFETY: the kernel writes at most buf.len() bytes.
    check(unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) })
}

/// Sends as much of `data` as the socket takes and returns how many bytes. A broken connection is an error, never a signal.
///
/// # Errors
/// The OS's.
pub(crate) fn send(fd: BorrowedFd<'_>, data: &[u8], flags: i32) -> io::Result<usize> {
    let flags = flags | libc::MSG_NOSIGNAL;
    // SAFETY: data is readable.
    check(unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) })
}

/// Like [`recv`], for one datagram, whose sender it returns too.
///
/// # Errors
/// The OS's.
pub(crate) fn recv_from(
    fd: BorrowedFd<'_>,
    buf: &mut [MaybeUninit<u8>],
) -> io::Result<(usize, Address)> {
    name(|addr, len| {
        let (fd, room) = (fd.as_raw_fd(), buf.as_mut_ptr().cast());
        // SAFETY: as in recv; `name` passes room for an address, and its size.
        check(unsafe { libc::recvfrom(fd, room, buf.len(), 0, addr, len) })
    })
}

/// Sends one datagram.
///
/// # Errors
/// The OS's.
pub(crate) fn send_to(fd: BorrowedFd<'_>, data: &[u8], to: &SocketAddr) -> io::Result<usize> {
    let fd = fd.as_raw_fd();
    let (bytes, n, flags) = (data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL);
    match to {
        SocketAddr::V4(to) => {
            let raw = v4(to);
            let size = size_of::<libc::sockaddr_in>() as u32;
            // SAFETY: data is readable; raw is an address of this size.
            check(unsafe { libc::sendto(fd, bytes, n, flags, (&raw const raw).cast(), size) })
        }
        SocketAddr::V6(to) => {
            let raw = v6(to);
            let size = size_of::<libc::sockaddr_in6>() as u32;
            // SAFETY: data is readable; raw is an address of this size.
            check(unsafe { libc::sendto(fd, bytes, n, flags, (&raw const raw).cast(), size) })
        }
    }
}

fn v4(addr: &SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: all zeros are a valid value. Some systems have a length field as well, which their kernels fill in.
    let mut raw: libc::sockaddr_in = unsafe { zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = addr.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
    raw
}

fn v6(addr: &SocketAddrV6) -> libc::sockaddr_in6 {
    // SAFETY: as for `sockaddr_in`.
    let mut raw: libc::sockaddr_in6 = unsafe { zeroed() };
    raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    raw.sin6_port = addr.port().to_be();
    raw.sin6_flowinfo = addr.flowinfo().to_be();
    raw.sin6_addr.s6_addr = addr.ip().octets();
    raw.sin6_scope_id = addr.scope_id();
    raw
}

/// Accepts a connection as a non-blocking socket, with the address of its other end.
///
/// # Errors
/// The OS's; `WouldBlock` if no connection waits.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, Address)> {
    // SAFETY: `name` passes room for an address, and its size.
    name(|addr, len| unsafe { super::socket::accept_from(fd, addr, len) })
}

/// The address that the socket is bound to.
///
/// # Errors
/// The OS's.
pub(crate) fn local_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    // SAFETY: `name` passes room for an address, and its size.
    let call = |addr, len| check(unsafe { libc::getsockname(fd.as_raw_fd(), addr, len) } as isize);
    Ok(name(call)?.1)
}

/// The address of the other end.
///
/// # Errors
/// The OS's; the socket may have no peer.
pub(crate) fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Address> {
    // SAFETY: `name` passes room for an address, and its size.
    let call = |addr, len| check(unsafe { libc::getpeername(fd.as_raw_fd(), addr, len) } as isize);
    Ok(name(call)?.1)
}

/// Calls a function that fills in an address.
fn name<T>(
    call: impl FnOnce(*mut libc::sockaddr, *mut libc::socklen_t) -> io::Result<T>,
) -> io::Result<(T, Address)> {
    // SAFETY: all zeros are a sockaddr_storage of no family.
    let mut room: libc::sockaddr_storage = unsafe { zeroed() };
    let mut len = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let result = call((&raw mut room).cast(), &mut len)?;
    Ok((result, address(&room, len as usize)))
}

fn address(room: &libc::sockaddr_storage, len: usize) -> Address {
    let at = (&raw const *room).cast::<u8>();
    match i32::from(room.ss_family) {
        libc::AF_INET if len >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the storage is large enough for each family, and aligned for it.
            let raw = unsafe { &*at.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(raw.sin_addr.s_addr.to_ne_bytes());
            Address::Inet(SocketAddrV4::new(ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 if len >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the storage is large enough for each family, and aligned for it.
            let raw = unsafe { &*at.cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(raw.sin6_addr.s6_addr), u16::from_be(raw.sin6_port));
            let flow = u32::from_be(raw.sin6_flowinfo);
            Address::Inet(SocketAddrV6::new(ip, port, flow, raw.sin6_scope_id).into())
        }
        libc::AF_UNIX => {
            let start = std::mem::offset_of!(libc::sockaddr_un, sun_path);
            let end = len.clamp(start, size_of::<libc::sockaddr_un>());
            // SAFETY: within the storage, which is initialised.
            let path = unsafe { std::slice::from_raw_parts(at.add(start), end - start) };
            // The length tells where an abstract name ends; a path ends with a zero.
            let end = match path.first() {
                Some(0) => path.len(),
                _ => path.iter().position(|&byte| byte == 0).unwrap_or(path.len()),
            };
            Address::Unix(path[..end].into())
        }
        _ => Address::Unknown,
    }
}

/// Ends the reading side, the writing side or both, in `SHUT_RD`'s, `SHUT_WR`'s and `SHUT_RDWR`'s order.
///
/// # Errors
/// The OS's.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: std::net::Shutdown) -> io::Result<()> {
    let how = match how {
        std::net::Shutdown::Read => libc::SHUT_RD,
        std::net::Shutdown::Write => libc::SHUT_WR,
        std::net::Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), how) } as isize).map(|_| ())
}

/// The error that the socket has met since the last such call, which tells how a connect ended.
///
/// # Errors
/// The OS's, of asking.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let (mut value, mut len) = (0i32, size_of::<i32>() as libc::socklen_t);
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ERROR);
    // SAFETY: room for an int, and its size.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &mut len)
    } as isize)?;
    Ok((value != 0).then(|| io::Error::from_raw_os_error(value)))
}

/// Which of reading and writing would not block now; both for a descriptor that cannot be polled.
///
/// # Errors
/// The OS's; `fd` may not be open.
pub(crate) fn poll_now(fd: std::os::fd::RawFd, write: bool) -> io::Result<bool> {
    let events = if write { libc::POLLOUT } else { libc::POLLIN };
    let mut one = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one entry.
    let n = check(unsafe { libc::poll(&mut one, 1, 0) } as isize)?;
    if one.revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(n > 0)
}

/// Makes the descriptor non-blocking.
///
/// # Errors
/// The OS's.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: no pointers.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) } as isize)? as i32;
    if flags & libc::O_NONBLOCK == 0 {
        // SAFETY: no pointers.
        check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } as isize)?;
    }
    Ok(())
}
