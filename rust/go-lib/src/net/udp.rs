//! UDP.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use super::socket::Socket;
use super::{each_addr, resolve};
use crate::runtime::poller::desc::Mode;

/// A UDP socket.
///
/// Options that are not here (multicast, broadcast) are set on a `std::net::UdpSocket`, which then
/// becomes one of these by `TryFrom`.
///
/// # Examples
/// ```
/// use go_lib::net::UdpSocket;
/// # fn main() -> std::io::Result<()> {
/// let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
/// a.send_to(b"hello", b.local_addr()?)?;
/// let mut buf = [0; 16];
/// let (n, from) = b.recv_from(&mut buf)?;
/// assert_eq!((&buf[..n], from), (&b"hello"[..], a.local_addr()?));
/// # Ok(())
/// # }
/// ```
pub type UdpSocket = Socket<std::net::UdpSocket>;

impl UdpSocket {
    /// A socket at `addr`; port 0 means any free one.
    ///
    /// Go: `net.ListenPacket`.
    ///
    /// # Errors
    /// The OS's, of the last of several addresses.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_ne!(socket.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_addr(addr, |addr| UdpSocket::try_from(std::net::UdpSocket::bind(addr)?))
    }

    /// Sets where [`send`](Self::send) sends to, and from where alone datagrams are received.
    ///
    /// # Errors
    /// The OS's, of the last of several addresses.
    ///
    /// # Examples
    /// ```
    /// use go_lib::net::UdpSocket;
    /// # fn main() -> std::io::Result<()> {
    /// let (a, b) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    /// a.connect(b.local_addr()?)?;
    /// assert_eq!(a.peer_addr()?, b.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<()> {
        each_addr(addr, |addr| self.fd.with(|io| io.connect(addr)))
    }

    /// Sends one datagram to `addr`, the first of several.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `WriteTo`.
    ///
    /// # Errors
    /// The socket was closed, a deadline, the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert_eq!(socket.send_to(b"hello", socket.local_addr()?)?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_to(&self, buf: &[u8], addr: impl ToSocketAddrs) -> io::Result<usize> {
        let Some(&addr) = resolve(addr)?.first() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no addresses to send data to",
            ));
        };
        self.fd.operate(Mode::Write, |io| io.send_to(buf, addr))
    }

    /// Receives one datagram; bytes that do not fit into `buf` are lost. Returns its size and its
    /// sender.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `ReadFrom`.
    ///
    /// # Errors
    /// The socket was closed, a deadline, the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"hello", socket.local_addr()?)?;
    /// assert_eq!(socket.recv_from(&mut [0; 3])?, (3, socket.local_addr()?));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.fd.operate(Mode::Read, |io| io.recv_from(buf))
    }

    /// Sends one datagram to where [`connect`](Self::connect) said.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to); nobody listens there, as an earlier datagram has shown.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// assert_eq!(socket.send(b"hello")?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Write, |io| io.send(buf))
    }

    /// Receives one datagram from where [`connect`](Self::connect) said; its size.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.connect(socket.local_addr()?)?;
    /// socket.send(b"hello")?;
    /// assert_eq!(socket.recv(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Read, |io| io.recv(buf))
    }

    /// As [`recv_from`](Self::recv_from), but the next one receives the same datagram.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// socket.send_to(b"hello", socket.local_addr()?)?;
    /// let mut buf = [0; 8];
    /// assert_eq!(socket.peek_from(&mut buf)?, socket.recv_from(&mut buf)?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.fd.operate(Mode::Read, |io| io.peek_from(buf))
    }

    /// The address that [`connect`](Self::connect) set.
    ///
    /// # Errors
    /// None was set, or the socket was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let socket = go_lib::net::UdpSocket::bind("127.0.0.1:0")?;
    /// assert!(socket.peer_addr().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.peer_addr())
    }
}
