"""Costs of ordinary libraries in a goroutine and in a thread: CPU time of the process, with servers on this machine.

    .venv/bin/python benches/python/libraries.py [--smoke] [--only logging,psycopg] [--workers 1,8]

Each figure is the best of nine turns; goroutines and threads take turns, so that a slow moment of the machine hits
both. Starting the workers is not counted: each does its first operation before the clock starts. The servers are
processes of their own. PostgreSQL is started from the machine's packages, as the user postgres if this one is root;
a library that is missing is left out and named.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import http.client
import importlib
import io
import json
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import golib

TURNS = 9
SECONDS = 0.25  # of CPU time in a turn, about

Operation = Callable[[], Any]
#: Makes, in a worker, the operation that the worker repeats.
Make = Callable[[], Operation]

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # an answer in one packet, or Nagle waits for the acknowledgement
    def do_GET(self):
        body = b"x" * 200
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def http_server() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def as_postgres(command: list[str]) -> list[str]:
    return (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
        if os.geteuid() == 0
        else command
    )


@contextlib.contextmanager
def postgres(*options: str) -> Iterator[str]:
    """A server with an empty database; its connection string. `options` are the server's."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [
        os.path.dirname(shutil.which("postgres") or "")
    ]
    if not found[-1]:
        raise FileNotFoundError("no PostgreSQL here")
    folder = tempfile.mkdtemp(prefix="golib-bench-")
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = os.path.join(folder, "data")
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "cwd": folder,
    }
    try:
        initdb = [f"{found[-1]}/initdb", "-D", data, "-U", "bench", "-A", "trust"]
        subprocess.run(as_postgres(initdb), check=True, **quiet)
        serve = [f"{found[-1]}/postgres", "-D", data, "-k", folder, "-h", "", "-c", "fsync=off"]
        with subprocess.Popen(as_postgres([*serve, *options]), **quiet) as server:
            try:
                wait_for(os.path.join(folder, ".s.PGSQL.5432"))
                yield f"host={folder} user=bench dbname=postgres"
            finally:
                server.send_signal(signal.SIGINT)  # connections are cut
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(path: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
            return
        time.sleep(0.05)
    raise TimeoutError(f"no server at {path}")


# -- the operations ------------------------------------------------------------------------------


def use_logging() -> Operation:
    log = logging.getLogger("bench")
    if not log.handlers:
        log.addHandler(logging.StreamHandler(io.StringIO()))
        log.setLevel(logging.INFO)
        log.propagate = False
    return lambda: log.info("request %s took %d ms", "/index", 12)


def use_json() -> Operation:
    value = {
        "id": 7,
        "name": "golib",
        "tags": ["a", "b"] * 5,
        "nested": {str(i): i for i in range(10)},
    }
    return lambda: json.loads(json.dumps(value))


def use_pydantic() -> Operation:
    pydantic = importlib.import_module("pydantic")

    class Item(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        id: int
        name: str
        tags: tuple[str, ...] = ()

        @pydantic.field_validator("name")  # type: ignore[untyped-decorator]
        @classmethod
        def check(cls, value: str) -> str:
            return value.strip()

    raw = {"id": "7", "name": " golib ", "tags": ["a", "b"]}
    return lambda: Item.model_validate(raw).model_dump_json()


def use_http_client(port: int) -> Operation:
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get() -> bytes:
        connection.request("GET", "/")
        return connection.getresponse().read()

    return get


def use_requests(port: int) -> Operation:
    session = importlib.import_module("requests").Session()
    session.trust_env = False
    return lambda: session.get(f"http://127.0.0.1:{port}/").content


def use_psycopg(dsn: str) -> Operation:
    connection = importlib.import_module("psycopg").connect(dsn, autocommit=True)
    return lambda: connection.execute("select %s, 'text'", [7]).fetchall()


def use_sqlalchemy(dsn: str) -> Operation:
    sa = importlib.import_module("sqlalchemy")
    psycopg = importlib.import_module("psycopg")
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), pool_size=1
    )
    query = sa.text("select :n, 'text'")

    def select() -> Any:
        with engine.connect() as connection:
            return connection.execute(query, {"n": 7}).fetchall()

    return select


def use_sqlalchemy_orm(dsn: str) -> Operation:
    sa = importlib.import_module("sqlalchemy")
    orm = importlib.import_module("sqlalchemy.orm")
    base = orm.declarative_base()

    class Row(base):  # type: ignore[misc, valid-type]
        __tablename__ = "rows"
        id = sa.Column(sa.Integer, primary_key=True)
        text = sa.Column(sa.String)

    engine = sa.create_engine(
        "sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False}
    )
    base.metadata.create_all(engine)
    make = orm.sessionmaker(engine)
    with make() as session:
        session.add_all([Row(id=i, text=str(i)) for i in range(10)])
        session.commit()

    def select() -> Any:
        with make() as session:
            return session.scalars(sa.select(Row).where(Row.id < 10)).all()

    return select


# -- measuring -----------------------------------------------------------------------------------


def cpu_seconds(
    start: Callable[[Callable[[], None]], Any], make: Make, workers: int, n: int
) -> float:
    """CPU time of the process for n operations of each worker."""
    ready, gate, done = (threading.Semaphore(0) for _ in range(3))

    def work() -> None:
        operation = make()
        operation()
        ready.release()
        gate.acquire()
        for _ in range(n):
            operation()
        done.release()

    handles = [start(work) for _ in range(workers)]
    for _ in handles:
        ready.acquire()
    before = time.process_time()
    for _ in handles:
        gate.release()
    for _ in handles:
        done.acquire()
    used = time.process_time() - before
    for handle in handles:
        handle.join()
    return used


def thread(work: Callable[[], None]) -> threading.Thread:
    started = threading.Thread(target=work)
    started.start()
    return started


def measure(make: Make, workers: int, turns: int, seconds: float) -> tuple[float, float]:
    """The best CPU time of an operation in goroutines and in threads."""
    n = 20
    while (used := cpu_seconds(thread, make, workers, n)) < seconds / 4 and n < 100_000:
        n *= 2
    n = max(1, int(n * seconds / max(used, 1e-6)))
    best = [float("inf"), float("inf")]
    sides = [golib.go, thread]
    for turn in range(turns):
        for side in (0, 1) if turn % 2 else (1, 0):
            best[side] = min(best[side], cpu_seconds(sides[side], make, workers, n) / (n * workers))
    return best[0], best[1]


def rows(stack: contextlib.ExitStack, only: set[str]) -> Iterator[tuple[str, Make]]:
    def wanted(*names: str) -> bool:
        return not only or any(name in only for name in names)

    yield "logging", use_logging
    yield "json", use_json
    yield "pydantic", use_pydantic
    if wanted("http.client", "requests"):
        port = stack.enter_context(http_server())
        yield "http.client", lambda: use_http_client(port)
        yield "requests", lambda: use_requests(port)
    yield "SQLAlchemy ORM + SQLite", lambda: use_sqlalchemy_orm("")
    if wanted("psycopg", "SQLAlchemy + psycopg"):
        dsn = stack.enter_context(postgres())
        yield "psycopg", lambda: use_psycopg(dsn)
        yield "SQLAlchemy + psycopg", lambda: use_sqlalchemy(dsn)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="one short turn, to see that it works")
    parser.add_argument("--only", default="", help="rows, by name, separated by commas")
    parser.add_argument("--workers", default="1,8", help="how many at once")
    args = parser.parse_args()
    only = set(filter(None, args.only.split(",")))
    turns, seconds = (1, 0.01) if args.smoke else (TURNS, SECONDS)
    print(f"CPython {platform.python_version()}, golib {golib.__version__}\n")
    print(
        "| library | workers | goroutine, µs | thread, µs | goroutine / thread |\n|---|---|---|---|---|"
    )
    with contextlib.ExitStack() as stack:
        for name, make in rows(stack, only):
            if only and name not in only:
                continue
            for workers in map(int, args.workers.split(",")):
                try:
                    mine, threads = measure(make, workers, turns, seconds)
                except ImportError as missing:
                    print(f"| {name} | left out: {missing} |", flush=True)
                    break
                figures = f"{mine * 1e6:,.1f} | {threads * 1e6:,.1f} | {mine / threads:.2f}"
                print(f"| {name} | {workers} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
