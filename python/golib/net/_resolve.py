"""Names to addresses: a bounded number of look-ups at once, each beside its caller, who can leave it."""

from __future__ import annotations

import os
import socket
from typing import Any

from golib import _golib
from golib._run import blocking
from golib.net._address import Network, numeric, split
from golib.sync import Semaphore

__all__ = ["resolve"]

#: How many look-ups may be under way; each occupies an OS thread while the C library waits for an answer.
_LOOKUPS = 64

_lookups = Semaphore(_LOOKUPS)


def _forget_lookups() -> None:
    global _lookups
    _lookups = Semaphore(_LOOKUPS)


os.register_at_fork(after_in_child=_forget_lookups)


def resolve(
    addr: object, network: Network, *, passive: bool = False
) -> tuple[str, list[tuple[int, tuple[Any, ...]]]]:
    """The host as it was written, and (family, address) of each place that it stands for, the best first."""
    host, port, more = split(addr)
    if isinstance(port, int) and (family := numeric(host, network.family)):
        rest = (*more, 0, 0)[:2] if family == socket.AF_INET6 else ()
        return host, [(family, (host, port, *rest))]
    flags = socket.AI_PASSIVE if passive else 0
    query = (host or None, port, network.family, network.kind, 0, flags)
    found = _lookup(query) if host or isinstance(port, str) else socket.getaddrinfo(*query)
    places: list[tuple[int, tuple[Any, ...]]] = []
    for family, _, _, _, address in found:
        place = (int(family), address)
        if place not in places:
            places.append(place)
    return host, places


def _lookup(query: tuple[Any, ...]) -> list[Any]:
    permits = _lookups
    permits.acquire()
    answer: _golib.Chan[Any] = _golib.Chan(1)
    try:
        _golib.spawn(_ask, (query, answer, permits), name="getaddrinfo")
    except BaseException:
        permits.release()
        raise
    found = answer.recv()
    if isinstance(found, BaseException):
        try:
            raise found
        finally:
            del found  # it holds this frame
    return list(found)


def _ask(query: tuple[Any, ...], answer: _golib.Chan[Any], permits: Semaphore) -> None:
    try:
        answer.send(blocking(socket.getaddrinfo, *query))
    except Exception as error:
        answer.send(error.with_traceback(None))
    finally:
        permits.release()
