"""dial: connections to names and addresses."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from golib import _golib
from golib._scope import scope
from golib.net._address import PACKETS, STREAMS, Address, Network, network_of, path_of
from golib.net._conn import Conn
from golib.net._resolve import resolve

if TYPE_CHECKING:
    import ssl

__all__ = ["dial"]

#: How long an address may take before the next one is tried beside it (RFC 8305's Connection Attempt Delay).
_STAGGER_SECONDS = 0.25
#: Longest pause between two tries where a unix listener's queue is full.
_LONGEST_PAUSE = 0.05


def dial(
    addr: Address,
    network: str = "tcp",
    timeout: float | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
) -> Conn:
    """Connects to an address, and with `tls` completes the handshake.

    addr is 'host:port' or (host, port); without a host it is this machine. Of a name that has several addresses, one
    is tried after the other, the next as soon as one has failed or has taken 250 ms (RFC 8305); the first that answers
    counts. Networks: tcp, tcp4, tcp6, unix (addr is a path), and udp, udp4, udp6, of which each read and write is a
    datagram. Go: net.Dial.

    Blocks: the goroutine, or the OS thread.
    Units: timeout in seconds, for everything together; None: as long as the system tries.
    Raises: the socket module's: ConnectionRefusedError, socket.gaierror, ...; TimeoutError after timeout;
        ssl.SSLError if the handshake fails; ValueError for an unknown network or an address that is none.
    Cancel: nothing is left behind; a look-up that is under way ends by itself.

    >>> with golib.net.listen('127.0.0.1:0') as listener:
    ...     conn = golib.net.dial(listener.addr, timeout=5)
    >>> conn.remote_addr == listener.addr
    True
    >>> conn.close()
    """
    meant = network_of(network, STREAMS | PACKETS)
    if tls is not None:
        from golib.net._tls import check

        check(tls, server_hostname)
        if network in PACKETS:
            raise ValueError(f"TLS needs a stream, not {network}")
    elif server_hostname is not None:
        raise ValueError("server_hostname is for TLS: pass tls= too")
    if timeout is None:
        return _dial(addr, meant, tls, server_hostname)
    with _golib.timeout(timeout, raises=False):
        return _dial(addr, meant, tls, server_hostname)
    raise TimeoutError(f"dial timed out after {max(timeout, 0)} s")


def _dial(
    addr: Address, network: Network, tls: ssl.SSLContext | None, server_hostname: str | None
) -> Conn:
    if network.family == socket.AF_UNIX:
        host, conn = None, _connect(network.family, network.kind, path_of(addr))
    else:
        host, places = resolve(addr, network)
        conn = _race(network.kind, places)
    if tls is None:
        return conn
    try:
        return conn.start_tls(tls, server_hostname=server_hostname or host or None)
    except BaseException:
        conn.close()
        raise


def _race(kind: int, places: list[tuple[int, Any]]) -> Conn:
    """The first connection that comes about."""
    if len(places) == 1:
        return _connect(places[0][0], kind, places[0][1])
    places = _by_turns(places)
    results: _golib.Chan[Conn | OSError] = _golib.Chan(len(places))
    winner: Conn | None = None
    errors: list[OSError] = []
    try:
        with scope(cancel_on_error=False) as attempts:
            started = 0
            while winner is None and len(errors) < len(places):
                if started < len(places):
                    attempts.go(_attempt, kind, *places[started], results)
                    started += 1
                try:
                    result = results.recv(_STAGGER_SECONDS if started < len(places) else None)
                except TimeoutError:
                    continue
                if isinstance(result, OSError):
                    errors.append(result)
                else:
                    winner = result
            attempts.cancel()
        if winner is None:
            raise _failure(errors)
        conn, winner = winner, None
        return conn
    finally:
        # A second one may have connected, too.
        while (late := results.try_recv()) is not None:
            if isinstance(late.value, Conn):
                late.value.close()
        if winner is not None:
            winner.close()
        del errors


def _by_turns(places: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The families by turns, the preferred one first."""
    first = [place for place in places if place[0] == places[0][0]]
    second = [place for place in places if place[0] != places[0][0]]
    ordered = []
    for i in range(max(len(first), len(second))):
        ordered += first[i : i + 1] + second[i : i + 1]
    return ordered


def _attempt(kind: int, family: int, address: Any, results: _golib.Chan[Conn | OSError]) -> None:
    try:
        result: Conn | OSError = _connect(family, kind, address)
    except OSError as error:
        result = error.with_traceback(None)
    results.send(result)


def _failure(errors: list[OSError]) -> OSError:
    """The first error; it tells of the others where they differ."""
    first = errors[0]
    others = {str(error) for error in errors} - {str(first)}
    if others:
        first.add_note(f"other addresses: {'; '.join(sorted(others))}")
    return first


def _connect(family: int, kind: int, address: Any) -> Conn:
    sock = socket.socket(family, kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM and family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error, pause = sock.connect_ex(address), 0.001
        while error == errno.EAGAIN and family == socket.AF_UNIX:
            # The kernel tells nobody when there is room in the listener's queue.
            _golib.sleep(pause)
            error, pause = sock.connect_ex(address), min(pause * 2, _LONGEST_PAUSE)
        if error not in (0, errno.EINPROGRESS, errno.EINTR):
            raise OSError(error, os.strerror(error))
        drains = kind == socket.SOCK_STREAM and family != socket.AF_UNIX
        conn: Conn = _golib._net_make(Conn, sock.detach(), drains)
    except BaseException:
        sock.close()
        raise
    if error:
        try:
            conn._connected()
        except BaseException:
            conn.close()
            raise
    return conn
