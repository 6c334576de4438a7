"""golib.patch on one descriptor that many use: nobody sits in a call of the kernel's because another took what it had seen."""

from __future__ import annotations

import io
import os
import pathlib
import pty
import select
import socket
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

import golib
import pytest

from measures import threads
from support import eventually, parked, start_poller

start_poller()

#: How many wait for one descriptor.
MANY = 60


@pytest.fixture(autouse=True, scope="module")
def patched() -> Iterator[None]:
    golib.patch()
    yield
    golib.unpatch()


def by_pipe() -> tuple[int, int]:
    return os.pipe()


def by_socket() -> tuple[int, int]:
    a, b = socket.socketpair()
    return a.detach(), b.detach()


def by_fifo() -> tuple[int, int]:
    """RWF_NOWAIT is refused there."""
    name = f"/tmp/golib-test-{os.getpid()}"
    os.mkfifo(name)
    try:
        r = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
        w = os.open(name, os.O_WRONLY)
    finally:
        os.unlink(name)
    os.set_blocking(r, True)
    return r, w


def by_terminal() -> tuple[int, int]:
    """There is no call that does not wait: only the turn helps."""
    w, r = pty.openpty()
    tty.setraw(r)
    return r, w


KINDS = [by_pipe, by_socket, by_fifo, by_terminal]


@pytest.fixture(params=KINDS)
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    r, w = request.param()
    yield r, w
    os.close(r)
    os.close(w)


def read(fd: int) -> bytes:
    return os.read(fd, 1)


def readv(fd: int) -> bytes:
    room = bytearray(1)
    return bytes(room[: os.readv(fd, [bytearray(), room])])


def readinto(fd: int) -> bytes:
    room = bytearray(1)
    return bytes(room[: os.readinto(fd, room)])  # type: ignore[attr-defined]


def file_read(fd: int) -> bytes:
    return io.FileIO(fd, closefd=False).read(1)  # type: ignore[return-value]


def file_readinto(fd: int) -> bytes:
    room = bytearray(1)
    return bytes(room[: io.FileIO(fd, closefd=False).readinto(room)])


def buffered(fd: int) -> bytes:
    return io.BufferedReader(io.FileIO(fd, closefd=False), 1).read1(1)


READS = [read, readv, file_read, file_readinto, buffered]
if hasattr(os, "readinto"):
    READS.append(readinto)


@pytest.mark.parametrize("take", READS)
def test_readers_of_one_descriptor_hold_no_threads(
    take: Callable[[int], bytes], ends: tuple[int, int]
) -> None:
    r, w = ends
    before = threads()
    got: list[bytes] = []

    def reader() -> None:
        while (piece := take(r)) != b"\n":
            got.append(piece)
            golib.gosched()

    gs = [golib.go(reader) for _ in range(MANY)]
    most = 0
    for n in range(0, 2000, 10):
        os.write(w, b"x" * 10)  # this is an ordinary thread: it may block
        most = max(most, threads() - before)
        golib.sleep(0.0002 if n % 100 == 0 else 0)
    eventually(lambda: len(got) == 2000)
    for g in gs:
        parked(g, "IO wait")
    assert most <= 6
    os.write(w, b"\n" * MANY)
    for g in gs:
        g.join(20)
    assert got == [b"x"] * 2000


@pytest.mark.parametrize("take", READS)
def test_a_timeout_ends_a_read_whatever_others_take(
    take: Callable[[int], bytes], ends: tuple[int, int]
) -> None:
    r, w = ends

    def hasty() -> int:
        n = 0
        for _ in range(20):
            try:
                with golib.timeout(0.002):
                    n += len(take(r))
            except TimeoutError:
                pass
        return n

    gs = [golib.go(hasty) for _ in range(20)]
    sent = 0
    while not all(g.done() for g in gs):
        os.write(w, b"x")
        sent += 1
        golib.sleep(0.001)
        assert sent < 20_000
    got = sum(g.join(20) for g in gs)
    os.write(w, b"y")
    while take(r) != b"y":
        got += 1
    assert got == sent


WRITES: dict[str, Callable[[int, bytes], Any]] = {
    "write": os.write,
    "writev": lambda fd, data: os.writev(fd, [data[:1], data[1:]]),
    "FileIO": lambda fd, data: io.FileIO(fd, "w", closefd=False).write(data),
}


@pytest.mark.parametrize("size", [1000, 4096, 20_000])
@pytest.mark.parametrize("way", WRITES)
@pytest.mark.parametrize("kind", KINDS[:3])
def test_writers_to_one_descriptor_hold_no_threads(
    kind: Callable[[], tuple[int, int]], way: str, size: int
) -> None:
    r, w = kind()
    before = threads()
    write = WRITES[way]

    def writer() -> int:
        return sum(write(w, b"x" * size) for _ in range(10))

    gs = [golib.go(writer) for _ in range(30)]
    got = most = 0
    while got < 30 * 10 * size:
        got += len(os.read(r, 3000))
        most = max(most, threads() - before)
    assert most <= 6
    assert [g.join(20) for g in gs] == [10 * size] * 30
    os.close(r)
    os.close(w)


#: A process that takes a byte a moment after it has come: often between a goroutine's look and its read.
THIEF = """
import fcntl, os, random, socket, struct, sys, termios
r = int(sys.argv[1])
fd = r if sys.argv[2] == "by_socket" else os.open(f"/proc/self/fd/{r}", os.O_RDONLY | os.O_NONBLOCK)
sock = socket.socket(fileno=os.dup(fd)) if sys.argv[2] == "by_socket" else None
while True:
    if not struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0]:
        continue
    for _ in range(random.randrange(60)):
        pass
    try:
        sock.recv(1, socket.MSG_DONTWAIT) if sock else os.read(fd, 1)
    except BlockingIOError:
        pass
"""


@pytest.mark.parametrize("kind", KINDS[:3])
def test_another_process_takes_what_was_there(kind: Callable[[], tuple[int, int]]) -> None:
    r, w = kind()
    thief = subprocess.Popen([sys.executable, "-c", THIEF, str(r), kind.__name__], pass_fds=[r])
    try:
        gs = robbed(r, w)
    finally:
        thief.kill()
        thief.wait()
    os.write(w, b"..")
    for g in gs:
        g.join(20)
    os.close(r)
    os.close(w)


def robbed(r: int, w: int) -> list[Any]:
    """The readers, who wait."""
    gs = [parked(golib.go(read, r), "IO wait") for _ in range(2)]
    end = time.monotonic() + 3
    while time.monotonic() < end:
        os.write(w, b"x")
        eventually(
            lambda: (
                not select.select([r], [], [], 0)[0]
                and all(g.done() or g.status() == "IO wait" for g in gs)
            ),
            what="every reader is parked, though another took what was there",
        )
        gs = [parked(golib.go(read, r), "IO wait") if g.done() else g for g in gs]
    return gs


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="no eventfd")
def test_an_eventfd_is_awaited_without_a_thread() -> None:
    fd = os.eventfd(0, os.EFD_SEMAPHORE)
    before = threads()
    gs = [parked(golib.go(os.eventfd_read, fd), "IO wait") for _ in range(20)]
    assert threads() <= before + 4
    os.eventfd_write(fd, 20)
    assert [g.join(10) for g in gs] == [1] * 20
    os.close(fd)


def test_sendfile_parks_and_sends_all(tmp_path: pathlib.Path) -> None:
    data = os.urandom(3_000_000)
    path = tmp_path / "data"
    path.write_bytes(data)
    before = threads()

    def send(way: str, sock: socket.socket) -> int:
        with sock, path.open("rb", buffering=0) as f:
            if way == "socket.sendfile":
                return sock.sendfile(f)
            sent = os.sendfile(sock.fileno(), f.fileno(), None if way == "here" else 0, len(data))
            assert f.tell() == (len(data) if way == "here" else 0)
            return sent

    for way in ("socket.sendfile", "here", "at"):
        pairs = [socket.socketpair() for _ in range(10)]
        gs = [parked(golib.go(send, way, a), "IO wait") for a, _ in pairs]
        assert threads() <= before + 4
        for (_, b), g in zip(pairs, gs, strict=True):
            with b, b.makefile("rb") as f:
                assert golib.go(f.read).join(20) == data
            assert g.join(20) == len(data)


def test_calls_that_move_all_do_so() -> None:
    data = os.urandom(2_000_000)

    def receive(b: socket.socket, way: str) -> bytes:
        if way == "recv":
            return b.recv(len(data), socket.MSG_WAITALL)
        room = bytearray(len(data))
        assert b.recv_into(room, 0, socket.MSG_WAITALL) == len(data)
        return bytes(room)

    for way in ("recv", "recv_into"):
        a, b = socket.socketpair()
        with a, b:
            g = parked(golib.go(a.sendmsg, [data[:5], data[5:]]), "IO wait")
            assert golib.go(receive, b, way).join(20) == data
            assert g.join(20) == len(data)
            g = parked(golib.go(b.recv, 10, socket.MSG_WAITALL), "IO wait")
            a.send(b"abc")
            parked(g, "IO wait")
            a.shutdown(socket.SHUT_WR)
            assert g.join(20) == b"abc"


def test_a_call_that_moves_all_and_is_left_tells_what_it_moved() -> None:
    a, b = socket.socketpair()
    with a, b:

        def body() -> bytes:
            got = b""
            with pytest.raises(TimeoutError), golib.timeout(0.05):
                got = b.recv(10, socket.MSG_WAITALL)
                golib.sleep(1)
            return got

        g = golib.go(body)
        a.send(b"abc")
        assert g.join(20) == b"abc"
