"""golib.patch("select", "os", "file"): polls, pipes and buffered files park."""

from __future__ import annotations

import errno
import io
import os
import select
import selectors
import socket
import subprocess
import sys

import golib
import pytest

from measures import threads
from support import on_thread, parked, run_ok, start_poller

start_poller()


@pytest.fixture(autouse=True, scope="module")
def patched():
    golib.patch("select", "os", "file", "socket", "time")
    yield
    golib.unpatch()


@pytest.fixture
def pipe():
    r, w = os.pipe()
    yield r, w
    os.close(r)
    os.close(w)


def polled(fds, timeout=None):
    p = select.poll()
    for fd in fds:
        p.register(fd, select.POLLIN)
    return [fd for fd, _ in p.poll(timeout)]


def epolled(fds, timeout=None):
    with select.epoll() as p:
        for fd in fds:
            p.register(fd, select.EPOLLIN)
        return [fd for fd, _ in p.poll(timeout)]


def selected(fds, timeout=None):
    return select.select(fds, [], [], timeout)[0]


def selector(fds, timeout=None):
    with selectors.DefaultSelector() as s:
        for fd in fds:
            s.register(fd, selectors.EVENT_READ)
        return [key.fd for key, _ in s.select(timeout)]


WAYS = [polled, epolled, selected, selector]


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_poll_parks_and_tells_what_is_ready(way, n):
    before = threads()
    pipes = [os.pipe() for _ in range(n)]
    gs = [parked(golib.go(way, [r for r, _ in pipes]), "IO wait") for _ in range(20)]
    assert threads() < before + 15
    os.write(pipes[-1][1], b"x")
    for g in gs:
        assert g.join(10) == [pipes[-1][0]]
    for pair in pipes:
        for fd in pair:
            os.close(fd)


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_poll_ends_at_its_timeout_and_when_it_is_left(way, n):
    pipes = [os.pipe() for _ in range(n)]
    fds = [r for r, _ in pipes]
    short = 20 if way is polled else 0.02
    assert golib.go(way, fds, short).join(10) == []

    def left():
        with pytest.raises(TimeoutError), golib.timeout(0.02):
            way(fds, short * 1000)

    golib.go(left).join(10)
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_an_epoll_object_made_before_and_changed_while_it_is_waited_for():
    a, b = socket.socketpair()
    with a, b, select.epoll() as ep:
        g = parked(golib.go(ep.poll), "IO wait")
        ep.register(b, select.EPOLLIN)
        a.send(b"x")
        assert g.join(10) == [(b.fileno(), select.EPOLLIN)]


def test_readers_of_a_pipe_park_and_close_wakes_them():
    r, w = os.pipe()
    g = parked(golib.go(os.read, r, 10), "IO wait")
    os.write(w, b"abc")
    assert g.join(10) == b"abc"
    g = parked(golib.go(os.readv, r, [bytearray(3)]), "IO wait")
    os.close(r)
    with pytest.raises(OSError, match="Bad file") as info:
        g.join(10)
    assert info.value.errno == errno.EBADF
    os.close(w)


@pytest.mark.parametrize("way", ["write", "writev", "FileIO", "buffered"])
def test_a_write_of_more_than_a_pipe_holds_parks(way, pipe):
    r, w = pipe
    data = os.urandom(1_000_000)
    write = {
        "write": lambda: os.write(w, data),
        "writev": lambda: os.writev(w, [data[:7], data[7:]]),
        "FileIO": lambda: io.FileIO(w, "w", closefd=False).write(data),
        "buffered": lambda: io.BufferedWriter(io.FileIO(w, "w", closefd=False)).write(data),
    }[way]
    before = threads()
    gs = [parked(golib.go(write), "IO wait")]
    assert threads() <= before + 2
    received = b""
    while len(received) < len(data):
        received += golib.go(os.read, r, 100_000).join(10)
    assert gs[0].join(10) == len(data)
    assert received == data


def test_a_childs_output_is_awaited_without_a_thread():
    program = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"

    def one(i):
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as p:
            p.stdin.write(f"abc{i}\n")
            p.stdin.flush()
            line = p.stdout.readline()
            p.stdin.close()
            return line, p.stdout.read()

    with golib.scope() as s:
        gs = [s.go(one, i) for i in range(5)]
    assert [g.join() for g in gs] == [(f"{i}cba\n", "") for i in range(5)]


def test_buffered_readers_of_pipes_do_not_hold_threads():
    before = threads()
    pipes = [os.pipe() for _ in range(100)]
    files = [io.BufferedReader(io.FileIO(r)) for r, _ in pipes]
    gs = [parked(golib.go(f.readline), "IO wait") for f in files]
    assert threads() < before + 15
    for _, w in pipes:
        os.write(w, b"line\nrest")
        os.close(w)
    assert [g.join(10) for g in gs] == [b"line\n"] * 100
    assert [golib.go(f.read).join(10) for f in files] == [b"rest"] * 100
    for f in files:
        f.close()


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_socket_files_do_not_hold_threads(mode):
    before = threads()
    pairs = [socket.socketpair() for _ in range(100)]
    files = [b.makefile(mode) for _, b in pairs]
    gs = [parked(golib.go(lambda f=f: [f.readline(), next(f)]), "IO wait") for f in files]
    assert threads() < before + 15
    for i, (a, _) in enumerate(pairs):
        a.sendall(b"%d\n" % i)
        a.sendall(b"next\n")
    lines = [[f"{i}\n", "next\n"] for i in range(100)]
    expected = lines if mode == "r" else [[line.encode() for line in pair] for pair in lines]
    assert [g.join(10) for g in gs] == expected
    for f, (a, b) in zip(files, pairs, strict=True):
        f.close()
        a.close()
        b.close()


def test_goroutines_that_share_a_file_take_turns():
    a, b = socket.socketpair()
    with a, b, b.makefile("rb") as f:
        gs = [golib.go(f.readline) for _ in range(20)]
        for i in range(20):
            a.sendall(b"line %d\n" % i)
            golib.gosched()
        assert sorted(g.join(10) for g in gs) == sorted(b"line %d\n" % i for i in range(20))


def test_a_call_inside_a_call_is_refused_as_on_a_thread():
    class Raw(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, room):
            return reader.read(1)

    reader = io.BufferedReader(Raw())

    def outcome():
        with pytest.raises(RuntimeError) as info:
            reader.read(1)
        return str(info.value).partition(" inside")[0]

    assert golib.go(outcome).join(10) == on_thread(outcome)


def test_a_cancelled_readline_leaves_the_file_usable():
    a, b = socket.socketpair()
    with a, b, b.makefile("rb") as f:
        g = parked(golib.go(f.readline), "IO wait")
        g.cancel()
        with pytest.raises(golib.Cancelled):
            g.join(10)
        a.sendall(b"line\n")
        assert golib.go(f.readline).join(10) == b"line\n"


def test_unpatch_with_goroutines_parked_everywhere():
    out = run_ok("""
        import golib, os, select, socket
        golib.patch()
        a, b = socket.socketpair(); c, d = socket.socketpair(); r, w = os.pipe(); r2, w2 = os.pipe(); r3, w3 = os.pipe()
        f = d.makefile("rb")
        gs = [golib.go(b.recv, 1), golib.go(f.readline), golib.go(os.read, r, 1), golib.go(select.select, [r2], [], []),
              golib.go(open(r3, "rb").readline)]
        golib.sleep(0.05)
        golib.unpatch()
        a.send(b"x"); c.send(b"x\\n"); os.write(w, b"x"); os.write(w2, b"x"); os.write(w3, b"x\\n")
        print(b"".join(g.join(5) for g in gs[:3]), len(gs[3].join(5)[0]), gs[4].join(5))
    """)
    assert out == "b'xx\\nx' 1 b'x\\n'\n"
