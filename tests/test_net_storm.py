"""golib.net in storms: cancellations, closes and many at once, every byte checked."""

from __future__ import annotations

import contextlib
import struct
import threading

import golib
import golib.net as net
import pytest

from net_support import listening, pair
from support import run_ok

FRAMES = 400


def frames(n):
    for i in range(n):
        body = struct.pack("!I", i) * (i % 50 + 1)
        yield struct.pack("!H", len(body)) + body


@pytest.mark.parametrize("tls", [False, True])
def test_reads_that_are_cancelled_at_any_moment_lose_and_double_nothing(tls, rng):
    with pair(tls=tls) as (a, b):

        def write():
            for frame in frames(FRAMES):
                cut = rng.randrange(len(frame))
                a.write(frame[:cut])
                golib.sleep(rng.choice([0, 0, 0, 0.002]))
                a.write(frame[cut:])

        writer = golib.go(write)
        cancelled = 0

        def patiently(read, *args):
            nonlocal cancelled
            while True:
                with golib.timeout(rng.choice([0, 0.00002, 0.0001, 0.001]), raises=False):
                    return read(*args)
                cancelled += 1

        for frame in frames(FRAMES):
            (size,) = struct.unpack("!H", patiently(b.read_exactly, 2))
            assert patiently(b.read_exactly, size) == frame[2:]
        writer.join()
        assert cancelled


@pytest.mark.parametrize("tls", [False, True])
def test_lines_that_are_read_by_goroutines_that_are_killed_arrive_once(tls, rng):
    lines = [b"%d\n" % i for i in range(1000)]
    got = []
    with pair(tls=tls) as (a, b):

        def read():
            while len(got) < len(lines):
                got.append(b.readline())

        writer = golib.go(lambda: [a.write(line) for line in lines])
        readers = [golib.go(read) for _ in range(4)]
        while len(got) < len(lines) - 10:
            victim = rng.randrange(4)
            if readers[victim].cancel():
                with contextlib.suppress(golib.Cancelled):
                    readers[victim].join()
            readers[victim] = golib.go(read)
            golib.gosched()
        writer.join()
        a.close()
        for g in readers:
            with contextlib.suppress(golib.Cancelled):
                g.join()
    assert sorted(line for line in got if line) == sorted(lines)


def test_closes_race_with_everything(rng):
    for _ in range(150):
        with pair() as (a, b):
            ends = [
                golib.go(f) for f in (a.read, a.readline, lambda: a.write(bytes(5_000_000)), b.read)
            ]
            closer = golib.go(rng.choice([a, b]).close)
            thread = threading.Thread(target=rng.choice([a, b]).close)
            thread.start()
            thread.join()
            closer.join()
            a.close()
            b.close()
            for g in ends:
                with contextlib.suppress(OSError):
                    g.join()


def test_descriptor_numbers_that_are_reused_mix_nothing_up():
    with listening() as listener:

        def echo(conn):
            while line := conn.readline():
                conn.write(line)

        server = golib.go(listener.serve, echo)

        def client(i):
            for n in range(20):
                with net.dial(listener.addr) as conn:
                    line = b"%d %d\n" % (i, n)
                    conn.write(line)
                    assert conn.readline() == line

        with golib.scope() as s:
            for i in range(30):
                s.go(client, i)
        listener.shutdown()
        server.join()


def test_a_thousand_connections_take_a_handful_of_threads():
    run_ok(
        """
        import os, resource
        import golib, golib.net as net

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))

        def echo(conn):
            while line := conn.readline():
                conn.write(line)

        def main():
            listener = net.listen("127.0.0.1:0")
            server = golib.go(listener.serve, echo)
            conns = [net.dial(listener.addr) for _ in range(1000)]
            def talk(conn, i):
                for n in range(5):
                    conn.write(b"%d\\n" % i)
                    assert conn.readline() == b"%d\\n" % i
            with golib.scope() as s:
                for i, conn in enumerate(conns):
                    s.go(talk, conn, i)
            assert len(os.listdir("/proc/self/task")) <= 16
            for conn in conns:
                conn.close()
            listener.shutdown()
            server.join()

        golib.run(main)
        """
    )


def test_connections_survive_goroutines_that_move_at_every_park():
    run_ok(
        """
        import golib, golib.net as net

        def echo(conn):
            while line := conn.readline():
                conn.write(line)

        def main():
            listener = net.listen("127.0.0.1:0")
            server = golib.go(listener.serve, echo)
            def client(i):
                with net.dial(listener.addr) as conn:
                    for n in range(50):
                        conn.write(b"%d %d\\n" % (i, n))
                        assert conn.readline() == b"%d %d\\n" % (i, n)
            with golib.scope() as s:
                for i in range(20):
                    s.go(client, i)
            listener.shutdown()
            server.join()

        golib.run(main)
        """,
        env={"GOLIB_DEBUG": "migrate=1"},
    )
