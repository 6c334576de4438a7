"""golib.patch("ssl"): TLS over sockets that park; http.client and urllib over it."""

from __future__ import annotations

import http.server
import os
import pathlib
import socket
import urllib.request

import golib
import pytest

from support import on_thread, parked, run_ok, start_poller

start_poller()

ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")

PEM = pathlib.Path(__file__).with_name("localhost.pem")


@pytest.fixture(autouse=True, scope="module")
def patched():
    golib.patch("socket", "dns", "ssl", "select", "os", "file", "time")
    yield
    golib.unpatch()


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    return server, ssl.create_default_context(cafile=str(PEM))


@pytest.fixture
def tls(contexts):
    """A connected pair, shaken hands: (client, server)."""
    a, b = socket.socketpair()
    g = golib.go(contexts[0].wrap_socket, b, server_side=True)
    client = golib.go(contexts[1].wrap_socket, a, server_hostname="localhost").join(20)
    server = g.join(20)
    yield client, server
    client.close()
    server.close()


def pinned() -> int:
    """How often a goroutine that waited kept its thread."""
    return golib.runtime.stats()["parks_pinned"]


def test_a_read_waits_although_a_session_ticket_came(tls):
    client, server = tls
    g = parked(golib.go(client.recv, 100), "IO wait")
    server.sendall(b"hello")
    assert g.join(10) == b"hello"


def test_many_connections_at_once(contexts):
    def one(i: int) -> bytes:
        a, b = socket.socketpair()
        g = golib.go(contexts[0].wrap_socket, b, server_side=True)
        with contexts[1].wrap_socket(a, server_hostname="localhost") as client, g.join() as server:
            reply = golib.go(server.recv, 100)
            client.sendall(b"%d" % i)
            return reply.join()

    before = pinned()
    with golib.scope() as s:
        gs = [s.go(one, i) for i in range(50)]
    assert [g.join() for g in gs] == [b"%d" % i for i in range(50)]
    assert pinned() == before


def test_what_does_not_fit_waits_for_room(tls):
    client, server = tls
    data = os.urandom(2_000_000)
    g = parked(golib.go(client.sendall, data), "IO wait")
    received = bytearray()

    def reads():
        while len(received) < len(data):
            received.extend(server.recv(65536))

    golib.go(reads).join(30)
    g.join(10)
    assert received == data


def test_both_directions_at_once(tls):
    client, server = tls

    def echo():
        while data := server.recv(65536):
            server.sendall(data)
        server.unwrap()

    g = golib.go(echo)
    data = os.urandom(300_000)
    received = bytearray()

    def reads():
        while len(received) < len(data):
            received.extend(client.recv(65536))

    reader = golib.go(reads)
    golib.go(client.sendall, data).join(30)
    reader.join(30)
    assert received == data
    golib.go(client.unwrap).join(
        10
    )  # an end without it is an error in some versions, on threads, too
    g.join(10)


TIMEOUTS = {
    "read": lambda c: c.recv(1),
    "recv_into": lambda c: c.recv_into(bytearray(1)),
    "unwrap": lambda c: c.unwrap(),
}


@pytest.mark.parametrize("how", TIMEOUTS)
def test_a_timeout_has_the_words_of_the_standard_library(how, contexts):
    def outcome():
        a, b = socket.socketpair()
        g = golib.go(contexts[0].wrap_socket, b, server_side=True)
        with contexts[1].wrap_socket(a, server_hostname="localhost") as client, g.join() as server:
            client.settimeout(0.05)
            with pytest.raises(TimeoutError) as info:
                TIMEOUTS[how](client)
            assert client.gettimeout() == 0.05
            server.settimeout(5)
            return str(info.value)

    assert golib.go(outcome).join(20) == on_thread(outcome)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_handshake_times_out_in_the_same_words_and_is_left(contexts):
    def outcome():
        a, b = socket.socketpair()
        with a, b:
            a.settimeout(0.05)
            with pytest.raises(TimeoutError) as info:
                contexts[1].wrap_socket(a, server_hostname="localhost")
            return str(info.value)

    assert golib.go(outcome).join(20) == on_thread(outcome)

    def left():
        a, b = socket.socketpair()
        with a, b, pytest.raises(TimeoutError), golib.timeout(0.05):
            contexts[1].wrap_socket(a, server_hostname="localhost")

    golib.go(left).join(20)


def test_cancel_leaves_a_read_and_the_next_one_has_the_data(tls):
    client, server = tls
    g = parked(golib.go(client.recv, 10), "IO wait")
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join(10)
    assert client.gettimeout() is None
    assert os.get_blocking(client.fileno())
    server.sendall(b"still here")
    assert golib.go(client.recv, 10).join(10) == b"still here"


def test_close_wakes_a_reader(tls):
    client, _ = tls
    g = parked(golib.go(client.recv, 10), "IO wait")
    client.close()
    with pytest.raises(OSError, match="Bad file"):
        g.join(10)


def test_a_call_leaves_the_descriptor_blocking(contexts):
    """Other processes may share it."""
    seen = []

    def sni(tls, name, context):
        seen.append(os.get_blocking(tls.fileno()))
        nested(tls)

    def nested(tls):
        a, b = socket.socketpair()
        with a, b:
            g = golib.go(contexts[0].wrap_socket, a, server_side=True)
            with contexts[1].wrap_socket(b, server_hostname="localhost") as other, g.join(10):
                seen.append(os.get_blocking(other.fileno()))
        seen.append(os.get_blocking(tls.fileno()))

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    server.sni_callback = sni
    a, b = socket.socketpair()
    g = golib.go(server.wrap_socket, b, server_side=True)
    with golib.go(contexts[1].wrap_socket, a, server_hostname="localhost").join(20), g.join(20):
        assert seen == [True, True, True]


def echo_all(tls, into):
    """Reads in a goroutine, each time less than it asks for."""
    client, server = tls
    reply = bytearray(100) if into else None

    def read():
        return bytes(reply[: client.recv_into(reply)]) if into else client.recv(100)

    def run():
        for i in range(20):
            server.sendall(b"%d" % i)
            assert read() == b"%d" % i
        late = golib.go(read)
        parked(late, "IO wait")
        server.sendall(b"late")
        assert late.join(10) == b"late"
        return read

    return run


@pytest.mark.parametrize("into", [False, True], ids=["recv", "recv_into"])
def test_what_needs_no_byte_of_the_peer_is_answered_after_reads_that_took_all(tls, into):
    client, server = tls
    read = golib.go(echo_all(tls, into)).join(20)

    def answers():
        assert client.recv(0) == b""
        assert client.recv_into(bytearray()) == 0
        for wrong in ["x", None], [-1], [1, "x"]:
            with pytest.raises((TypeError, ValueError)):
                client._sslobj.read(*wrong)
        client.settimeout(0.01)
        for _ in range(2):
            with pytest.raises(TimeoutError, match="read operation timed out"):
                read()
        client.settimeout(None)
        ends = golib.go(server.unwrap)
        end = [read(), read()]  # its descriptor stays open, and the peer says no more
        client.unwrap()
        ends.join(10)
        return end

    assert golib.go(answers).join(20) == [b"", b""]


def test_a_second_tls_object_on_the_socket_shakes_hands_before_it_reads(contexts):
    def run():
        a, b = socket.socketpair()
        for _ in range(3):
            ends = [
                (contexts[0].wrap_socket, b, True, None),
                (contexts[1].wrap_socket, a, False, "localhost"),
            ]
            server, client = (
                wrap(s, side, do_handshake_on_connect=False, server_hostname=name)
                for wrap, s, side, name in ends
            )
            g = golib.go(client.recv, 100)
            server.sendall(b"hello")
            assert g.join(10) == b"hello"
            g = golib.go(server.unwrap)
            a = client.unwrap()
            b = g.join(10)
        a.close()
        b.close()

    golib.go(run).join(30)


def test_unpatch_and_patch_again_with_a_read_under_way(contexts):
    run_ok(f"""
import golib, os, socket, ssl, threading
golib.patch()
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain({str(PEM)!r})
client = ssl.create_default_context(cafile={str(PEM)!r})

def pair():
    a, b = socket.socketpair()
    g = golib.go(server.wrap_socket, b, server_side=True)
    return client.wrap_socket(a, server_hostname="localhost"), g.join()

def main():
    one, two = pair()
    for _ in range(3):
        g = golib.go(one.recv, 10)
        while g.status() != "IO wait":
            golib.gosched()
        golib.unpatch()
        two.sendall(b"x")
        assert g.join() == b"x"
        assert os.get_blocking(one.fileno())
        golib.patch()
        two.sendall(b"y")
        assert one.recv(10) == b"y"
    one.close()
    two.close()

golib.run(main)
""")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.path.encode() * 100
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class GoServer(http.server.HTTPServer):
    """Its requests are handled by goroutines."""

    request_queue_size = 200

    def process_request(self, request, client_address) -> None:
        golib.go(self.process_request_thread, request, client_address)

    def process_request_thread(self, request, client_address) -> None:
        try:
            self.finish_request(request, client_address)
        finally:
            self.shutdown_request(request)


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_urllib_and_http_server_in_one_process_hold_no_threads(secure, contexts):
    server = GoServer(("127.0.0.1", 0), Handler)
    if secure:
        server.socket = contexts[0].wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    serving = golib.go(server.serve_forever)
    before = pinned()

    def get(i: int) -> bytes:
        url = f"http{'s' * secure}://localhost:{server.server_port}/{i}"
        with urllib.request.urlopen(
            url, context=contexts[1] if secure else None, timeout=20
        ) as response:
            return response.read()

    with golib.scope() as s:
        gs = [s.go(get, i) for i in range(60)]
    after = pinned()
    golib.go(server.shutdown).join(10)
    serving.join(10)
    server.server_close()
    assert [g.join() for g in gs] == [b"/%d" % i * 100 for i in range(60)]
    assert after == before
