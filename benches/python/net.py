"""Echo servers under load, and what idle connections cost: golib.net beside uvloop's and asyncio's protocols.

    .venv/bin/python benches/python/net.py [--peers golib,uvloop] [--seconds 2] [--turns 5] [--idle 10000]

The load is benches/rust's `load` (built by cargo if need be): a closed loop of 64-byte messages on one thread. CPU is
the server process's, user and system, for one request. Peers take turns; a cell is the median. Idle memory is what
VmRSS and the page tables grow by, divided by the connections.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "target" / "benches"
LOAD = BUILT / "release" / "load"

GOLIB = """
import golib
from golib import net
def echo(conn):
    while data := conn.read():
        conn.write(data)
@golib.main
def main():
    listener = net.listen('127.0.0.1:0', backlog=4096)
    golib.go(commands)
    print(listener.addr[1], flush=True)
    listener.serve(echo)
"""
UVLOOP = """
import asyncio, threading
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, '127.0.0.1', 0, backlog=4096)
    threading.Thread(target=commands, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
"""
#: Answers each line with the CPU seconds and the KiB of memory that the process has used.
COMMANDS = """
import os, re, resource, sys
def commands():
    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        status = open('/proc/self/status').read()
        kib = sum(int(n) for n in re.findall(r'^(?:VmRSS|VmPTE):\\s+(\\d+)', status, re.M))
        print(used.ru_utime + used.ru_stime, kib, len(os.listdir('/proc/self/task')), flush=True)
    os._exit(0)
"""
PEERS = {
    "golib": GOLIB + "main()",
    "uvloop": UVLOOP + "import uvloop; uvloop.run(main())",
    "asyncio": UVLOOP + "asyncio.run(main())",
}


class Server:
    """A peer's server, a process of its own."""

    def __init__(self, peer: str) -> None:
        command = [sys.executable, "-c", COMMANDS + PEERS[peer]]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def used(self) -> tuple[float, int, int]:
        """CPU seconds, KiB and OS threads."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        cpu, kib, threads = self._line().split()
        return float(cpu), int(kib), int(threads)


@contextlib.contextmanager
def serving(peer: str) -> Iterator[Server]:
    server = Server(peer)
    try:
        yield server
    finally:
        server.process.stdin.close()  # type: ignore[union-attr]
        server.process.wait(30)


def load(peer: str, connections: int, seconds: int) -> dict[str, float]:
    """One turn: CPU microseconds a request, requests a second, p99, threads."""
    with serving(peer) as server:
        before, _, _ = server.used()
        command = [str(LOAD), str(server.port), str(connections), str(seconds)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        after, _, threads = server.used()
    fields = dict(pair.split("=") for pair in done.stdout.split())
    return {
        "cpu_us": (after - before) * 1e6 / int(fields["requests"]),
        "requests_s": 1e9 / float(fields["ns_request"]),
        "p99_us": float(fields["p99_us"]),
        "threads": float(threads),
    }


def idle(peer: str, connections: int) -> dict[str, float]:
    """KiB for each of so many connections that have had one message and wait for the next."""
    with serving(peer) as server, contextlib.ExitStack() as stack:
        for warm in (8, connections):
            _, before, _ = server.used()
            for _ in range(warm):
                conn = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                conn.sendall(b"x")
                assert conn.recv(1) == b"x"
        _, after, threads = server.used()
        return {"kib": (after - before) / connections, "threads": float(threads)}


def build_load() -> None:
    if not LOAD.exists():
        manifest = str(ROOT / "benches" / "rust" / "Cargo.toml")
        command = ["cargo", "build", "--quiet", "--release", "--target-dir", str(BUILT)]
        subprocess.run([*command, "--manifest-path", manifest, "--package", "load"], check=True)


def medians(turns: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", default="golib,uvloop,asyncio")
    parser.add_argument("--connections", default="64,1000")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--json")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    peers = options.peers.split(",")
    build_load()
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for connections in map(int, options.connections.split(",")):
        turns: dict[str, list[dict[str, float]]] = {peer: [] for peer in peers}
        for _ in range(options.turns):
            for peer in peers:
                turns[peer].append(load(peer, connections, options.seconds))
        rows[f"echo {connections}"] = {peer: medians(turns[peer]) for peer in peers}
    if options.idle:
        rows[f"idle {options.idle}"] = {peer: idle(peer, options.idle) for peer in peers}
    for title, row in rows.items():
        for peer, figures in row.items():
            print(f"{title:12} {peer:8}", *(f"{key} {value:.4g}" for key, value in figures.items()))
        if "golib" in row and "uvloop" in row:
            key = next(iter(row["golib"]))
            print(
                f"{title:12} golib / uvloop in {key}: {row['golib'][key] / row['uvloop'][key]:.2f}"
            )
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1), "utf-8")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
