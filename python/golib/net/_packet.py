"""PacketConn and listen_packet: datagrams."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Self

from golib import _golib
from golib.net._address import PACKETS, Address, network_of
from golib.net._closing import Closing
from golib.net._listener import bind
from golib.net._resolve import resolve

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["PacketConn", "listen_packet"]


class PacketConn(Closing, _golib.PacketBase):
    """Sends datagrams anywhere and receives them from anywhere: what listen_packet() returns. Go's net.PacketConn.

    Leaving a `with` block closes it.
    """

    __slots__ = ("_addr", "_network")

    _addr: Any
    _network: str

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        raise TypeError("a PacketConn comes from golib.net.listen_packet()")

    @property
    def addr(self) -> Any:
        """Where it receives, as the socket module shows it."""
        return self._addr

    def write_to(self, data: ReadableBuffer, addr: Address) -> int:
        """Sends a datagram to 'host:port' or (host, port); how many bytes. A name is looked up each time.

        Blocks: the goroutine, or the OS thread, while the system's buffer is full.
        Raises: OSError, as EMSGSIZE; TimeoutError after a deadline; OSError(EBADF) after the close;
            socket.gaierror; ValueError for an address that is none.
        """
        _, places = resolve(addr, PACKETS[self._network])
        return self._write_to(data, *places[0][1])

    def __repr__(self) -> str:
        state = f"on {self._addr!r}" if self.fileno() >= 0 else "closed"
        return f"<golib.net.PacketConn {state}>"


def listen_packet(addr: Address, network: str = "udp") -> PacketConn:
    """A socket for datagrams, bound to an address: ':0' is all interfaces, and a port that the system chooses.

    Networks: udp, udp4, udp6. Go: net.ListenPacket. For one peer, dial(addr, 'udp') gives a Conn.

    Blocks: for a name, until it has been looked up.
    Raises: OSError, as EADDRINUSE; socket.gaierror; ValueError for an unknown network or an address that is none.

    >>> with golib.net.listen_packet('127.0.0.1:0') as a, golib.net.listen_packet('127.0.0.1:0') as b:
    ...     _ = a.write_to(b'hello', b.addr)
    ...     b.read_from() == (b'hello', a.addr)
    True
    """
    network_of(network, PACKETS, "connections come by listen()")
    sock = bind(addr, network)
    try:
        local = sock.getsockname()
        packets: PacketConn = _golib._net_make(PacketConn, sock.detach(), False)
    except BaseException:
        sock.close()
        raise
    packets._addr, packets._network = local, network
    if network == "udp" and sock.family == socket.AF_INET:
        packets._network = "udp4"
    return packets
