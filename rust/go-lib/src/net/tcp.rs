//! TCP: connections, and who accepts them.

use std::io;
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::fd::zero_timeout;
use super::{
    accept_patiently, each_addr, next_incoming, socket_methods, stream_methods, timeout_methods,
    Fd, Mode,
};
use crate::sys::socket;

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
pub struct TcpStream {
    fd: Fd<std::net::TcpStream>,
}

socket_methods!(
    TcpStream,
    std::net::TcpStream,
    "# let listener = go_lib::net::TcpListener::bind(\"127.0.0.1:0\")?;
let s = go_lib::net::TcpStream::connect(listener.local_addr()?)?;"
);
timeout_methods!(
    TcpStream,
    "# let listener = go_lib::net::TcpListener::bind(\"127.0.0.1:0\")?;
let s = go_lib::net::TcpStream::connect(listener.local_addr()?)?;"
);
stream_methods!(
    TcpStream,
    true,
    "# let listener = go_lib::net::TcpListener::bind(\"127.0.0.1:0\")?;
# let a = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
# let b = listener.accept()?;"
);

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
        Self::connect_until(addr, Instant::now().checked_add(timeout))
    }

    fn connect_until(addr: &SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let fd = socket::tcp_socket(addr)?;
        let connected = socket::connect(fd.as_fd(), addr)?;
        let stream = TcpStream::new(fd.into())?;
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

    /// The address of the other end.
    ///
    /// # Errors
    /// The stream was closed, or is not connected any more.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.peer_addr())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The stream was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(stream.local_addr()?, listener.accept()?.peer_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.local_addr())
    }

    /// Shuts one direction down, or both: the other end reads to an end, or cannot write any more.
    /// Whoever waits here in a direction that is shut down goes on, too.
    ///
    /// Go: `CloseRead`, `CloseWrite`.
    ///
    /// # Errors
    /// The stream was closed, or is not connected any more.
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// stream.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(listener.accept()?.read(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd.with(|io| io.shutdown(how))
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
pub struct TcpListener {
    fd: Fd<std::net::TcpListener>,
}

socket_methods!(
    TcpListener,
    std::net::TcpListener,
    "let s = go_lib::net::TcpListener::bind(\"127.0.0.1:0\")?;"
);

impl TcpListener {
    /// Listens at `addr`; port 0 stands for any free one. As many connections may wait to be accepted
    /// as the system allows.
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
            socket::set_backlog(io.as_fd(), i32::MAX)?;
            TcpListener::try_from(io)
        })
    }

    /// Takes the next connection. The address of its other end is its `peer_addr`.
    ///
    /// While the process or the system has no descriptor to spare it waits for one, and tries again
    /// after 5 ms, later after up to a second, as Go's HTTP server does. A connection that was broken
    /// off before it was accepted is passed over.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `Accept`.
    ///
    /// # Errors
    /// The listener was closed, its deadline has passed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let client = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// assert_eq!(listener.accept()?.peer_addr()?, client.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<TcpStream> {
        let fd = accept_patiently(&self.fd, |io| socket::accept(io.as_fd()))?;
        let stream = TcpStream::new(fd.into())?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// All connections, one after the other. It ends after an error, which it yields: the close of the
    /// listener, for one.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// let _client = go_lib::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut incoming = listener.incoming();
    /// assert!(incoming.next().unwrap().is_ok());
    /// listener.close()?;
    /// assert!(incoming.next().unwrap().is_err());
    /// assert!(incoming.next().is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: Some(self) }
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// The listener was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.local_addr())
    }
}

/// The connections of a [`TcpListener`]; see [`incoming`](TcpListener::incoming).
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let listener = go_lib::net::TcpListener::bind("127.0.0.1:0")?;
/// listener.set_deadline(Some(std::time::Instant::now()))?;
/// assert_eq!(listener.incoming().count(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Incoming<'a> {
    /// `None` after an error.
    listener: Option<&'a TcpListener>,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<Self::Item> {
        next_incoming(&mut self.listener, TcpListener::accept)
    }
}
