//! Winsock.

use std::io;
use std::net::SocketAddr;
use std::os::windows::io::{AsRawSocket, BorrowedSocket, FromRawSocket, OwnedSocket};
use std::ptr;
use std::sync::Once;

use crate::sys::win32::{
    self, ioctlsocket, SetHandleInformation, WSASocketW, WSAStartup, AF_INET, AF_INET6, FIONBIO,
    HANDLE_FLAG_INHERIT, IPPROTO_TCP, SOCKADDR_IN, SOCKADDR_IN6, SOCKET, SOCK_STREAM,
    WSAEWOULDBLOCK, WSA_FLAG_NO_HANDLE_INHERIT, WSA_FLAG_OVERLAPPED,
};

/// The OS's error, if the call failed.
fn check(r: i32) -> io::Result<()> {
    if r != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The socket that a call returned, or its error.
fn owned(socket: SOCKET) -> io::Result<OwnedSocket> {
    if socket == SOCKET::MAX {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and the caller's.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket) })
}

fn does_not_block(socket: &OwnedSocket) -> io::Result<()> {
    let mut yes = 1;
    // SAFETY: yes is readable and writable.
    check(unsafe { ioctlsocket(socket.as_raw_socket(), FIONBIO, &mut yes) })
}

/// Initialises Winsock, as std does before its own first call.
fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        const VERSION: u16 = 0x202;
        let mut data = [0u64; 64];
        // SAFETY: data has room for a WSADATA, which has about 400 bytes. If it fails, so does the next call.
        unsafe { WSAStartup(VERSION, data.as_mut_ptr().cast()) };
    });
}

/// A new non-blocking TCP socket of `addr`'s family.
///
/// # Errors
/// The OS's.
pub(crate) fn tcp_socket(addr: &SocketAddr) -> io::Result<OwnedSocket> {
    start();
    let family = if addr.is_ipv4() { AF_INET } else { AF_INET6 };
    let flags = WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT;
    // SAFETY: no pointers but a null one.
    let socket =
        owned(unsafe { WSASocketW(family, SOCK_STREAM, IPPROTO_TCP, ptr::null(), 0, flags) })?;
    does_not_block(&socket)?;
    Ok(socket)
}

/// Begins to connect. `false`: the connection is under way; when the socket can be written to, its
/// error says how that ended.
///
/// # Errors
/// The OS's.
pub(crate) fn connect(socket: BorrowedSocket<'_>, addr: &SocketAddr) -> io::Result<bool> {
    let socket = socket.as_raw_socket();
    let r = match addr {
        SocketAddr::V4(a) => {
            let raw = SOCKADDR_IN {
                family: AF_INET as u16,
                port: a.port().to_be(),
                address: a.ip().octets(),
                zero: [0; 8],
            };
            // SAFETY: raw is an address of this size.
            unsafe { win32::connect(socket, (&raw const raw).cast(), size_of_val(&raw) as i32) }
        }
        SocketAddr::V6(a) => {
            let raw = SOCKADDR_IN6 {
                family: AF_INET6 as u16,
                port: a.port().to_be(),
                flow: a.flowinfo(),
                address: a.ip().octets(),
                scope: a.scope_id(),
            };
            // SAFETY: as above.
            unsafe { win32::connect(socket, (&raw const raw).cast(), size_of_val(&raw) as i32) }
        }
    };
    match check(r) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(WSAEWOULDBLOCK) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Accepts a connection as a non-blocking socket that no child inherits.
///
/// # Errors
/// The OS's; `WouldBlock` if no connection waits.
pub(crate) fn accept(socket: BorrowedSocket<'_>) -> io::Result<OwnedSocket> {
    let (socket, no_addr) = (socket.as_raw_socket(), ptr::null_mut());
    // SAFETY: no address is asked for.
    let accepted = owned(unsafe { win32::accept(socket, no_addr, ptr::null_mut()) })?;
    let handle = ptr::without_provenance_mut(accepted.as_raw_socket() as usize);
    // SAFETY: our own handle. A layered provider's socket is not a handle, and stays as it is.
    unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, 0) };
    does_not_block(&accepted)?;
    Ok(accepted)
}

/// Sets how many connections may wait to be accepted by a listening socket.
///
/// # Errors
/// The OS's.
pub(crate) fn set_backlog(socket: BorrowedSocket<'_>, n: i32) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { win32::listen(socket.as_raw_socket(), n) })
}
