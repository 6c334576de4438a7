"""Listener and listen: connections that come."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from golib import _golib
from golib.net._address import STREAMS, Address, network_of, path_of
from golib.net._closing import Closing
from golib.net._conn import Conn
from golib.net._resolve import resolve
from golib.net._serve import Server, serve, shutdown

if TYPE_CHECKING:
    import ssl

__all__ = ["Listener", "listen"]


class Listener(Closing, _golib.ListenerBase):
    """Waits for connections: what listen() returns. Go's net.Listener.

    Iterating gives connections until it is closed; leaving a `with` block closes it.
    """

    __slots__ = ("_addr", "_path", "_servers", "_tls")

    _addr: Any
    #: Of a unix socket: the file, and which one it was.
    _path: tuple[str | bytes, int, int] | None
    _servers: set[Server]
    _tls: ssl.SSLContext | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError("a Listener comes from golib.net.listen()")

    @property
    def addr(self) -> Any:
        """Where it listens, as the socket module shows it: (host, port), for IPv6 two numbers more; a path for unix."""
        return self._addr

    def close(self) -> None:
        """Stops listening: whoever waits in accept() gets OSError(EBADF), serve() and iterations end.

        Connections that were accepted stay. The file of a unix socket is removed, as in Go.

        Blocks: nothing. A second call does nothing.
        """
        path, self._path = self._path, None
        super().close()
        if path is not None:
            name, device, inode = path
            try:
                now = os.stat(name, follow_symlinks=False)
                if (now.st_dev, now.st_ino) == (device, inode):
                    os.unlink(name)
            except OSError:
                pass

    def __iter__(self) -> Iterator[Conn]:
        """The connections, until the listener is closed."""
        while True:
            try:
                conn = self.accept()
            except OSError as error:
                if error.errno == errno.EBADF and self.fileno() < 0:
                    return
                raise
            yield conn

    def __repr__(self) -> str:
        state = f"on {self._addr!r}" if self.fileno() >= 0 else "closed"
        return f"<golib.net.Listener {state}>"

    def serve(self, handler: Callable[[Conn], object], *, limit: int | None = None) -> None:
        """Calls handler(conn) in a goroutine of its own for each connection, until the listener is closed.

        Then it waits for the handlers that are under way. A connection is closed when its handler ends. An exception
        of a handler is reported as a goroutine's uncaught one (golib.set_panic_handler) and ends that connection
        only. With a limit, so many handlers run at most, and further connections wait to be accepted. Of a TLS
        listener each goroutine first completes its handshake; a client that fails it is dropped without a word. While
        the process has no descriptor to spare, it waits for one.

        Blocks: the goroutine, or the OS thread.
        Cancel: a cancelled serve() cancels its handlers and waits for them.
        Raises: TypeError if handler is not callable; ValueError for a limit below 1.

        >>> def echo(conn):
        ...     for line in iter(conn.readline, b''):
        ...         conn.write(line)
        >>> listener = golib.net.listen('127.0.0.1:0')
        >>> server = golib.go(listener.serve, echo)
        >>> with golib.net.dial(listener.addr) as conn:
        ...     _ = conn.write(b'hello\\n')
        ...     conn.readline()
        b'hello\\n'
        >>> listener.shutdown()
        >>> server.join()
        """
        serve(self, handler, limit)

    def shutdown(self, timeout: float | None = None) -> None:
        """Closes the listener and waits until all handlers of serve() have ended.

        Blocks: the goroutine, or the OS thread.
        Units: timeout in seconds; None waits for ever.
        Raises: TimeoutError after timeout; the handlers have been cancelled then. RuntimeError if a handler calls it
            without a timeout: it would wait for itself.
        """
        shutdown(self, timeout)


class TLSListener(Listener):
    """A listener whose connections begin with a TLS handshake: each in its first read or write, none in accept()."""

    __slots__ = ()

    def accept(self) -> Conn:
        """As Listener.accept(). The handshake takes place in the connection's first read or write."""
        from golib.net._tls import start

        conn: Conn = super().accept()
        try:
            start(conn, self._tls, True, None)
        except BaseException:
            conn.close()
            raise
        return conn


def listen(
    addr: Address,
    network: str = "tcp",
    *,
    backlog: int = 1024,
    reuse_port: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Listener:
    """Listens for connections.

    addr is 'host:port' or (host, port): ':0' is all interfaces, for IPv4 and IPv6 alike, and a port that the system
    chooses (see Listener.addr). Networks: tcp, tcp4, tcp6, and unix, whose addr is a path. With `tls` connections are
    encrypted; the handshake takes place beside accept(), so that a slow client stops nobody. Go: net.Listen.

    Blocks: for a name, until it has been looked up.
    Raises: OSError, as EADDRINUSE; socket.gaierror; ValueError for an unknown network or an address that is none.

    >>> with golib.net.listen(':0') as listener:
    ...     listener.addr[1] > 0
    True
    """
    meant = network_of(network, STREAMS, "datagrams are received by listen_packet()")
    if tls is not None:
        from golib.net._tls import check

        check(tls, None)
    if isinstance(backlog, bool) or not isinstance(backlog, int):
        raise TypeError(f"backlog must be an int, not {type(backlog).__name__}")
    if meant.family == socket.AF_UNIX:
        sock, path = _bind_unix(path_of(addr))
    else:
        sock, path = bind(addr, network, reuse_port), None
    try:
        sock.listen(backlog)
        cls = Listener if tls is None else TLSListener
        local = sock.getsockname()
        listener: Listener = _golib._net_make(cls, sock.detach(), meant.family != socket.AF_UNIX)
    except BaseException:
        sock.close()
        raise
    listener._extra = Conn
    listener._addr, listener._path = local, path
    listener._servers, listener._tls = set(), tls
    return listener


def bind(addr: object, network: str, reuse_port: bool = False) -> socket.socket:
    """A bound socket of the network `network`."""
    from golib.net._address import PACKETS

    meant = (STREAMS | PACKETS)[network]
    host, places = resolve(addr, meant, passive=True)
    # As Go: of a name, an IPv4 address if there is one.
    family, address = next((p for p in places if p[0] == socket.AF_INET), places[0])
    both = not host and meant.family == socket.AF_UNSPEC and _has_dualstack()
    if both:
        family, address = socket.AF_INET6, ("::", address[1], 0, 0)
    sock = socket.socket(family, meant.kind)
    try:
        if meant.kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit it.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _has_dualstack() -> bool:
    """Whether a socket can serve IPv6 and IPv4; a kernel without IPv6 has none."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(("::", 0))
    except OSError:
        return False
    return True


def _bind_unix(path: str | bytes) -> tuple[socket.socket, tuple[str | bytes, int, int] | None]:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    if path[:1] in ("\0", b"\0"):
        return sock, None  # an abstract name has no file
    made = os.stat(path, follow_symlinks=False)
    return sock, (path, made.st_dev, made.st_ino)
