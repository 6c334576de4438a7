"""Servers: a goroutine for each connection, in a scope."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from golib import _golib
from golib._report import uncaught
from golib._run import check
from golib._scope import Scope, scope
from golib.net._conn import Conn
from golib.sync import Event, Semaphore

if TYPE_CHECKING:
    from golib.net._listener import Listener

__all__ = ["Server", "serve", "shutdown"]

#: Pauses while the process has no descriptor to spare.
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 1.0
#: For how long shutdown() waits for handlers that it has cancelled.
_GRACE_SECONDS = 1.0

_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Server:
    """A serve() that is under way."""

    def __init__(self, handler: Callable[[Conn], object], limit: int | None) -> None:
        self.handler = handler
        self.permits = None if limit is None else Semaphore(limit)
        self.scope: Scope | None = None
        self.ended = Event()
        #: The goroutines that run a handler.
        self.running: set[int] = set()

    def run(self, listener: Listener) -> None:
        with scope(cancel_on_error=False) as self.scope:
            while True:
                if self.permits is not None:
                    self.permits.acquire()
                conn = _accept(listener)
                if conn is None:
                    return
                try:
                    self.scope.go(self.handle, conn)
                except BaseException:
                    conn.close()
                    raise

    def handle(self, conn: Conn) -> None:
        me: Any = _golib._current()
        self.running.add(me.id)
        try:
            if _is_ready(conn):
                self.handler(conn)
        except Exception as error:
            uncaught(me, error)
        finally:
            self.running.discard(me.id)
            conn.close()
            if self.permits is not None:
                self.permits.release()


def _is_ready(conn: Conn) -> bool:
    """Whether the connection can be used: a TLS handshake may fail, also for those who only look for open ports."""
    try:
        conn._handshake()
    except OSError:  # SSLError is one
        return False
    return True


def _accept(listener: Listener) -> Conn | None:
    """The next connection; None once the listener is closed."""
    pause = _FIRST_PAUSE
    while True:
        try:
            conn: Conn = listener.accept()
            return conn
        except OSError as error:
            if listener.fileno() < 0:
                return None
            if error.errno not in _NO_RESOURCES:
                raise
        _golib.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def serve(listener: Listener, handler: Callable[[Conn], object], limit: int | None) -> None:
    """See Listener.serve."""
    check(handler)
    if limit is not None:
        if isinstance(limit, bool) or not isinstance(limit, int):
            raise TypeError(f"limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError("limit must be at least 1")
    server = Server(handler, limit)
    listener._servers.add(server)
    try:
        server.run(listener)
    finally:
        listener._servers.discard(server)
        server.ended.set()


def shutdown(listener: Listener, timeout: float | None) -> None:
    """See Listener.shutdown."""
    servers = list(listener._servers)
    me = _golib._current()
    if timeout is None and me is not None and any(me.id in server.running for server in servers):
        raise RuntimeError(
            "a handler must not wait for itself: call shutdown() elsewhere, or close()"
        )
    listener.close()
    if timeout is None:
        for server in servers:
            server.ended.wait()
        return
    end = _golib._monotonic() + timeout
    if all(server.ended.wait(max(0.0, end - _golib._monotonic())) for server in servers):
        return
    for server in servers:
        if server.scope is not None:
            server.scope.cancel()
    end = _golib._monotonic() + _GRACE_SECONDS
    for server in servers:
        server.ended.wait(max(0.0, end - _golib._monotonic()))
    raise TimeoutError(f"handlers were still running after {timeout} s, and have been cancelled")
