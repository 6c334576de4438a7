"""Echo servers, one per peer, each run as a process of its own by net.py: `net_servers.py PEER` prints its port.

Each serves until its standard input ends, and answers each line on it with a line: the KiB of memory it uses, page
tables included, and the number of its OS threads. CPU time is read from outside.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
BACKLOG = 4096
AT_MOST = 65536


def answer() -> None:
    for _ in sys.stdin:
        status = Path("/proc/self/status").read_text("ascii")
        kib = sum(int(n) for n in re.findall(r"^(?:VmRSS|VmPTE):\s+(\d+)", status, re.MULTILINE))
        print(kib, len(os.listdir("/proc/self/task")), flush=True)
    os._exit(0)


def serves(port: int) -> None:
    print(port, flush=True)


def golib_net() -> None:
    import golib
    from golib import net

    def echo(conn: net.Conn) -> None:
        while data := conn.read():
            conn.write(data)

    def main() -> None:
        listener = net.listen((HOST, 0), backlog=BACKLOG)
        serves(listener.addr[1])
        listener.serve(echo)

    golib.run(main)


def blocking(go: Callable[..., object]) -> None:
    """The same program for threads, and for goroutines under patch()."""
    import socket

    def echo(sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(AT_MOST):
                sock.sendall(data)

    listener = socket.create_server((HOST, 0), backlog=BACKLOG)
    serves(listener.getsockname()[1])
    while True:
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        go(echo, sock)


def patched() -> None:
    import golib

    golib.patch()
    golib.run(blocking, golib.go)


def threads() -> None:
    blocking(lambda echo, sock: threading.Thread(target=echo, args=(sock,), daemon=True).start())


def protocol(run: Callable[[Any], object]) -> None:
    import asyncio

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, HOST, 0, backlog=BACKLOG)
        serves(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    run(main())


def asyncio() -> None:
    import asyncio

    protocol(asyncio.run)


def uvloop() -> None:
    import uvloop

    protocol(uvloop.run)


def gevent() -> None:
    from gevent.server import StreamServer

    def echo(sock: Any, _: object) -> None:
        while data := sock.recv(AT_MOST):
            sock.sendall(data)

    server = StreamServer((HOST, 0), echo, backlog=BACKLOG)
    server.start()
    serves(server.server_port)
    server.serve_forever()


#: By the names that net.py prints.
PEERS: dict[str, Callable[[], None]] = {
    "golib.net": golib_net,
    "patched": patched,
    "uvloop": uvloop,
    "asyncio": asyncio,
    "gevent": gevent,
    "threads": threads,
}


if __name__ == "__main__":
    threading.Thread(target=answer, daemon=True).start()
    PEERS[sys.argv[1]]()
