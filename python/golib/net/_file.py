"""Files of connections: what makefile() returns."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from golib.net._conn import Conn

__all__ = ["open_file"]

#: No line is longer.
_ANY = 1 << 62


def open_file(
    conn: Conn,
    mode: str,
    buffering: int | None,
    encoding: str | None,
    errors: str | None,
    newline: str | None,
) -> IO[Any]:
    """See Conn.makefile."""
    kinds = set(mode)
    if not kinds <= {"r", "w", "b"} or not kinds & {"r", "w"} or len(kinds) != len(mode):
        raise ValueError(f"invalid mode {mode!r}: 'r', 'w' or 'rw', with 'b' for bytes")
    text = "b" not in kinds
    if buffering == 0 and text:
        raise ValueError("unbuffered files must be binary")
    room = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
    file = File(conn, "r" in kinds, "w" in kinds, room)
    if not text:
        return file  # type: ignore[return-value]
    wrapper = io.TextIOWrapper(file, encoding, errors, newline, line_buffering=buffering == 1)
    wrapper.mode = mode  # type: ignore[misc]
    return wrapper


class File(io.BufferedIOBase):
    """A buffered binary file in Python: a goroutine that waits in it has no frame of C below, and holds no thread."""

    def __init__(self, conn: Conn, readable: bool, writable: bool, room: int) -> None:
        from golib.net._conn import Extra, closed

        if conn.fileno() < 0:
            raise closed()
        self._conn = conn
        self._readable = readable
        self._writable = writable
        self._room = room
        self._unsent = bytearray()
        if conn._extra is None:
            conn._extra = Extra()
        conn._extra.files += 1
        self._open = True

    @property
    def name(self) -> int:
        """The descriptor's number, as a socket's file has it."""
        return self._conn.fileno()

    @property
    def mode(self) -> str:
        """'rb', 'wb' or 'rwb'."""
        return "r" * self._readable + "w" * self._writable + "b"

    def readable(self) -> bool:
        self._check()
        return self._readable

    def writable(self) -> bool:
        self._check()
        return self._writable

    def fileno(self) -> int:
        self._check()
        return self._conn.fileno()

    def _check(self, able: bool = True, what: str = "") -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if not able:
            raise io.UnsupportedOperation(f"not {what}")

    def read(self, size: int | None = -1, /) -> bytes:
        self._check(self._readable, "readable")
        if size is not None and size >= 0:
            try:
                return self._conn.read_exactly(size)
            except EOFError as end:
                partial: bytes = end.partial  # type: ignore[attr-defined]
                return partial
        parts = []
        while part := self._conn.read():
            parts.append(part)
        return b"".join(parts)

    def read1(self, size: int = -1, /) -> bytes:
        self._check(self._readable, "readable")
        return self._conn.read(size if size >= 0 else 65536)

    def readinto(self, buffer: Any, /) -> int:
        self._check(self._readable, "readable")
        done = 0
        with memoryview(buffer) as view, view.cast("B") as room:
            while done < len(room):
                with room[done:] as rest:
                    n = self._conn.read_into(rest)
                if n == 0:
                    break
                done += n
        return done

    def readinto1(self, buffer: Any, /) -> int:
        self._check(self._readable, "readable")
        return self._conn.read_into(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        self._check(self._readable, "readable")
        if size is None or size < 0:
            return self._conn.readline(_ANY)
        if size == 0:
            return b""
        try:
            return self._conn.readline(size)
        except ValueError:
            return self._conn.read_exactly(size)

    def peek(self, size: int = 0, /) -> bytes:
        """What is read next, without reading it: at least a byte, unless it is the end."""
        import socket

        self._check(self._readable, "readable")
        return self._conn.recv(max(size, 1), socket.MSG_PEEK)

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def write(self, data: Any, /) -> int:
        self._check(self._writable, "writable")
        if self._room == 0:
            return self._conn.send(data)
        with memoryview(data) as view:
            n = view.nbytes
        self._unsent += data
        if len(self._unsent) >= self._room:
            self.flush()
        return n

    def flush(self) -> None:
        self._check()
        if self._unsent:
            data, self._unsent = self._unsent, bytearray()
            self._conn.sendall(data)

    def close(self) -> None:
        if not getattr(self, "_open", False):
            return
        try:
            self.flush()
        finally:
            self._open = False
            super().close()
            extra = self._conn._extra
            extra.files -= 1
            if extra.closing:
                self._conn.close()
