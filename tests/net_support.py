"""What the tests of golib.net share: pairs of connections, certificates."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import golib
import golib.net as net
import pytest

if TYPE_CHECKING:
    import ssl


def has_ipv6() -> bool:
    """Whether this machine has IPv6, if only within itself."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


#: The networks of streams that this machine has.
STREAMS = ["tcp", "tcp4", *(["tcp6"] if has_ipv6() else []), "unix"]


@contextlib.contextmanager
def listening(network: str = "tcp", **options: Any) -> Iterator[net.Listener]:
    """A listener of `network`."""
    if network == "unix":
        with tempfile.TemporaryDirectory() as folder:
            with net.listen(os.path.join(folder, "s"), "unix", **options) as listener:
                yield listener
    else:
        host = "::1" if network == "tcp6" else "127.0.0.1"
        with net.listen((host, 0), network, **options) as listener:
            yield listener


@contextlib.contextmanager
def pair(network: str = "tcp", tls: bool = False) -> Iterator[tuple[net.Conn, net.Conn]]:
    """Two connected ends, the dialled one first."""
    with listening(network, tls=server_context() if tls else None) as listener:
        accepted = golib.go(listener.accept)
        dialled = golib.go(
            net.dial,
            listener.addr,
            network,
            tls=client_context() if tls else None,
            server_hostname="localhost" if tls else None,
        )
        b = accepted.join()
        if tls:
            b._handshake()
        a = dialled.join()
    with a, b:
        yield a, b


@golib.sync.once_value  # not cache, which may call it twice at once
def certificate() -> tuple[str, str]:
    """The files of a self-signed certificate for localhost, and of its key."""
    folder = tempfile.mkdtemp()
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=localhost", "-addext", names]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@cache
def server_context() -> ssl.SSLContext:
    """A server's context with that certificate."""
    ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate())
    return context


@cache
def client_context() -> ssl.SSLContext:
    """A context that trusts that certificate only."""
    ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")
    return ssl.create_default_context(cafile=certificate()[0])
