//! Connections: how they are read and written.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;

use super::socket::{Addressed, Data, Socket};
use crate::runtime::poller::desc::Mode;

/// The streams of `std`.
pub trait Stream: Data + Addressed {
    /// A read that leaves room has taken all there was.
    #[doc(hidden)]
    const DRAINS: bool;
    #[doc(hidden)]
    fn io(&self) -> impl Read + Write + '_;
    #[doc(hidden)]
    fn ends(&self, how: Shutdown) -> io::Result<()>;
    #[doc(hidden)]
    fn peer(&self) -> io::Result<Self::Addr>;
}

impl Stream for std::net::TcpStream {
    const DRAINS: bool = true;
    fn io(&self) -> impl Read + Write + '_ {
        self
    }
    fn ends(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
    fn peer(&self) -> io::Result<Self::Addr> {
        self.peer_addr()
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    // A read also ends where descriptors were sent along, or the sender changes.
    const DRAINS: bool = false;
    fn io(&self) -> impl Read + Write + '_ {
        self
    }
    fn ends(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
    fn peer(&self) -> io::Result<Self::Addr> {
        self.peer_addr()
    }
}

impl<S: Stream> Socket<S> {
    /// Reads at most `buf.len()` bytes, and says how many; 0 is the end, or an empty `buf`.
    ///
    /// Blocks: the goroutine or the OS thread. Go: `Read`.
    ///
    /// # Errors
    /// The stream was closed, its deadline has passed; else the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (a, b) = go_lib::net::UnixStream::pair()?;
    /// a.write(b"x")?;
    /// a.shutdown(std::net::Shutdown::Write)?;
    /// let mut buf = [0; 8];
    /// assert_eq!((b.read(&mut buf)?, b.read(&mut buf)?), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let room = if S::DRAINS { buf.len() } else { 0 };
        self.fd.read_stream(room, |io| io.io().read(buf))
    }

    /// Writes as many bytes of `buf` as the other end's and the system's buffers take, and says
    /// how many; `write_all` of `std::io::Write` writes them all.
    ///
    /// Blocks while not one can be taken: the goroutine or the OS thread. Go: `Write`, which writes
    /// everything.
    ///
    /// # Errors
    /// The stream was closed or broken, its deadline has passed; else the OS's.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (a, b) = go_lib::net::UnixStream::pair()?;
    /// assert_eq!(a.write(b"hello")?, 5);
    /// assert_eq!(b.read(&mut [0; 8])?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, buf: &[u8]) -> io::Result<usize> {
        self.fd.operate(Mode::Write, |io| io.io().write(buf))
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
    pub fn peer_addr(&self) -> io::Result<S::Addr> {
        self.fd.with(Stream::peer)
    }

    /// Shuts one direction down, or both: the other end reads to an end, or cannot write any more.
    /// An operation that waits in a direction that is shut down ends, too.
    ///
    /// Go: `CloseRead`, `CloseWrite`.
    ///
    /// # Errors
    /// The stream was closed, or is not connected any more.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (a, b) = go_lib::net::UnixStream::pair()?;
    /// a.shutdown(std::net::Shutdown::Write)?;
    /// assert_eq!(b.read(&mut [0; 8])?, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.fd.with(|io| io.ends(how))?;
        self.fd.nudge();
        Ok(())
    }
}

impl<S: Stream> Read for &Socket<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Socket::read(self, buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.fd.read_stream(0, |io| io.io().read_vectored(bufs))
    }
}

impl<S: Stream> Read for Socket<S> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Socket::read(self, buf)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Read::read_vectored(&mut &*self, bufs)
    }
}

impl<S: Stream> Write for &Socket<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Socket::write(self, buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.fd.operate(Mode::Write, |io| io.io().write_vectored(bufs))
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Stream> Write for Socket<S> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Socket::write(self, buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Write::write_vectored(&mut &*self, bufs)
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
