"""TLS on a connection, by the standard library's ssl over memory: OpenSSL never sees the descriptor.

What the peer sent goes from the socket to `unfed`, into `incoming`, through OpenSSL into the connection's buffer; what
is to be sent goes from `outgoing` to `unsent` and into the socket. A cancellation can come at each wait. So whenever
something waits, bytes are in one of these places, never in a local variable alone.

| lock | is held |
|---|---|
| `reading`, `writing` | by the reader, the writer, for a whole operation |
| `shaking` | by whoever completes the handshake |
| `sending` | while `unsent` is sent: records leave in OpenSSL's order |
| `engine` | for one call of OpenSSL, which is not made for two at once; nobody parks under it |

They are taken in this order.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, NoReturn

from golib import _golib
from golib.net._conn import Conn, Extra, closed
from golib.sync import Mutex

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["TLSConn", "check", "start"]

_Base = _golib.ConnBase

#: How much is encrypted before it is sent: what a slow peer makes us hold.
_WRITE_BYTES = 65536
#: How much is read from the socket at once, and decrypted: some of the largest records.
_READ_BYTES = 65536


def check(ctx: object, server_hostname: object) -> None:
    """Raises TypeError for what is no context."""
    if not isinstance(ctx, ssl.SSLContext):
        raise TypeError(f"TLS needs an ssl.SSLContext, not {type(ctx).__name__}")
    if server_hostname is not None and not isinstance(server_hostname, str):
        raise TypeError(f"server_hostname must be a str, not {type(server_hostname).__name__}")


def start(conn: Conn, ctx: Any, server_side: bool, server_hostname: str | None) -> None:
    """Makes `conn` a TLS connection; the handshake is still to come."""
    check(ctx, server_hostname)
    if isinstance(conn, TLSConn):
        raise ValueError("the connection has TLS already")
    if conn.fileno() < 0:
        raise closed()
    if ctx.check_hostname and not server_side and not server_hostname:
        raise ValueError("the context checks the server's name: pass server_hostname")
    state = State(ctx, server_side, server_hostname)
    if conn._extra is not None:
        state.files, state.closing = conn._extra.files, conn._extra.closing
        raise_if_open(state)
    state.unfed = conn._take(conn._buffered)
    conn._extra = state
    conn.__class__ = TLSConn


def raise_if_open(state: State) -> None:
    """Files of the connection would go on without TLS."""
    if state.files:
        raise ValueError("close the connection's files before TLS begins")


class State(Extra):
    """What a TLS connection has more than another."""

    __slots__ = (
        "engine", "failure", "incoming", "outgoing", "reading", "ready", "sending", "shaking", "tls", "unfed",
        "unsent", "writing",
    )  # fmt: skip

    def __init__(self, ctx: ssl.SSLContext, server_side: bool, server_hostname: str | None) -> None:
        super().__init__()
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_side, server_hostname)
        self.unfed: bytes | None = b""
        self.unsent = memoryview(b"")
        self.ready = False
        self.failure: Exception | None = None
        self.reading, self.writing, self.shaking = Mutex(), Mutex(), Mutex()
        self.sending, self.engine = Mutex(), Mutex()

    def feed(self) -> None:
        """Passes on what has come; under `engine`, by whoever reads."""
        came, self.unfed = self.unfed, b""
        if came is None:
            self.incoming.write_eof()
        elif came:
            self.incoming.write(came)


class TLSConn(Conn):
    """A connection with TLS. Its methods are a Conn's; `tls` is its ssl.SSLObject."""

    __slots__ = ()

    @property
    def tls(self) -> ssl.SSLObject:
        """The ssl.SSLObject, which knows the cipher and the peer's certificate."""
        tls: ssl.SSLObject = self._extra.tls
        return tls

    # The record layer.

    def _receive(self, state: State) -> None:
        """Waits for more from the peer; by whoever reads. The end counts as something."""
        state.unfed = _Base._recv_raw(self, _READ_BYTES) or None

    def _send_out(self, state: State) -> None:
        """Sends all that OpenSSL has for the peer."""
        with state.sending:
            while True:
                if not state.unsent:
                    with state.engine:
                        state.unsent = memoryview(state.outgoing.read())
                    if not state.unsent:
                        return
                state.unsent = state.unsent[_Base.send(self, state.unsent) :]

    def _send_if_free(self, state: State) -> None:
        """As `_send_out`, as far as that goes without a wait: for what goes out beside a read."""
        if not (state.outgoing.pending or state.unsent) or not state.sending.try_lock():
            return
        try:
            if not state.unsent and state.engine.try_lock():
                try:
                    state.unsent = memoryview(state.outgoing.read())
                finally:
                    state.engine.unlock()
            if state.unsent:
                state.unsent = state.unsent[self._send_now(state.unsent) :]
        finally:
            state.sending.unlock()

    def _handshake(self) -> None:
        state = self._extra
        if state.ready:
            return
        with state.shaking:
            while not state.ready:
                if state.failure is not None:
                    raise state.failure
                try:
                    with state.engine:
                        state.feed()
                        state.tls.do_handshake()
                except ssl.SSLWantReadError:
                    self._send_out(state)
                    self._receive(state)
                except OSError as error:
                    if not isinstance(error, ssl.SSLError):
                        raise
                    state.failure = error
                    self._send_if_free(state)  # the alert
                    raise
                else:
                    self._send_out(state)
                    state.ready = True

    def _more(self, state: State) -> bool:
        """Decrypts into the buffer, waiting for some; by the reader. False: the end."""
        while True:
            try:
                with state.engine:
                    state.feed()
                    data = state.tls.read(_READ_BYTES)
                    self._feed(data)
            except ssl.SSLWantReadError:
                self._send_if_free(state)
                self._receive(state)
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return False
            else:
                return bool(data)

    # Reads.

    def _read(self, n: int) -> bytes:
        if n < 0:
            raise ValueError("the number of bytes must not be negative")
        state = self._extra
        with state.reading:
            self._check_usable()
            self._handshake()
            if n and not self._buffered and not self._more(state):
                return b""
            return self._take(n)

    def _check_usable(self) -> None:
        if self.fileno() < 0:
            raise closed()

    def read(self, n: int = 65536) -> bytes:
        """As Conn.read()."""
        return self._read(n)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """As Conn.recv(); of the flags it knows MSG_PEEK."""
        if flags == socket.MSG_PEEK and bufsize > 0:
            return self._peek(bufsize)
        _no_flags(flags)
        return self._read(bufsize)

    def _peek(self, n: int) -> bytes:
        state = self._extra
        with state.reading:
            self._check_usable()
            self._handshake()
            if not self._buffered and not self._more(state):
                return b""
            # From the buffer, which is not empty.
            return _Base.recv(self, n, socket.MSG_PEEK)

    def read_into(self, buf: WriteableBuffer) -> int:
        """As Conn.read_into()."""
        with memoryview(buf) as view, view.cast("B") as room:
            data = self._read(len(room))
            room[: len(data)] = data
            return len(data)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """As Conn.recv_into(), without flags."""
        _no_flags(flags)
        if nbytes < 0:
            raise ValueError("the number of bytes must not be negative")
        with memoryview(buffer) as view, view.cast("B") as room:
            if nbytes > len(room):
                raise ValueError("the buffer is smaller than nbytes")
            with room[: nbytes or len(room)] as part:
                return self.read_into(part)

    def read_exactly(self, n: int) -> bytes:
        """As Conn.read_exactly()."""
        if n < 0:
            raise ValueError("the number of bytes must not be negative")
        state = self._extra
        with state.reading:
            self._check_usable()
            self._handshake()
            while self._buffered < n:
                if not self._more(state):
                    came = self._buffered
                    self._ended(f"the connection ended after {came} of {n} bytes")
            return self._take(n)

    def read_until(self, sep: ReadableBuffer, limit: int = 65536) -> bytes:
        """As Conn.read_until()."""
        line = self._line(sep, limit)
        if line is None:
            came = self._buffered
            self._ended(f"the connection ended after {came} bytes, before the separator")
        return line

    def readline(self, limit: int = 65536) -> bytes:
        """As Conn.readline()."""
        line = self._line(b"\n", limit)
        return self._take(self._buffered) if line is None else line

    def _line(self, sep: ReadableBuffer, limit: int) -> bytes | None:
        """The bytes up to `sep`; None at the end."""
        state = self._extra
        with state.reading:
            self._check_usable()
            self._handshake()
            while (line := self._take_until(sep, limit)) is None:
                if not self._more(state):
                    return None
            return line

    def _ended(self, text: str) -> NoReturn:
        error = EOFError(text)
        error.partial = self._take(self._buffered)  # type: ignore[attr-defined]
        raise error

    # Writes.

    def write(self, data: ReadableBuffer) -> int:
        """As Conn.write()."""
        state = self._extra
        with memoryview(data) as view, view.cast("B") as rest, state.writing:
            self._check_usable()
            self._handshake()
            for start in range(0, len(rest), _WRITE_BYTES):
                with rest[start : start + _WRITE_BYTES] as part:
                    self._encrypt(state, part)
                self._send_out(state)
            return len(rest)

    def _encrypt(self, state: State, part: memoryview) -> None:
        try:
            with state.engine:
                state.tls.write(part)
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLZeroReturnError) or error.reason == "PROTOCOL_IS_SHUTDOWN":
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
            raise

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """As Conn.sendall(), without flags."""
        _no_flags(flags)
        self.write(data)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """As write(), without flags: what was encrypted has to be sent."""
        _no_flags(flags)
        return self.write(data)

    # The end.

    def close_write(self) -> None:
        """Tells the peer that nothing more comes, by TLS's close_notify; the connection still reads.

        Blocks: the goroutine, or the OS thread, until it has been sent.
        """
        state = self._extra
        with state.writing:
            self._check_usable()
            self._handshake()
            with state.engine:
                self._notify(state)
            self._send_out(state)

    def _notify(self, state: State) -> None:
        """Has OpenSSL make a close_notify; under `engine`."""
        try:
            # It takes data that comes after its own close_notify for an error: nothing may be left in it.
            while data := state.tls.read(_READ_BYTES):
                self._feed(data)
        except ssl.SSLError:
            pass
        try:
            state.tls.unwrap()
        except ssl.SSLError:
            pass  # it would wait for the peer's

    def close(self) -> None:
        """As Conn.close(); tells the peer by TLS's close_notify, if that can be sent at once."""
        state = self._extra
        if state.files == 0 and state.ready and self.fileno() >= 0 and state.engine.try_lock():
            try:
                self._notify(state)
            finally:
                state.engine.unlock()
            try:
                self._send_if_free(state)
                self._drain(state)
            except OSError:
                pass
        super().close()

    def _drain(self, state: State) -> None:
        """Takes what has come and nobody will read, as TLS 1.3's session tickets: else the kernel resets the connection
        and the peer may lose what was sent to it.
        """
        if state.reading.try_lock():
            try:
                self.settimeout(0)
                _Base._recv_raw(self, _READ_BYTES)
            finally:
                state.reading.unlock()

    def detach(self) -> NoReturn:
        """Raises ValueError: the encryption cannot be handed over."""
        raise ValueError("a TLS connection cannot be detached: its encryption would stay behind")


def _no_flags(flags: int) -> None:
    if flags:
        raise ValueError("a TLS connection knows no flag but MSG_PEEK, for reads")
