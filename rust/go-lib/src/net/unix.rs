//! Unix sockets.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::{
    accept_patiently, next_incoming, socket_methods, stream_methods, timeout_methods, Fd, Mode,
};

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
pub struct UnixStream {
    fd: Fd<std::os::unix::net::UnixStream>,
}

socket_methods!(
    UnixStream,
    std::os::unix::net::UnixStream,
    "let (s, _other) = go_lib::net::UnixStream::pair()?;"
);
timeout_methods!(UnixStream, "let (s, _other) = go_lib::net::UnixStream::pair()?;");
// A read ends also where descriptors were sent along, or the sender changes.
stream_methods!(UnixStream, false, "let (a, b) = go_lib::net::UnixStream::pair()?;");

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

    /// The address of the other end.
    ///
    /// # Errors
    /// The stream was closed, or is not connected any more.
    ///
    /// # Examples
    /// ```
    /// let (a, _b) = go_lib::net::UnixStream::pair()?;
    /// assert!(a.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
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
    /// let (a, _b) = go_lib::net::UnixStream::pair()?;
    /// assert!(a.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.local_addr())
    }

    /// Shuts one direction down, or both; see [`TcpStream::shutdown`](super::TcpStream::shutdown).
    ///
    /// # Errors
    /// The stream was closed, or is not connected any more.
    ///
    /// # Examples
    /// ```
    /// use std::io::Read;
    /// let (a, mut b) = go_lib::net::UnixStream::pair()?;
    /// a.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(b.read(&mut [0; 8])?, 0);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd.with(|io| io.shutdown(how))
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
pub struct UnixListener {
    fd: Fd<std::os::unix::net::UnixListener>,
}

socket_methods!(
    UnixListener,
    std::os::unix::net::UnixListener,
    "# let path = std::env::temp_dir().join(format!(\"go-lib-doc-{}-{}\", line!(), std::process::id()));
let s = go_lib::net::UnixListener::bind(&path)?;
# std::fs::remove_file(&path)?;"
);

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

    /// Takes the next connection; see [`TcpListener::accept`](super::TcpListener::accept).
    ///
    /// Blocks: the goroutine or the OS thread.
    ///
    /// # Errors
    /// The listener was closed, its deadline has passed.
    ///
    /// # Examples
    /// ```
    /// use go_lib::net::{UnixListener, UnixStream};
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-accept-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?;
    /// let _client = UnixStream::connect(&path)?;
    /// std::fs::remove_file(&path)?;
    /// assert!(listener.accept()?.peer_addr()?.is_unnamed());
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept(&self) -> io::Result<UnixStream> {
        accept_patiently(&self.fd, |io| io.accept())?.0.try_into()
    }

    /// All connections, one after the other, until an error, which it yields.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-incoming-{}", std::process::id()));
    /// let listener = go_lib::net::UnixListener::bind(&path)?;
    /// std::fs::remove_file(&path)?;
    /// listener.close()?;
    /// assert_eq!(listener.incoming().count(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: Some(self) }
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// The listener was closed.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let path = std::env::temp_dir().join(format!("go-lib-doc-addr-{}", std::process::id()));
    /// let listener = go_lib::net::UnixListener::bind(&path)?;
    /// assert_eq!(listener.local_addr()?.as_pathname(), Some(&*path));
    /// std::fs::remove_file(&path)
    /// # }
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.fd.with(|io| io.local_addr())
    }
}

/// The connections of a [`UnixListener`]; see [`incoming`](UnixListener::incoming).
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
#[derive(Debug)]
pub struct UnixIncoming<'a> {
    /// `None` after an error.
    listener: Option<&'a UnixListener>,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<Self::Item> {
        next_incoming(&mut self.listener, UnixListener::accept)
    }
}

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
pub struct UnixDatagram {
    fd: Fd<std::os::unix::net::UnixDatagram>,
}

socket_methods!(
    UnixDatagram,
    std::os::unix::net::UnixDatagram,
    "let (s, _other) = go_lib::net::UnixDatagram::pair()?;"
);
timeout_methods!(UnixDatagram, "let (s, _other) = go_lib::net::UnixDatagram::pair()?;");

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

    /// Receives one datagram; what does not fit into `buf` is lost.
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
