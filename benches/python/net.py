"""The network and patch() beside their peers: every row of the table "Network" in benches/README.md, in one run.

    .venv/bin/python benches/python/net.py [--only echo,tls,idle,clients,locks] [--turns 5] [--smoke]

Peers take turns, each in a process of its own; a cell is the median of the turns. The echo servers have one CPU and the
load (benches/rust's `load`, built by cargo if need be) another one. CPU is the server process's, user and system, while
all connections are up. A peer or library that is missing is left out. The figures go to benches/results/net.json;
`--table FILE` prints its tables again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import libraries
from net_report import Cells, tables
from run import machine

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "benches"
LOAD = BUILT / "release" / "load"
DEFAULT_RESULTS = HERE.parent / "results" / "net.json"

Figures = dict[str, float]

SERVERS = ["golib.net", "patched", "uvloop", "asyncio", "gevent", "threads"]
#: Peers with nothing to install.
BUILT_IN = {"golib.net", "patched", "asyncio", "threads"}
#: Clients of a kind, at once; the peers that they are measured with.
MANY = {
    "requests": (1000, ["patched", "gevent", "threads"]),
    "redis": (1000, ["patched", "gevent", "threads"]),
    "psycopg": (200, ["patched", "gevent", "threads"]),
}


# -- processes ---------------------------------------------------------------------------------------


def pinned(cpu: int) -> list[str]:
    """What a command begins with that is to run on one CPU: where there are two, and taskset."""
    enough = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ["taskset", "-c", str(cpu)] if enough else []


class Server:
    """A peer's echo server."""

    def __init__(self, peer: str) -> None:
        command = [*pinned(0), sys.executable, str(HERE / "net_servers.py"), peer]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.port = int(self._line())

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def used(self) -> tuple[int, int]:
        """KiB and OS threads."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        kib, threads = self._line().split()
        return int(kib), int(threads)


@contextlib.contextmanager
def serving(peer: str) -> Iterator[Server]:
    server = Server(peer)
    try:
        yield server
    finally:
        server.process.stdin.close()  # type: ignore[union-attr]
        server.process.wait(30)


@contextlib.contextmanager
def slow_server(kind: str) -> Iterator[str]:
    """What the clients of a kind wait for; its address."""
    if kind == "psycopg":
        with libraries.postgres("-c", "max_connections=250") as address:
            yield address
        return
    kind = {"requests": "http"}.get(kind, kind)
    command = [sys.executable, str(HERE / "net_clients.py"), "serve", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def most_threads(process: subprocess.Popen[str]) -> int:
    """How many OS threads a process has at most, until it ends."""
    most = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration, ValueError):
            status = Path(f"/proc/{process.pid}/status").read_text("ascii").splitlines()
            line = next(line for line in status if line.startswith("Threads:"))
            most = max(most, int(line.split()[1]))
        time.sleep(0.02)
    return most


def cell(script: str, *args: str) -> tuple[Figures, int]:
    """The figures that a script prints, and how many OS threads it had at most."""
    command = [sys.executable, str(HERE / script), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        most = most_threads(process)
        assert process.stdout is not None
        printed = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(args)} ended with {process.returncode}")
    return json.loads(printed), most


# -- rows ----------------------------------------------------------------------------------------------


def echo(peer: str, connections: int, seconds: int) -> Figures:
    """CPU microseconds a request, requests a second, p99."""
    with serving(peer) as server:
        command = [*pinned(1), str(LOAD)]
        command += map(str, [server.port, connections, seconds, server.process.pid])
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        _, threads = server.used()
    fields = dict(pair.split("=") for pair in done.stdout.split())
    return {
        "cpu_us": float(fields["cpu_ns"]) / 1e3,
        "requests_s": 1e9 / float(fields["ns_request"]),
        "p99_us": float(fields["p99_us"]),
        "threads": threads,
    }


def idle(peer: str, connections: int) -> Figures:
    """KiB for each of so many connections that have had one message and wait for the next."""
    with serving(peer) as server, contextlib.ExitStack() as stack:
        for warm in (8, connections):
            before, _ = server.used()
            for _ in range(warm):
                conn = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                conn.sendall(b"x")
                assert conn.recv(1) == b"x"
        after, threads = server.used()
        return {"kib": (after - before) / connections, "threads": threads}


def many(kind: str, peer: str, n: int, address: str) -> Figures:
    figures, threads = cell("net_clients.py", kind, peer, str(n), address)
    return {**figures, "threads": threads}


@contextlib.contextmanager
def certificate() -> Iterator[str]:
    """A self-signed certificate for localhost, and its key: their files, as net_clients.py wants them."""
    with tempfile.TemporaryDirectory(prefix="golib-bench-") as folder:
        cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        command = ["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert]
        subprocess.run(command, check=True, capture_output=True)
        yield f"{cert},{key}"


# -- the run -------------------------------------------------------------------------------------------


class Run:
    """What is measured, how large and how often, and what came of it."""

    def __init__(self, only: list[str], turns: int, smoke: bool) -> None:
        self.only = only
        self.turns = 1 if smoke else turns
        self.divisor = 50 if smoke else 1
        self.cells: Cells = {}

    def wants(self, name: str) -> bool:
        return not self.only or name in self.only

    def row(self, name: str, peers: list[str], measure: Callable[[str], Figures]) -> None:
        """Measures a row; the peers take turns."""
        turns: dict[str, list[Figures]] = {peer: [] for peer in peers if is_there(peer)}
        for _ in range(self.turns):
            for peer, so_far in turns.items():
                so_far.append(measure(peer))
        self.cells[name] = {peer: medians(so_far) for peer, so_far in turns.items()}
        for peer, figures in self.cells[name].items():
            shown = (f"{key} {value:.4g}" for key, value in figures.items())
            print(f"{name}: {peer:10}", *shown, flush=True)

    def everything(self) -> None:
        if self.wants("echo"):
            seconds = 1 if self.divisor > 1 else 3
            for connections in (64, 1000):
                n = max(8, connections // self.divisor)
                self.row(f"echo {connections}", SERVERS, lambda peer, n=n: echo(peer, n, seconds))
        if self.wants("idle"):
            n = 10_000 // self.divisor
            self.row(f"idle {n}", ["golib.net", "patched", "gevent"], lambda peer: idle(peer, n))
        if self.wants("tls"):
            n = 1000 // self.divisor
            with certificate() as files:
                self.row(f"tls {n}", ["patched", "uvloop"], lambda p: many("tls", p, n, files))
        if self.wants("clients"):
            self.clients()
        if self.wants("locks"):
            self.locks()

    def clients(self) -> None:
        for kind, (most, peers) in MANY.items():
            if importlib.util.find_spec(kind) is None:
                print(f"{kind}: left out, it is not installed", flush=True)
                continue
            n = max(4, most // self.divisor)
            with slow_server(kind) as address:
                self.row(
                    f"{kind} {n}",
                    peers,
                    lambda peer, kind=kind, n=n, address=address: many(kind, peer, n, address),
                )

    def locks(self) -> None:
        divisor = str(self.divisor)
        uncontended, _ = cell("net_locks.py", "uncontended", "golib", divisor)
        self.cells["uncontended"] = uncontended  # type: ignore[assignment]
        for name, sides in self.cells["uncontended"].items():
            print(f"{name}:", *(f"{side} {ns:.0f}" for side, ns in sides.items()), flush=True)
        self.row(
            "switches",
            ["patched", "gevent"],
            lambda peer: cell("net_locks.py", "switches", peer, divisor)[0],
        )


def is_there(peer: str) -> bool:
    return peer in BUILT_IN or importlib.util.find_spec(peer) is not None


def medians(turns: list[Figures]) -> Figures:
    return {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}


def versions() -> str:
    names = ["uvloop", "gevent", "requests", "redis", "psycopg"]
    found = [
        f"{name} {importlib.metadata.version(name)}"
        for name in names
        if importlib.util.find_spec(name)
    ]
    return ", ".join([f"CPython {platform.python_version()}", *found])


def build_load() -> None:
    manifest = str(ROOT / "benches" / "rust" / "Cargo.toml")
    command = ["cargo", "build", "--quiet", "--release", "--target-dir", str(BUILT)]
    subprocess.run([*command, "--manifest-path", manifest, "--package", "load"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="echo, idle, tls, clients, locks; with commas")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="small and short; keeps no file")
    parser.add_argument("--json", type=Path, default=DEFAULT_RESULTS)
    parser.add_argument("--table", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.table:
        print(tables(json.loads(options.table.read_text("utf-8"))))
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    run = Run([name for name in options.only.split(",") if name], options.turns, options.smoke)
    if run.wants("echo"):
        build_load()
    run.everything()
    if not options.smoke:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(run.cells, indent=1), "utf-8")
    print(f"\n{machine()}; {versions()}\n\n{tables(run.cells)}", flush=True)


if __name__ == "__main__":
    main()
