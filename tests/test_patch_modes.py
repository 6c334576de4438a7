"""golib.patch: an ordinary thread never sees that a goroutine's call on the same object or descriptor does not wait."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import golib
import pytest

from support import eventually, on_thread, parked, start_poller

start_poller()

PEM = pathlib.Path(__file__).with_name("localhost.pem")


@pytest.fixture(autouse=True, scope="module")
def patched() -> Iterator[None]:
    golib.patch()
    yield
    golib.unpatch()


class Thread(threading.Thread):
    """Its function's result or exception is `outcome`."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self.call = function, args
        self.outcome: Any = None
        self.start()

    def run(self) -> None:
        function, args = self.call
        try:
            self.outcome = function(*args)
        except BaseException as error:
            self.outcome = error

    def end(self) -> Any:
        self.join(30)
        assert not self.is_alive()
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Watch:
    """A thread that looks all the time; `seen` is what it saw."""

    def __init__(self, look: Callable[[], Any]) -> None:
        self.seen: set[Any] = set()
        self.ends = False
        self.looks = 0

        def body() -> None:
            while not self.ends:
                self.seen.add(look())
                self.looks += 1

        self.thread = Thread(body)

    def __enter__(self) -> Self:
        eventually(lambda: self.looks)
        return self

    def __exit__(self, *unused: object) -> None:
        self.ends = True
        self.thread.end()


def tls(timeout: float | None = None) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """(client, server), shaken hands."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    a, b = socket.socketpair()
    thread = Thread(lambda: server.wrap_socket(b, server_side=True))
    client = ssl.create_default_context(cafile=str(PEM))
    pair = client.wrap_socket(a, server_hostname="localhost"), thread.end()
    for one in pair:
        one.settimeout(timeout)
    return pair


def plain(timeout: float | None = None) -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair()
    for one in pair:
        one.settimeout(timeout)
    return pair


def datagrams(timeout: float | None = None) -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for one in pair:
        one.settimeout(timeout)
    return pair


def state_of(sock: socket.socket) -> tuple[Any, ...]:
    return sock.gettimeout(), sock.getblocking(), os.get_blocking(sock.fileno())


def whole(sock: socket.socket, n: int) -> bytes:
    """Reads n bytes, one call at a time."""
    got = b""
    while len(got) < n:
        got += sock.recv(n - len(got))
    return got


#: Calls that a goroutine makes again and again on `a`; the other end's share of it.
BUSY: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "TLS write": (tls, lambda a: a.send(b"x" * 1000), lambda b: b.recv(1000)),
    "TLS read": (tls, lambda a: a.recv(1000), lambda b: b.send(b"x" * 1000)),
    "recvfrom": (plain, lambda a: a.recvfrom(1000), lambda b: b.send(b"x")),
    "recvmsg": (plain, lambda a: a.recvmsg(1000), lambda b: b.send(b"x")),
    "recvmsg_into": (plain, lambda a: a.recvmsg_into([bytearray(9)]), lambda b: b.send(b"x")),
    "recvfrom_into": (plain, lambda a: a.recvfrom_into(bytearray(9)), lambda b: b.send(b"x")),
    "sendmsg": (plain, lambda a: a.sendmsg([b"x", b"y"]), lambda b: b.recv(1000)),
    "datagrams": (datagrams, lambda a: a.recvfrom(1000), lambda b: b.send(b"x")),
}


@contextlib.contextmanager
def sharing(share: Callable[[Any], Any], b: Any) -> Iterator[None]:
    """A goroutine does its share as long as the block lasts."""

    def body() -> None:
        while True:
            share(b)
            golib.gosched()

    g = golib.go(body)
    yield
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join(20)


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize("name", BUSY)
def test_a_socket_says_what_it_is_whatever_a_goroutine_does(
    name: str, timeout: float | None
) -> None:
    make, call, share = BUSY[name]
    a, b = make(timeout)
    with a, b:
        right = state_of(a)

        def busy() -> None:
            for _ in range(2000):
                call(a)

        with Watch(lambda: state_of(a)) as watch, sharing(share, b):
            golib.go(busy).join(60)
        assert watch.seen == {right}


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_a_timeout_that_is_set_beside_a_call_of_a_goroutine_stays(timeout: float | None) -> None:
    for make, call, share in (BUSY["TLS read"], BUSY["recvfrom"]):
        a, b = make(timeout)
        with a, b:
            with sharing(share, b), sharing(call, a):
                for n in range(1, 2000):
                    a.settimeout(20 + n)
                    assert a.gettimeout() == 20 + n
                    golib.gosched()
                    assert a.gettimeout() == 20 + n


@pytest.mark.parametrize("timeout", [None, 20.0])
def test_goroutines_read_and_write_one_tls_connection_at_once(timeout: float | None) -> None:
    """OpenSSL lets no two threads into one connection; on threads, records get damaged."""
    a, b = tls(timeout)
    n = 3000

    def write() -> None:
        for _ in range(n):
            a.sendall(b"x" * 100)

    def echo() -> None:
        left = n * 100
        while left:
            data = b.recv(1000)
            left -= len(data)
            b.sendall(data)

    with a, b:
        reader = golib.go(whole, a, n * 100)
        gs = [golib.go(write), golib.go(echo)]
        assert reader.join(60) == b"x" * 100 * n
        for g in gs:
            g.join(30)


@pytest.mark.parametrize("timeout", [None, 20.0])
@pytest.mark.parametrize("way", ["recv", "recvfrom", "recvmsg"])
def test_a_thread_receives_while_goroutines_do(way: str, timeout: float | None) -> None:
    """All of them on one socket; whoever is quicker has the datagram."""
    a, b = datagrams(timeout)
    n = 4000

    def receive() -> int:
        got = 0
        while True:
            data = getattr(a, way)(100)
            if (data if way == "recv" else data[0]) == b"end":
                return got
            got += 1

    with a, b:
        threads = [Thread(receive) for _ in range(2)]
        gs = [golib.go(receive) for _ in range(2)]
        for _ in range(n):
            b.send(b"x")
        for _ in range(4):
            b.send(b"end")
        assert sum(t.end() for t in threads) + sum(g.join(30) for g in gs) == n


def test_a_thread_receives_while_a_goroutine_connects_datagrams() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        for one in (s, peer):
            one.bind(("127.0.0.1", 0))
        reader = Thread(lambda: [s.recv(100) for _ in range(2000)])

        def connects() -> None:
            while reader.is_alive():
                s.connect(peer.getsockname())

        g = golib.go(connects)
        while reader.is_alive():
            peer.sendto(b"x", s.getsockname())
            golib.gosched()
        assert reader.end() == [b"x"] * 2000
        g.join(30)


def test_a_duplicate_of_the_descriptor_blocks_while_tls_is_used() -> None:
    """O_NONBLOCK belongs to what both numbers stand for, in this process and in others."""
    a, b = tls()
    with a, b, socket.socket(fileno=os.dup(a.fileno())) as twin:

        def write() -> None:
            for _ in range(2000):
                a.sendall(b"x" * 100)

        def drain() -> None:
            whole(b, 2000 * 100)

        with Watch(lambda: os.get_blocking(twin.fileno())) as watch:
            gs = [golib.go(write), golib.go(drain)]
            for g in gs:
                g.join(30)
        assert watch.seen == {True}


def test_connect_blocks_for_a_thread_that_set_a_timeout_meanwhile() -> None:
    """The flag that a timeout needs survives the end of a goroutine's connect."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        for n in range(300):
            with socket.socket() as s:
                g = golib.go(s.connect, server.getsockname())
                if n % 2:
                    golib.gosched()
                s.settimeout(5)
                g.join(10)
                assert not os.get_blocking(s.fileno())
                server.accept()[0].close()


#: What waits for ever, and is left by the kernel's own timeout.
KERNEL = {
    "recv": (plain, lambda a: a.recv(1)),
    "recvfrom": (plain, lambda a: a.recvfrom(1)),
    "recvmsg": (plain, lambda a: a.recvmsg(1)),
}


@pytest.mark.parametrize("name", KERNEL)
def test_the_kernels_timeout_ends_a_wait_as_on_a_thread(name: str) -> None:
    make, call = KERNEL[name]

    def outcome() -> tuple[Any, ...]:
        a, b = make()
        with a, b:
            a.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, b"\0" * 8 + b"\x50\xc3" + b"\0" * 6)
            with pytest.raises(BlockingIOError) as info:
                call(a)
            return type(info.value), info.value.errno, str(info.value)

    assert golib.go(outcome).join(20) == on_thread(outcome)


def test_a_call_that_waits_finishes_after_unpatch() -> None:
    a, b = tls()
    c, d = datagrams(20.0)
    with a, b, c, d:
        gs = [parked(golib.go(a.recv, 5), "IO wait"), parked(golib.go(c.recvfrom, 5), "IO wait")]
        golib.unpatch()
        try:
            b.send(b"hello")
            d.send(b"world")
            assert gs[0].join(20) == b"hello"
            assert gs[1].join(20)[0] == b"world"
        finally:
            golib.patch()
