//! Unix sockets.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::listener::Incoming;
use super::socket::Socket;
use crate::runtime::poller::desc::Mode;

/// A connection between processes of one machine.
///
/// # Examples
/// ```
/// use go_lib::net::UnixStream;
/// use std::io::{Read, Write};
/// # fn main() -> std::io::Result<()> {
/// let (mut a, mut b) = UnixStream::pair()?;
/// a.write_all(b"hello")?;
/// drop(a);
/// assert_eq!(std::io::read_to_string(&mut b)?, "hello");
/// # Ok(())
/// # }
/// ```
pub type UnixStream = Socket<std::os::unix::net::UnixStream>;

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// Blocks: an OS thread, while the listener's queue is full.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// use go_lib::net::{UnixListener, UnixStream};
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-connect-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let stream = UnixStream::connect(&path)?;
    /// std::fs::remove_file(&path)?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        // The kernel tells nobody when there is room in the queue, so this one has to block.
        let io = crate::go::with_syscall(|| std::os::unix::net::UnixStream::connect(path))?;
        UnixStream::try_from(io)
    }

    /// Two that are connected with each other.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = go_lib::net::UnixStream::pair()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = std::os::unix::net::UnixStream::pair()?;
        Ok((a.try_into()?, b.try_into()?))
    }
}

/// A socket that accepts Unix connections. Its file is not removed when it is closed.
///
/// # Examples
/// ```
/// use go_lib::net::{UnixListener, UnixStream};
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("go-lib-doc-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?;
/// let _client = UnixStream::connect(&path)?;
/// std::fs::remove_file(&path)?;
/// listener.accept()?;
/// # Ok(())
/// # }
/// ```
pub type UnixListener = Socket<std::os::unix::net::UnixListener>;

impl UnixListener {
    /// Listens at `path`, a file that must not exist.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-bind-{}", std::process::id()));
    /// let listener = go_lib::net::UnixListener::bind(&path)?;
    /// assert!(go_lib::net::UnixListener::bind(&path).is_err());
    /// std::fs::remove_file(&path)
    /// # }
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        std::os::unix::net::UnixListener::bind(path)?.try_into()
    }
}

/// The connections of a [`UnixListener`]; see [`incoming`](Socket::incoming).
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("go-lib-doc-next-{}", std::process::id()));
/// let listener = go_lib::net::UnixListener::bind(&path)?;
/// let _client = go_lib::net::UnixStream::connect(&path)?;
/// std::fs::remove_file(&path)?;
/// assert!(listener.incoming().next().unwrap().is_ok());
/// # Ok(())
/// # }
/// ```
pub type UnixIncoming<'a> = Incoming<'a, std::os::unix::net::UnixListener>;

/// A Unix socket of datagrams.
///
/// # Examples
/// ```
/// use go_lib::net::UnixDatagram;
/// let (a, b) = UnixDatagram::pair()?;
/// a.send(b"hello")?;
/// assert_eq!(b.recv(&mut [0; 8])?, 5);
/// # std::io::Result::Ok(())
/// ```
pub type UnixDatagram = Socket<std::os::unix::net::UnixDatagram>;

impl UnixDatagram {
    /// A socket at `path`, a file that must not exist.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-dgram-{}", std::process::id()));
    /// let socket = go_lib::net::UnixDatagram::bind(&path)?;
    /// let (sender, _) = go_lib::net::UnixDatagram::pair()?;
    /// drop((socket, sender));
    /// std::fs::remove_file(&path)
    /// # }
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::bind(path)?.try_into()
    }

    /// Two that are connected with each other.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = go_lib::net::UnixDatagram::pair()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((a.try_into()?, b.try_into()?))
    }

    /// A socket without an address.
    ///
    /// # Errors
    /// The OS's.
    ///
    /// # Examples
    /// ```
    /// let socket = go_lib::net::UnixDatagram::unbound()?;
    /// assert!(socket.send(b"to nobody").is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::unbound()?.try_into()
    }

    /// Sends one datagram to the socket at `path`.
    ///
    /// Blocks: the goroutine or the OS thread. While the receiver's queue is full the kernel tells
    /// nobody of room in it but a connected socket, so this one tries again every millisecond.
    ///
    /// # Errors
    /// The socket was closed, a deadline, the OS's.
    ///
    /// # Examples
    /// ```
    /// use go_lib::net::UnixDatagram;
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-send-{}", std::process::id()));
    /// let receiver = UnixDatagram::bind(&path)?;
    /// UnixDatagram::unbound()?.send_to(b"hello", &path)?;
    /// assert_eq!(receiver.recv(&mut [0; 8])?, 5);
    /// std::fs::remove_file(&path)
    /// # }
    /// ```
    pub fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        self.fd.operate_by_looking(Mode::Write, |io| io.send_to(buf, path))
    }

    /// Sends one datagram to the other end.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// The socket was closed, is not connected, a deadline, the OS's.
    ///
    /// # Examples
    /// ```
    /// let (a, _b) = go_lib::net::UnixDatagram::pair()?;
    /// assert_eq!(a.send(b"hello")?, 5);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Write, |io| io.send(buf))
    }

    /// Receives one datagram; bytes that do not fit into `buf` are lost.
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// The socket was closed, a deadline, the OS's.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = go_lib::net::UnixDatagram::pair()?;
    /// a.send(b"hello")?;
    /// assert_eq!(b.recv(&mut [0; 3])?, 3);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Read, |io| io.recv(buf))
    }

    /// As [`recv`](Self::recv), with the address of the sender.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Examples
    /// ```
    /// let (a, b) = go_lib::net::UnixDatagram::pair()?;
    /// a.send(b"hello")?;
    /// assert!(b.recv_from(&mut [0; 8])?.1.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.fd.operate(Mode::Read, |io| io.recv_from(buf))
    }
}
