"""Addresses: what users write, in the socket module's terms."""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple, TypeAlias

__all__ = ["PACKETS", "STREAMS", "Address", "Network", "network_of", "numeric", "path_of", "split"]

#: What users may write: "host:port" or Python's tuple; a path for "unix".
Address: TypeAlias = str | tuple[Any, ...] | bytes | os.PathLike[str] | os.PathLike[bytes]


class Network(NamedTuple):
    """A network's name in the socket module's terms."""

    family: int
    kind: int


STREAMS = {
    "tcp": Network(socket.AF_UNSPEC, socket.SOCK_STREAM),
    "tcp4": Network(socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": Network(socket.AF_INET6, socket.SOCK_STREAM),
    "unix": Network(socket.AF_UNIX, socket.SOCK_STREAM),
}
PACKETS = {
    "udp": Network(socket.AF_UNSPEC, socket.SOCK_DGRAM),
    "udp4": Network(socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": Network(socket.AF_INET6, socket.SOCK_DGRAM),
}


def network_of(name: object, known: dict[str, Network], other: str = "") -> Network:
    """The network called `name`; `other` says what serves those that are known elsewhere."""
    if isinstance(name, str) and name in known:
        return known[name]
    choice = ", ".join(known)
    hint = ""
    if other and isinstance(name, str) and name in STREAMS | PACKETS:
        hint = f"; {other}"
    elif isinstance(name, str) and (":" in name or "/" in name):
        hint = "; the address comes before the network"
    raise ValueError(f"unknown network {name!r}: it is one of {choice}{hint}")


def split(addr: object) -> tuple[str, int | str, tuple[int, ...]]:
    """Host, port, and what else an IPv6 tuple holds."""
    if isinstance(addr, str):
        host, port = _split_text(addr)
        return host, _port(port, addr), ()
    if isinstance(addr, tuple):
        if not 2 <= len(addr) <= 4:
            raise ValueError(
                f"address {addr!r}: a tuple is (host, port), for IPv6 with flowinfo and scope id"
            )
        host, port = addr[0], addr[1]
        if host is None:
            host = ""
        if not isinstance(host, str):
            raise TypeError(f"address {addr!r}: the host must be a str, not {type(host).__name__}")
        return host, _port(port, addr), addr[2:]
    raise TypeError(f"an address is 'host:port' or (host, port), not {type(addr).__name__}")


def _split_text(addr: str) -> tuple[str, str]:
    if addr.startswith("["):
        host, bracket, port = addr[1:].partition("]")
        if not bracket or not port.startswith(":"):
            raise ValueError(f"address {addr!r}: write '[{host or '::1'}]:port'")
        return host, port[1:]
    host, colon, port = addr.rpartition(":")
    if not colon:
        raise ValueError(f"address {addr!r} has no port: write '{addr or 'host'}:port'")
    if ":" in host:
        raise ValueError(f"address {addr!r} has too many colons: write '[IPv6 address]:port'")
    return host, port


def _port(port: object, addr: object) -> int | str:
    if isinstance(port, str) and port.isascii() and port.removeprefix("-").isdigit():
        port = int(port)
    if isinstance(port, bool) or not isinstance(port, (int, str)):
        raise TypeError(f"address {addr!r}: the port must be a number, not {type(port).__name__}")
    if port == "":
        raise ValueError(f"address {addr!r} has no port")
    if isinstance(port, int) and not 0 <= port <= 65535:
        raise ValueError(f"address {addr!r}: the port must be from 0 to 65535")
    return port


def path_of(addr: object) -> str | bytes:
    """The path of a unix socket."""
    if isinstance(addr, (str, bytes, os.PathLike)):
        path: str | bytes = os.fspath(addr)
        if path:
            return path
        raise ValueError("the path of a unix socket must not be empty")
    raise TypeError(f"the address of a unix socket is a path, not {type(addr).__name__}")


def numeric(host: str, family: int) -> int:
    """The family of a numeric address; 0 for a name."""
    for candidate in (socket.AF_INET, socket.AF_INET6):
        if family in (socket.AF_UNSPEC, candidate):
            try:
                socket.inet_pton(candidate, host)
            except (OSError, ValueError):
                continue
            return candidate
    return 0
