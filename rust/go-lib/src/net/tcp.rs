//! TCP: connections, and the listeners that accept them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use super::each_addr;
use super::fd::zero_timeout;
use super::socket::Socket;
use crate::runtime::clock;
use crate::runtime::poller::desc::Mode;
use crate::sys::{fd, socket};

/// A TCP connection. It reads and writes by [`io::Read`] and [`io::Write`], which `&TcpStream`
/// implements too, and is closed when it and its clones have been dropped.
///
/// `TCP_NODELAY` is set on each new connection, as in Go; see [`set_nodelay`](Self::set_nodelay).
///
/// # Examples
/// ```
/// use go_lib::net::{TcpListener, TcpStream};
/// use std::io::{Read, Write};
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?)?;
/// let mut server = listener.accept()?;
/// client.write_all(b"hello")?;
/// let mut five = [0; 5];
/// server.read_exact(&mut five)?;
/// assert_eq!(&five, b"hello");
/// # Ok(())
/// # }
/// ```
pub type TcpStream = Socket<std::net::TcpStream>;

impl TcpStream {
    /// Connects to `addr`; of several addresses to the first that answers.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `net.Dial`.
    ///
    /// # Errors
    /// That of the last address.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("localhost:0")?;
    /// let stream = go_lib::net::TcpStream::connect(("localhost", listener.local_addr()?.port()))?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_addr(addr, |addr| Self::connect_until(addr, None))
    }

    /// Connects to one address within `timeout`.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `net.DialTimeout`.
    ///
    /// # Errors
    /// Of kind `TimedOut` after the timeout, which must not be zero; else the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let second = std::time::Duration::from_secs(1);
    /// go_lib::net::TcpStream::connect_timeout(&listener.local_addr()?, second)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_timeout(addr: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(zero_timeout());
        }
        Self::connect_until(addr, clock::instant().checked_add(timeout))
    }

    fn connect_until(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let io = socket::tcp_socket(addr)?;
        let connected = socket::connect(fd::lend(&io), addr)?;
        let stream = TcpStream::new(io.into())?;
        if !connected {
            stream.set_write_deadline(deadline)?;
            while !stream.is_connected()? {
                stream.fd.wait(Mode::Write, None)?;
            }
            stream.set_write_deadline(None)?;
        }
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// False while the connection is being made.
    fn is_connected(&self) -> io::Result<bool> {
        if let Some(e) = self.take_error()? {
            return Err(e);
        }
        match self.peer_addr() {
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Reads without taking: the next read finds the same bytes.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// As a read.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.write_all(b"x")?;
    /// let server = listener.accept()?;
    /// assert_eq!((server.peek(&mut [0; 8])?, server.peek(&mut [0; 8])?), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Read, |io| io.peek(buf))
    }

    /// Whether small writes are sent at once, rather than gathered while an answer is due
    /// (`TCP_NODELAY`). They are, unless this is called with `false`.
    ///
    /// Go: `SetNoDelay`.
    ///
    /// # Errors
    /// The stream was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert!(stream.nodelay()?);
    /// stream.set_nodelay(false)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.fd.with(|io| io.set_nodelay(nodelay))
    }

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    /// The stream was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(go_lib::net::TcpStream::connect(listener.local_addr()?)?.nodelay()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nodelay(&self) -> io::Result<bool> {
        self.fd.with(|io| io.nodelay())
    }

    /// How many routers a packet may pass (`IP_TTL`).
    ///
    /// # Errors
    /// The stream was closed, or the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_ttl(42)?;
    /// assert_eq!(stream.ttl()?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.fd.with(|io| io.set_ttl(ttl))
    }

    /// See [`set_ttl`](Self::set_ttl).
    ///
    /// # Errors
    /// The stream was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(go_lib::net::TcpStream::connect(listener.local_addr()?)?.ttl()? > 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(&self) -> io::Result<u32> {
        self.fd.with(|io| io.ttl())
    }
}

/// A socket that accepts TCP connections.
///
/// # Examples
/// ```
/// use go_lib::net::{TcpListener, TcpStream};
/// use std::io::Write;
/// # fn main() -> std::io::Result<()> {
/// go_lib::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let addr = listener.local_addr()?;
///     go_lib::go!(move || {
///         for stream in listener.incoming() {
///             go_lib::go!(move || stream.unwrap().write_all(b"hello"));
///         }
///     });
///     assert_eq!(std::io::read_to_string(TcpStream::connect(addr)?)?, "hello");
///     Ok(())
/// })
/// # }
/// ```
pub type TcpListener = Socket<std::net::TcpListener>;

impl TcpListener {
    /// Listens at `addr`; port 0 means any free one. As many connections may wait to be accepted as
    /// the system allows.
    ///
    /// Go: `net.Listen`.
    ///
    /// # Errors
    /// The OS's, of the last of several addresses.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("[::1]:0")
    ///     .or_else(|_| go_lib::net::TcpListener::bind("127.0.0.1:0"))?;
    /// assert_ne!(listener.local_addr()?.port(), 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each_addr(addr, |addr| {
            let io = std::net::TcpListener::bind(addr)?;
            // The kernel takes its own limit, net.core.somaxconn, for more.
            socket::set_backlog(fd::lend(&io), i32::MAX)?;
            TcpListener::try_from(io)
        })
    }
}
