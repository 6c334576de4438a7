"""A TCP proxy: for each connection one to the target, and two goroutines that copy.

`proxy.py` tries itself and ends; `proxy.py 127.0.0.1:7000 example.org:80` serves until Ctrl-C.
"""

import sys

import golib
from golib import net


def copy(source: net.Conn, target: net.Conn) -> None:
    """All bytes, then the end."""
    room = bytearray(65536)
    with memoryview(room) as view:
        while n := source.read_into(room):
            target.write(view[:n])
    target.close_write()


def forward(target: str | tuple[str, int], conn: net.Conn) -> None:
    with net.dial(target, timeout=10) as upstream, golib.scope() as both:
        both.go(copy, conn, upstream)
        both.go(copy, upstream, conn)


def reverse(conn: net.Conn) -> None:
    for line in iter(conn.readline, b""):
        conn.write(line.strip()[::-1] + b"\n")


def try_it() -> None:
    with net.listen("127.0.0.1:0") as target, net.listen("127.0.0.1:0") as proxy:
        servers = [
            golib.go(target.serve, reverse),
            golib.go(proxy.serve, lambda conn: forward(target.addr, conn)),
        ]
        with net.dial(proxy.addr) as conn:
            conn.write(b"desserts\nstressed\n")
            conn.close_write()
            print(b"".join(iter(conn.read, b"")).decode(), end="")
        for listener in (proxy, target):
            listener.shutdown(timeout=5)
        for server in servers:
            server.join()


@golib.main
def main(addr: str | None = None, target: str | None = None) -> None:
    if addr is None or target is None:
        try_it()
        return
    with net.listen(addr) as listener:
        listener.serve(lambda conn: forward(target, conn))


if __name__ == "__main__":
    main(*sys.argv[1:3])
