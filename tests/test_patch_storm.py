"""Storms over patched sockets, TLS, pipes and files: reads and writes that are left at any moment; every byte is checked."""

from __future__ import annotations

import pathlib

import pytest

from support import MIGRATE, run_ok

STORM = """
    import io, os, random, socket, ssl, sys
    import golib
    golib.patch()
    seed, most, pem = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    random.seed(seed)

    HALF = 1 << 16
    PATTERN = bytes(i * i % 251 for i in range(HALF)) * 2
    cancels = dict.fromkeys(("tcp", "unix", "tls", "pipe", "file"), 0)

    def left(kind, fn, *args):
        "What fn(*args) returns; None if it was left."
        with golib.timeout(random.choice([0, 0.00002, 0.0001, 0.0005]), raises=False):
            return fn(*args)
        cancels[kind] += 1

    def enough(kind):
        return cancels[kind] >= most // len(cancels)

    def writer(kind, write, close, is_left):
        "Streams the pattern; the number of bytes."
        sent = 0
        while not enough(kind):
            n = random.choice([1, 100, 4000, 60_000] if is_left else [1, 100])
            piece = PATTERN[sent % HALF : sent % HALF + n]
            done = left(kind, write, piece) if is_left else write(piece)
            sent += done or 0
            if random.random() < (0.2 if is_left else 0.8):  # who reads is to wait, too
                golib.sleep(random.random() * 0.0005)
        close()
        return sent

    def reader(kind, read):
        got = 0
        while True:
            piece = left(kind, read, random.choice([1, 1000, 70_000]))
            if piece is None:
                continue
            if not piece:
                return got
            at = got % HALF
            for i in range(0, len(piece), HALF):
                part = piece[i : i + HALF]
                assert part == PATTERN[at : at + len(part)], (kind, got)
            got += len(piece)
            if random.random() < 0.05:
                golib.sleep(random.random() * 0.001)

    def tcp():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            a = socket.create_connection(listener.getsockname())
            return a, listener.accept()[0]

    def tls():
        a, b = tcp()
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pem)
        client = ssl.create_default_context(cafile=pem)
        g = golib.go(server.wrap_socket, b, server_side=True)
        return client.wrap_socket(a, server_hostname="localhost"), g.join()

    def over_sockets(kind, pair, is_left=True):
        a, b = pair()
        if random.random() < 0.5:
            b.settimeout(60)
        with a, b:
            with golib.scope() as s:
                sent = s.go(writer, kind, a.send, lambda: a.shutdown(socket.SHUT_WR), is_left)
                got = s.go(reader, kind, b.recv)
            assert sent.join() == got.join() > 0

    def over_descriptors(kind, is_file):
        r, w = os.pipe()
        read = io.FileIO(r, closefd=False).read if is_file else lambda n: os.read(r, n)
        write = io.FileIO(w, "w", closefd=False).write if is_file else lambda data: os.write(w, data)
        with golib.scope() as s:
            sent = s.go(writer, kind, write, lambda: os.close(w), True)
            got = s.go(reader, kind, read)
        os.close(r)
        assert sent.join() == got.join() > 0

    def main():
        with golib.scope() as s:
            for _ in range(4):
                s.go(over_sockets, "tcp", tcp)
                s.go(over_sockets, "unix", socket.socketpair)
                # A write over TLS that is left has begun a record, as after a timeout of the socket's own.
                s.go(over_sockets, "tls", tls, False)
                s.go(over_descriptors, "pipe", False)
                s.go(over_descriptors, "file", True)
        assert all(enough(kind) for kind in cancels), cancels
        assert golib.runtime.stats()["threads"] <= 20, golib.runtime.stats()

    golib.run(main)
"""

PEM = str(pathlib.Path(__file__).with_name("localhost.pem"))


@pytest.mark.parametrize("env", [{}, MIGRATE], ids=["plain", "migrate"])
def test_what_is_left_loses_and_doubles_nothing(env, rng):
    run_ok(STORM, str(rng.randrange(10**9)), "6000", PEM, env=env)


@pytest.mark.slow
@pytest.mark.hang(600)
@pytest.mark.parametrize("env", [{}, MIGRATE], ids=["plain", "migrate"])
def test_a_hundred_thousand_lose_and_double_nothing(env, rng):
    run_ok(STORM, str(rng.randrange(10**9)), "100000", PEM, env=env, timeout=600)
