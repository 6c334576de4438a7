"""golib.net under other people's clients: curl, openssl s_client, redis-cli, the standard library's."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import golib
import golib.net as net
import pytest

import servers
from net_support import client_context, listening, server_context
from support import start_poller

start_poller()

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples/python/http_server.py"
PEM = str(pathlib.Path(__file__).with_name("localhost.pem"))


@contextlib.contextmanager
def serving(handler: Callable[[net.Conn], None], **options: Any) -> Iterator[int]:
    with listening("tcp4", **options) as listener:
        g = golib.go(listener.serve, handler)
        yield listener.addr[1]
        listener.shutdown(5)
        g.join(10)


def run(name: str, *args: str, data: bytes = b"") -> bytes:
    """What a client writes; it ends well."""
    done = subprocess.run(
        [servers.program(name), *args],
        input=data,
        capture_output=True,
        timeout=30,
        env=servers.environment(),
    )
    assert done.returncode == 0, done
    return done.stdout


def example() -> Any:
    spec = importlib.util.spec_from_file_location("http_server", EXAMPLE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_curl_asks_the_server_of_the_examples(scheme: str, tmp_path: pathlib.Path) -> None:
    options = {"tls": server_context()} if scheme == "https" else {}
    body = os.urandom(100_000).hex()
    (tmp_path / "body").write_text(body)
    with serving(example().handle, **options) as port:
        url = f"{scheme}://127.0.0.1:{port}"
        plain = ["-sS", "--http1.1", "--insecure", "--max-time", "20"]
        assert run("curl", *plain, f"{url}/", f"{url}/") == b"hello\nhello\n"  # one connection
        assert (
            run("curl", *plain, "--data-binary", f"@{tmp_path / 'body'}", url).decode()
            == body.upper()
        )
        missing = run("curl", *plain, "-o", os.devnull, "-w", "%{http_code}", f"{url}/missing")
        assert missing == b"404"


def echo(conn: net.Conn) -> None:
    while line := conn.readline():
        conn.write(line[::-1].strip() + b"\n")


def test_openssls_client_talks_to_a_listener_with_tls() -> None:
    with serving(echo, tls=server_context()) as port:
        args = ["s_client", "-connect", f"127.0.0.1:{port}", "-quiet"]
        with subprocess.Popen(
            [servers.program("openssl"), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as client:
            assert client.stdin and client.stdout
            for word in (b"first", b"second"):
                client.stdin.write(word + b"\n")
                client.stdin.flush()
                assert client.stdout.readline() == word[::-1] + b"\n"
            client.stdin.close()
            client.kill()


def redis(conn: net.Conn) -> None:
    """As much of redis as its command line asks for."""
    values: dict[bytes, bytes] = {}
    while head := conn.readline():
        parts = []
        for _ in range(int(head[1:])):
            size = int(conn.readline()[1:])
            parts.append(conn.read_exactly(size + 2)[:-2])
        if parts[0].upper() == b"SET":
            values[parts[1]] = parts[2]
            conn.write(b"+OK\r\n")
        elif parts[0].upper() == b"GET" and parts[1] in values:
            conn.write(b"$%d\r\n%s\r\n" % (len(values[parts[1]]), values[parts[1]]))
        else:
            conn.write(b"$-1\r\n")


def test_redis_cli_talks_to_a_server_of_ours() -> None:
    with serving(redis) as port:
        out = run("redis-cli", "-p", str(port), data=b"SET a 1\nGET a\nGET b\n")
        assert out == b"OK\n1\n\n"


def test_the_standard_librarys_clients() -> None:
    ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")

    def plain(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 10) as s, s.makefile("rwb") as f:
            f.write(b"abc\n")
            f.flush()
            return f.readline()

    def tls(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port), 10) as s:
            with client_context().wrap_socket(s, server_hostname="localhost") as wrapped:
                assert isinstance(wrapped, ssl.SSLSocket)
                wrapped.sendall(b"abc\n")
                return wrapped.recv(100)

    with serving(echo) as port:
        assert [g.join(10) for g in [golib.go(plain, port) for _ in range(30)]] == [b"cba\n"] * 30
    with serving(echo, tls=server_context()) as port:
        assert [g.join(10) for g in [golib.go(tls, port) for _ in range(30)]] == [b"cba\n"] * 30
