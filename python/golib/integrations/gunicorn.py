"""A gunicorn worker that serves each connection in a goroutine.

    gunicorn --worker-class golib.integrations.gunicorn.Worker --worker-connections 1000 app:app

The standard library is patched (golib.patch) before the application is loaded, so that what blocks in it blocks one
request only. `worker_connections`, `keepalive`, `graceful_timeout`, `max_requests` and TLS work as with gunicorn's
gevent worker.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import AbstractContextManager
from typing import Any

import golib
from gunicorn.sock import ssl_wrap_socket  # type: ignore[import-not-found,import-untyped,unused-ignore]
from gunicorn.workers.base_async import AsyncWorker  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["Worker"]

#: How often, in seconds, the worker tells the arbiter that it lives.
_HEARTBEAT = 1.0


class Worker(AsyncWorker):  # type: ignore[misc,unused-ignore]
    """One process: its main goroutine tells the arbiter that it lives, others accept and serve."""

    def init_process(self) -> None:
        """Called in the worker's process before the application is loaded."""
        golib.patch()
        super().init_process()

    def timeout_ctx(self) -> AbstractContextManager[Any]:
        """Ends the wait for the next request of a connection."""
        return golib.timeout(self.cfg.keepalive, raises=False)

    def run(self) -> None:
        """Serves until the arbiter says otherwise."""
        golib.run(self._serve)

    def _serve(self) -> None:
        self._slots = golib.sync.Semaphore(self.worker_connections)
        self._handlers = golib.sync.WaitGroup()
        acceptors = [golib.go(self._accept, listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            self._check_parent()
            golib.sleep(_HEARTBEAT)
        for acceptor in acceptors:
            acceptor.cancel()
        self._finish()

    def _check_parent(self) -> None:
        if self.ppid != os.getppid():
            self.log.info("Parent changed, shutting down: %s", self)
            sys.exit(0)

    def _finish(self) -> None:
        """Waits for the requests under way, for as long as gunicorn allows."""
        deadline = golib._golib._monotonic() + self.cfg.graceful_timeout
        while golib._golib._monotonic() < deadline:
            self.notify()
            try:
                self._handlers.wait(timeout=_HEARTBEAT)
            except TimeoutError:
                continue
            return
        self.log.warning("Worker graceful timeout (pid:%s)", self.pid)

    def _accept(self, listener: Any) -> None:
        # Other workers wait for the same socket, so that it may have nothing left once it is this one's turn.
        listener.setblocking(False)
        while self.alive:
            self._slots.acquire()
            try:
                client, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._slots.release()
                select.select([listener], [], [])  # parks
                continue
            except BaseException:
                self._slots.release()
                raise
            self._handlers.add(1)
            golib.go(self._handle, listener, client, address)

    def _handle(self, listener: Any, client: socket.socket, address: Any) -> None:
        try:
            client.setblocking(True)
            if self.cfg.is_ssl:
                client = ssl_wrap_socket(client, self.cfg)
            self.handle(listener, client, address)
        except OSError as error:
            self.log.debug("Error in the handshake: %s", error)
            client.close()
        finally:
            self._slots.release()
            self._handlers.done()
