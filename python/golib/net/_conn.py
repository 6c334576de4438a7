"""Conn: a connection, with a socket's names beside Go's."""

from __future__ import annotations

import os
import socket
from typing import IO, TYPE_CHECKING, Any, Self

from golib import _golib
from golib.net._closing import Closing
from golib.net._file import open_file

if TYPE_CHECKING:
    import ssl

__all__ = ["Conn", "Extra", "closed", "conn_of"]


class Extra:
    """What few connections have: files made of them."""

    __slots__ = ("closing", "files")

    def __init__(self) -> None:
        #: Open files of makefile(): the connection is closed when the last of them is.
        self.files = 0
        self.closing = False


def closed() -> OSError:
    """The error of operations on what was closed."""
    import errno

    return OSError(errno.EBADF, os.strerror(errno.EBADF))


def conn_of(sock: socket.socket) -> Conn:
    """A connection that takes the socket's descriptor over."""
    drains = sock.type == socket.SOCK_STREAM and sock.family != socket.AF_UNIX
    conn: Conn = _golib._net_make(Conn, sock.detach(), drains)
    return conn


class Conn(Closing, _golib.ConnBase):
    """A connection: what dial() and Listener.accept() return. Go's net.Conn.

    Readers take turns, and so do writers; one may read while another writes. What was read and not returned, because of
    a deadline, a cancellation or a limit, is read next. `with` closes it. It has a socket's names (recv, sendall,
    settimeout, makefile, ...) beside Go's, and is accepted where code uses those.

    >>> listener = golib.net.listen('127.0.0.1:0')
    >>> conn = golib.net.dial(listener.addr)
    >>> with listener, conn, listener.accept() as other:
    ...     conn.write(b'hello\\n')
    ...     other.readline()
    6
    b'hello\\n'
    """

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError("a Conn comes from dial(), Listener.accept() or Conn.from_socket()")

    @classmethod
    def from_socket(cls, sock: socket.socket) -> Conn:
        """A connection of a connected socket, whose descriptor it takes over: the socket object is closed.

        Blocks: nothing.

        >>> import socket
        >>> a, b = map(golib.net.Conn.from_socket, socket.socketpair())
        >>> with a, b:
        ...     a.write(b'x'), b.read()
        (1, b'x')
        """
        if not isinstance(sock, socket.socket):
            raise TypeError(f"a socket.socket is expected, not {type(sock).__name__}")
        return conn_of(sock)

    def start_tls(
        self,
        ctx: ssl.SSLContext,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> Self:
        """Continues with TLS after a handshake, and returns the connection.

        Bytes that came before and were not returned yet are taken for the peer's first TLS bytes. Nobody else may be
        reading or writing.

        Blocks: the goroutine, or the OS thread, until the handshake is over.
        Raises: ssl.SSLError if it fails; TypeError for what is no SSLContext.
        """
        from golib.net._tls import start

        start(self, ctx, server_side, server_hostname)
        self._handshake()
        return self

    def _handshake(self) -> None:
        """Completes the TLS handshake, if there is one."""

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The ssl.SSLObject of a TLS connection, which knows the cipher and the peer's certificate; else None."""
        return None

    def close(self) -> None:
        """Closes it. Whoever waits in one of its operations gets OSError(EBADF), and so does every later operation.

        As with a socket, while files of makefile() are open it is closed with the last of them.

        Blocks: nothing. A second call does nothing.
        """
        extra = self._extra
        if extra is not None and extra.files:
            extra.closing = True
        else:
            super().close()

    def __repr__(self) -> str:
        name = f"golib.net.{type(self).__name__}"
        if self.fileno() < 0:
            return f"<{name} closed>"
        try:
            return f"<{name} fd={self.fileno()} {self.local_addr} -> {self.remote_addr}>"
        except OSError:
            return f"<{name} fd={self.fileno()}>"

    def detach(self) -> socket.socket:
        """Gives the connection to a socket object, which blocks; this one is closed then.

        The descriptor has another number.

        Blocks: nothing.
        Raises: ValueError if bytes were read and not returned yet (read them first), or for a TLS connection.
        """
        if self._buffered:
            raise ValueError(
                f"{self._buffered} bytes were read and not returned yet: read them first"
            )
        sock = self._copy()
        sock.settimeout(self.gettimeout())
        _golib.ConnBase.close(self)
        return sock

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """A file that reads from or writes to the connection, as a socket's: 'r', 'w' or 'rw', with 'b' for bytes.

        What it writes is sent when 8192 bytes have come together, or by flush() and close(). Files of one connection
        share what it has read. Closing the file does not close the connection.

        Cost: a goroutine that waits in a text file keeps its OS thread; in a binary one it does not.
        Raises: ValueError for another mode.
        """
        return open_file(self, mode, buffering, encoding, errors, newline)

    # As a socket has them.

    def shutdown(self, how: int, /) -> None:
        """close_read(), close_write() or both, under a socket's name."""
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise ValueError("how is socket.SHUT_RD, SHUT_WR or SHUT_RDWR")
        if how != socket.SHUT_WR:
            self.close_read()
        if how != socket.SHUT_RD:
            self.close_write()

    def setblocking(self, flag: bool, /) -> None:
        """settimeout(None), or settimeout(0)."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Whether operations may wait."""
        return self.gettimeout() != 0.0

    def getsockname(self) -> Any:
        """local_addr, under a socket's name."""
        return self.local_addr

    def getpeername(self) -> Any:
        """remote_addr, under a socket's name."""
        if self.fileno() < 0:
            raise closed()
        return self.remote_addr

    def getsockopt(self, level: int, optname: int, buflen: int | None = None, /) -> Any:
        """As a socket's."""
        with self._copy() as sock:
            if buflen is None:
                return sock.getsockopt(level, optname)
            return sock.getsockopt(level, optname, buflen)

    def setsockopt(
        self, level: int, optname: int, value: Any, optlen: int | None = None, /
    ) -> None:
        """As a socket's."""
        with self._copy() as sock:
            if optlen is None:
                sock.setsockopt(level, optname, value)
            else:
                sock.setsockopt(level, optname, value, optlen)

    @property
    def family(self) -> int:
        """The address family, as a socket's."""
        with self._copy() as sock:
            return sock.family

    @property
    def type(self) -> int:
        """SOCK_STREAM or SOCK_DGRAM, as a socket's."""
        with self._copy() as sock:
            return sock.type

    @property
    def proto(self) -> int:
        """The protocol, as a socket's."""
        with self._copy() as sock:
            return sock.proto

    def _copy(self) -> socket.socket:
        """A socket object of a copy of the descriptor."""
        fd = self.fileno()
        if fd < 0:
            raise closed()
        return socket.socket(fileno=os.dup(fd))
