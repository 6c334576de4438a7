"""golib.patch: what the standard library refuses or answers at once, it refuses or answers so on a goroutine too.

Each case runs on an ordinary thread, where the originals run, and on a goroutine. Outcome, words and what is left are equal.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401  (the first look-up would import it, and its events would be seen)
import io
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import golib
import pytest

from support import on_thread, start_poller

start_poller()


@pytest.fixture(autouse=True, scope="module")
def patched() -> Iterator[None]:
    golib.patch()
    yield
    golib.unpatch()


class World:
    """What the cases use: made anew for each run."""

    def __init__(self, stack: ExitStack) -> None:
        self.a, self.b = (stack.enter_context(s) for s in socket.socketpair())
        self.udp = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        self.tcp = stack.enter_context(socket.socket())
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.closed = socket.socket()
        self.closed.close()
        self.r, self.w = os.pipe()
        self.file = stack.enter_context(io.FileIO(os.memfd_create("content"), "r+"))
        self.file.write(b"content")
        self.file.seek(0)
        self.poll = select.poll()
        self.epoll = stack.enter_context(select.epoll())
        self.open = {self.r, self.w}
        stack.callback(self.close, self.r)
        stack.callback(self.close, self.w)

    def close(self, fd: int) -> None:
        """Of the pipe; once, because its number may be another file's afterwards."""
        if fd in self.open:
            self.open.remove(fd)
            os.close(fd)


class Index:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __index__(self) -> int:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value  # type: ignore[no-any-return]


Case = Callable[[World], Any]

SOCKETS: dict[str, Case] = {
    "recv": lambda w: w.a.recv(),
    "recv str": lambda w: w.a.recv("x"),
    "recv -1": lambda w: w.a.recv(-1),
    "recv 0": lambda w: w.tcp.recv(0),
    "recv huge": lambda w: w.a.recv(2**70),
    "recv float": lambda w: w.a.recv(1.5),
    "recv keyword": lambda w: w.a.recv(bufsize=1),
    "recv 3": lambda w: w.a.recv(1, 0, 0),
    "recv flags str": lambda w: w.a.recv(1, "x"),
    "recv flags huge": lambda w: w.a.recv(1, 2**40),
    "recv flags index": lambda w: w.a.recv(1, Index(socket.MSG_DONTWAIT)),
    "recv index raises": lambda w: w.a.recv(Index(KeyError("x"))),
    "recv dontwait": lambda w: w.a.recv(1, socket.MSG_DONTWAIT),
    "recv oob": lambda w: w.a.recv(1, socket.MSG_OOB),
    "recv unconnected": lambda w: w.tcp.recv(1),
    "recv listening": lambda w: w.listener.recv(1),
    "recv closed": lambda w: w.closed.recv(1),
    "recv shut": lambda w: (w.a.shutdown(socket.SHUT_RDWR), w.a.recv(1)),
    "recv_into": lambda w: w.a.recv_into(),
    "recv_into bytes": lambda w: w.a.recv_into(b"xxx"),
    "recv_into int": lambda w: w.a.recv_into(5),
    "recv_into too much": lambda w: w.a.recv_into(bytearray(1), 5),
    "recv_into -1": lambda w: w.a.recv_into(bytearray(1), -1),
    "recv_into keyword": lambda w: w.a.recv_into(bytearray(1), bogus=1),
    "recv_into unconnected": lambda w: w.tcp.recv_into(bytearray(1)),
    "recv_into closed": lambda w: w.closed.recv_into(bytearray(1)),
    "recvfrom": lambda w: w.udp.recvfrom(),
    "recvfrom -1": lambda w: w.udp.recvfrom(-1),
    "recvfrom dontwait": lambda w: w.udp.recvfrom(1, socket.MSG_DONTWAIT),
    "recvfrom unconnected": lambda w: w.tcp.recvfrom(1),
    "recvfrom_into": lambda w: w.udp.recvfrom_into(b""),
    "recvfrom_into -1": lambda w: w.udp.recvfrom_into(bytearray(1), -1),
    "recvmsg": lambda w: w.a.recvmsg(),
    "recvmsg -1": lambda w: w.a.recvmsg(-1),
    "recvmsg anc -1": lambda w: w.a.recvmsg(1, -1),
    "recvmsg dontwait": lambda w: w.a.recvmsg(1, 0, socket.MSG_DONTWAIT),
    "recvmsg_into int": lambda w: w.a.recvmsg_into(1),
    "recvmsg_into bytes": lambda w: w.a.recvmsg_into([b"x"]),
    "recvmsg_into fails": lambda w: w.a.recvmsg_into(1 // 0 for _ in "x"),
    "send": lambda w: w.a.send(),
    "send str": lambda w: w.a.send("x"),
    "send keyword": lambda w: w.a.send(data=b"x"),
    "send empty": lambda w: w.a.send(b""),
    "send flags": lambda w: w.a.send(b"x", "y"),
    "send unconnected": lambda w: w.tcp.send(b"x"),
    "send closed": lambda w: w.closed.send(b"x"),
    "send broken": lambda w: (w.b.close(), w.a.send(b"x")),
    "send strided": lambda w: w.a.send(memoryview(b"abcdef")[::2]),
    "sendall": lambda w: w.a.sendall(),
    "sendall None": lambda w: w.a.sendall(None),
    "sendall empty": lambda w: w.a.sendall(b""),
    "sendall broken": lambda w: (w.b.close(), w.a.sendall(b"x")),
    "sendall closed": lambda w: w.closed.sendall(b"x"),
    "sendto": lambda w: w.udp.sendto(b"x"),
    "sendto bad": lambda w: w.udp.sendto(b"x", "nowhere"),
    "sendto bad port": lambda w: w.udp.sendto(b"x", ("127.0.0.1", 70000)),
    "sendto str": lambda w: w.udp.sendto("x", ("127.0.0.1", 9)),
    "sendto flags": lambda w: w.udp.sendto(b"x", "f", ("127.0.0.1", 9)),
    "sendto 4": lambda w: w.udp.sendto(b"x", 0, ("127.0.0.1", 9), 1),
    "sendmsg": lambda w: w.a.sendmsg(),
    "sendmsg int": lambda w: w.a.sendmsg(1),
    "sendmsg str": lambda w: w.a.sendmsg(["x"]),
    "sendmsg generator": lambda w: (w.a.sendmsg(x for x in [b"ab", b"c"]), w.b.recv(10)),
    "sendmsg fails": lambda w: w.a.sendmsg(1 // 0 for _ in "x"),
    "sendmsg ancillary": lambda w: w.a.sendmsg([b"x"], [1]),
    "sendmsg flags": lambda w: w.a.sendmsg([b"x"], [], "f"),
    "sendmsg unconnected": lambda w: w.tcp.sendmsg([b"x"]),
    "accept argument": lambda w: w.listener._accept(1),
    "accept not listening": lambda w: w.tcp.accept(),
    "accept udp": lambda w: w.udp.accept(),
    "accept connected": lambda w: w.a.accept(),
    "accept closed": lambda w: w.closed.accept(),
    "connect": lambda w: w.tcp.connect(),
    "connect str": lambda w: w.tcp.connect("127.0.0.1"),
    "connect port": lambda w: w.tcp.connect(("127.0.0.1", 99999)),
    "connect name": lambda w: w.tcp.connect((5, 80)),
    "connect refused": lambda w: w.tcp.connect(("127.0.0.1", 1)),
    "connect twice": lambda w: (
        w.tcp.connect(w.listener.getsockname()),
        w.tcp.connect(w.listener.getsockname()),
    ),
    "connect self": lambda w: w.listener.connect(w.listener.getsockname()),
    "connect closed": lambda w: w.closed.connect(("127.0.0.1", 1)),
    "connect udp": lambda w: w.udp.connect(("127.0.0.1", 9)),
    "connect_ex str": lambda w: w.tcp.connect_ex("127.0.0.1"),
    "connect_ex refused": lambda w: w.tcp.connect_ex(("127.0.0.1", 1)),
    "connect_ex twice": lambda w: [w.tcp.connect_ex(w.listener.getsockname()) for _ in "ab"],
    "connect_ex closed": lambda w: w.closed.connect_ex(("127.0.0.1", 1)),
    "close twice": lambda w: (w.a.close(), w.a.close()),
    "detach": lambda w: (socket.close(w.a.detach()), w.a.fileno()),
    "socket.close": lambda w: socket.close(-5),
    "socket.close str": lambda w: socket.close("x"),
    "os.close": lambda w: os.close(10**9),
    "os.close str": lambda w: os.close("x"),
    "os.dup2": lambda w: os.dup2(w.r, -1),
    "os.closerange": lambda w: os.closerange("x", 1),
    "timeout 0": lambda w: (w.a.settimeout(0), w.a.recv(1)),
    "getaddrinfo": lambda w: socket.getaddrinfo(1, 2, 3, 4, 5, 6, 7),
    "getaddrinfo service": lambda w: socket.getaddrinfo("127.0.0.1", "bogus service"),
    "getaddrinfo type": lambda w: socket.getaddrinfo("127.0.0.1", 80, type="x"),
    "getaddrinfo keyword": lambda w: socket.getaddrinfo(host="127.0.0.1", port=80),
    "gethostbyname": lambda w: socket.gethostbyname(5),
    "getnameinfo": lambda w: socket.getnameinfo("x", 0),
    "getnameinfo port": lambda w: socket.getnameinfo(("127.0.0.1", 2**20), 0),
}

POLLS: dict[str, Case] = {
    "select": lambda w: select.select(),
    "select 2": lambda w: select.select([], []),
    "select ints": lambda w: select.select(1, 2, 3, 0.1),
    "select bad fd": lambda w: select.select([-1], [], [], 1),
    "select object": lambda w: select.select([object()], [], [], 1),
    "select closed": lambda w: select.select([w.closed], [], [], 1),
    "select gone": lambda w: select.select([10**4], [], [], 1),
    "select too large": lambda w: select.select([10**5], [], [], 1),
    "select negative": lambda w: select.select([w.r], [], [], -1),
    "select nan": lambda w: select.select([w.r], [], [], float("nan")),
    "select str": lambda w: select.select([w.r], [], [], "x"),
    "select 0": lambda w: select.select([w.r], [w.w], [], 0),
    "select ready": lambda w: [len(x) for x in select.select([w.r], [w.w], [w.a])],
    "select generator": lambda w: [
        len(x) for x in select.select(iter([w.r]), (w.w for _ in "x"), set())
    ],
    "select generator fails": lambda w: select.select([], (1 // 0 for _ in "x"), []),
    "select nothing": lambda w: select.select([], [], [], 0.01),
    "select file": lambda w: [len(x) for x in select.select([w.file], [w.file], [])],
    "select timeout": lambda w: select.select([w.r], [], [w.a], 0.01),
    "poll str": lambda w: w.poll.poll("x"),
    "poll 2": lambda w: w.poll.poll(1, 2),
    "poll huge": lambda w: w.poll.poll(2**80),
    "poll nothing": lambda w: w.poll.poll(10),
    "poll 0": lambda w: (w.poll.register(w.r), w.poll.poll(0))[1],
    "poll timeout": lambda w: (
        w.poll.register(w.r),
        w.poll.register(w.a, select.POLLIN),
        w.poll.poll(10.5),
    )[2],
    "poll ready": lambda w: (w.poll.register(w.w), [e for _, e in w.poll.poll()])[1],
    "poll gone": lambda w: (w.poll.register(10**4), w.poll.poll(1000))[1],
    "poll file": lambda w: (w.poll.register(w.file), len(w.poll.poll()))[1],
    "epoll str": lambda w: w.epoll.poll("x"),
    "epoll most": lambda w: w.epoll.poll(1, 0),
    "epoll most str": lambda w: w.epoll.poll(1, "x"),
    "epoll keyword": lambda w: w.epoll.poll(bogus=1),
    "epoll 3": lambda w: w.epoll.poll(1, 1, 1),
    "epoll timeout": lambda w: w.epoll.poll(timeout=0.01, maxevents=5),
    "epoll huge": lambda w: w.epoll.poll(2**80),
    "epoll ready": lambda w: (w.epoll.register(w.w), len(w.epoll.poll()))[1],
    "epoll closed": lambda w: (w.epoll.close(), w.epoll.poll(1)),
}

FILES: dict[str, Case] = {
    "read": lambda w: os.read(),
    "read str": lambda w: os.read("x", 1),
    "read gone": lambda w: os.read(10**4, 1),
    "read -1": lambda w: os.read(w.r, -1),
    "read 0": lambda w: os.read(w.r, 0),
    "read length": lambda w: os.read(w.r, "x"),
    "read float": lambda w: os.read(w.r, 1.0),
    "read huge": lambda w: os.read(w.r, 2**80),
    "read None": lambda w: os.read(w.r, None),
    "read list": lambda w: os.read(w.r, [1]),
    "read index raises": lambda w: os.read(w.r, Index(KeyError("x"))),
    "read index": lambda w: (os.write(w.w, b"abc"), os.read(w.r, Index(2)))[1],
    "read other end": lambda w: os.read(w.w, 1),
    "read file": lambda w: os.read(w.file.fileno(), 3),
    "read directory": lambda w: [
        fd := os.open("/", os.O_RDONLY),
        catch(os.read, fd, 1),
        os.close(fd),
    ][1],
    "read end": lambda w: (w.close(w.w), os.read(w.r, 1))[1],
    "read nonblocking": lambda w: (os.set_blocking(w.r, False), os.read(w.r, 1)),
    "read keyword": lambda w: os.read(fd=w.r, length=1),
    "write": lambda w: os.write(w.w),
    "write str": lambda w: os.write(w.w, "x"),
    "write empty": lambda w: os.write(w.w, b""),
    "write gone": lambda w: os.write(10**4, b"x"),
    "write gone large": lambda w: os.write(10**4, bytes(10**5)),
    "write other end": lambda w: os.write(w.r, b"x"),
    "write broken": lambda w: (w.close(w.r), os.write(w.w, b"x")),
    "write broken large": lambda w: (w.close(w.r), os.write(w.w, bytes(10**5))),
    "write nonblocking": lambda w: (os.set_blocking(w.w, False), os.write(w.w, bytes(10**6)))[1],
    "write strided": lambda w: os.write(w.w, memoryview(b"abcdef")[::2]),
    "readv": lambda w: os.readv(w.r, 5),
    "readv empty": lambda w: os.readv(w.r, []),
    "readv bytes": lambda w: os.readv(w.r, [b"x"]),
    "readv generator": lambda w: os.readv(w.r, (bytearray(1) for _ in "x")),
    "writev": lambda w: os.writev(w.w, 5),
    "writev empty": lambda w: os.writev(w.w, []),
    "writev str": lambda w: os.writev(w.w, ["x"]),
    "writev broken": lambda w: (w.close(w.r), os.writev(w.w, [b"x"])),
    "waitpid": lambda w: os.waitpid(os.getpid(), 0),
    "waitpid str": lambda w: os.waitpid("x", 0),
    "waitpid options": lambda w: os.waitpid(1, 10**6),
    "makefile closed": lambda w: w.closed.makefile("rb").read(1),
    "fileio read": lambda w: io.FileIO(w.r, closefd=False).read("x"),
    "fileio not open for reading": lambda w: io.FileIO(w.w, "w", closefd=False).read(1),
    "no such program": lambda w: subprocess.run(["/no/such/program"]),
}

ALL = {
    f"{group} {name}": case
    for group in ("SOCKETS", "POLLS", "FILES")
    for name, case in globals()[group].items()
}


def catch(fn: Callable[..., Any], *args: Any) -> Any:
    try:
        return fn(*args)
    except Exception as error:
        return type(error).__name__, str(error)


def outcome(case: Case) -> Any:
    """What happens, and what is left of it."""
    with ExitStack() as stack:
        w = World(stack)
        numbers = {
            str(fd): name
            for name, fd in (("r", w.r), ("w", w.w), ("a", w.a.fileno()), ("b", w.b.fileno()))
        }
        events: list[str] = []
        listening.append(events)
        try:
            result = case(w)
            seen = ("returned", repr([] if result == [] else result))
        except Exception as error:
            seen = (type(error).__name__, str(error))
        finally:
            listening.remove(events)
        if any(number in seen[1] for number in numbers):
            seen = (seen[0], "(numbers)")
        left = [fd in w.open and os.get_blocking(fd) for fd in (w.r, w.w)]
        left += [
            (s.gettimeout(), s.fileno() >= 0 and os.get_blocking(s.fileno()))
            for s in (w.a, w.b, w.tcp, w.udp)
        ]
        return seen, left, [e for e in events if e.startswith(("socket.", "os."))]


listening: list[list[str]] = []
sys.addaudithook(lambda name, _: [events.append(name) for events in listening] and None)


#: From 3.14.10 and 3.15.2 on CPython says "must be an iterable" whatever the iteration raised. On a goroutine the caller
#: sees what it raised, as before.
ITERATION_FAILS = {"SOCKETS sendmsg fails", "SOCKETS recvmsg_into fails"}


@pytest.mark.parametrize("name", ALL)
def test_on_a_goroutine_the_outcome_is_that_on_a_thread(name: str) -> None:
    case = ALL[name]
    plain = on_thread(outcome, case)
    if name in ITERATION_FAILS and plain[0][0] == "TypeError":
        plain = (("ZeroDivisionError", "division by zero"), *plain[1:])
    began = time.monotonic()
    assert golib.go(outcome, case).join(20) == plain
    assert time.monotonic() - began < 10
