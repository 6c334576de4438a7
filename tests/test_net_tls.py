"""golib.net with TLS: handshakes, start_tls, the end, other libraries at the other end."""

from __future__ import annotations

import hashlib
import os
import socket

import golib
import golib.net as net
import pytest

from net_support import client_context, listening, pair, server_context
from support import Thread, eventually, parked

ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")


def test_a_client_that_does_not_trust_the_server_fails_in_dial():
    with listening(tls=server_context()) as listener:

        def server():
            with listener.accept() as conn:
                with pytest.raises(ssl.SSLError):
                    conn.read()

        g = golib.go(server)
        with pytest.raises(ssl.SSLCertVerificationError):
            net.dial(listener.addr, tls=ssl.create_default_context(), timeout=10)
        g.join()


def test_the_servers_name_is_the_dialled_host_unless_another_is_given():
    with listening(tls=server_context()) as listener:
        server = golib.go(listener.serve, lambda conn: conn.read())
        with net.dial(f"localhost:{listener.addr[1]}", tls=client_context()) as conn:
            assert conn.tls.getpeercert()["subject"] == ((("commonName", "localhost"),),)
            assert conn.tls.version().startswith("TLS")
        with net.dial(listener.addr, tls=client_context()):
            pass  # 127.0.0.1 is among the certificate's names
        with pytest.raises(ssl.SSLCertVerificationError, match=r"example\.org"):
            net.dial(listener.addr, tls=client_context(), server_hostname="example.org")
        listener.shutdown()
        server.join()


def test_a_slow_handshake_stops_nobody_and_ends_by_a_deadline():
    with listening(tls=server_context()) as listener:

        def handle(conn):
            conn.set_deadline(30)
            conn.write(conn.readline())

        server = golib.go(listener.serve, handle)
        with socket.create_connection(listener.addr) as silent:
            for _ in range(3):
                with net.dial(listener.addr, tls=client_context(), timeout=10) as conn:
                    conn.write(b"hello\n")
                    assert conn.readline() == b"hello\n"
            silent.sendall(b"GET / HTTP/1.0\r\n\r\n")  # not TLS
            silent.settimeout(10)
            while silent.recv(100):  # the alert
                pass
        with socket.create_connection(listener.addr):
            eventually(lambda: any(server.running for server in listener._servers))
            with pytest.raises(TimeoutError):
                listener.shutdown(0.05)
        server.join()


def test_a_handshake_ends_by_timeout_and_cancellation():
    with listening() as listener:
        with pytest.raises(TimeoutError):
            net.dial(listener.addr, tls=client_context(), timeout=0.05)
        g = golib.go(net.dial, listener.addr, tls=client_context())
        parked(g, "IO wait")
        g.cancel()
        assert isinstance(g.exception(), golib.Cancelled)
        for _ in range(2):
            listener.accept().close()


def test_a_connection_starts_tls_after_plain_lines():
    with pair() as (a, b):

        def server():
            assert b.readline() == b"STARTTLS\n"
            b.write(b"go on\n")
            assert b.start_tls(server_context(), server_side=True) is b
            return b.readline()

        g = golib.go(server)
        a.write(b"STARTTLS\n")
        assert a.readline() == b"go on\n"
        assert a.tls is None
        a.start_tls(client_context(), server_hostname="localhost")
        assert a.tls.cipher()
        a.write(b"secret\n")
        assert g.join() == b"secret\n"
        with pytest.raises(ValueError, match="TLS already"):
            a.start_tls(client_context())


def test_bytes_that_were_read_before_are_tls_bytes():
    with pair() as (a, b):
        # The client's first TLS bytes come right behind the line, and are read with it.
        g = golib.go(
            lambda: (a.write(b"x" * 10), a.start_tls(client_context(), False, "localhost"))
        )
        first = b.recv(11, socket.MSG_PEEK)
        assert first[:1] == b"x"
        eventually(lambda: len(b.recv(100, socket.MSG_PEEK)) > 10)
        assert b.read_until(b"x" * 10) == b"x" * 10
        assert b._buffered > 0
        b.start_tls(server_context(), True)
        g.join()
        b.write(b"hello")
        assert a.read() == b"hello"


def test_the_wrong_arguments_are_refused_in_words():
    with pair() as (a, b):
        with pytest.raises(TypeError, match="SSLContext, not str"):
            a.start_tls("context")
        with pytest.raises(TypeError, match="server_hostname must be a str"):
            a.start_tls(client_context(), server_hostname=b"localhost")
        with pytest.raises(ValueError, match="pass server_hostname"):
            a.start_tls(client_context())
        with a.makefile("rb"), pytest.raises(ValueError, match="close the connection's files"):
            a.start_tls(client_context(), server_hostname="localhost")
        a.write(b"still plain")
        assert b.read() == b"still plain"
    for call in (net.dial, net.listen):
        with pytest.raises(TypeError, match="SSLContext, not bool"):
            call("127.0.0.1:0", tls=True)
    with pytest.raises(ValueError, match="pass tls="):
        net.dial("127.0.0.1:0", server_hostname="localhost")
    with pytest.raises(ValueError, match="needs a stream"):
        net.dial("127.0.0.1:0", "udp", tls=client_context())


def test_a_half_closed_connection_still_reads():
    with pair(tls=True) as (a, b):
        b.write(b"early ")
        a.write(b"question")
        a.close_write()
        assert b.read_until(b"question") == b"question"
        assert b.read() == b""
        b.write(b"answer")
        assert a.read_until(b"answer") == b"early answer"
        with pytest.raises(BrokenPipeError):
            a.write(b"more")
        b.close()
        assert a.read() == b""


def test_a_close_is_told_to_the_peer():
    with pair(tls=True) as (a, b):
        reader = parked(golib.go(b.read))
        a.close()
        assert reader.join() == b""
        with pytest.raises(ValueError, match="cannot be detached"):
            b.detach()


def test_data_is_whole_in_both_directions_at_once():
    data = os.urandom(2_000_000)
    digest = hashlib.sha256(data).digest()
    with pair(tls=True) as (a, b), golib.scope() as s:
        for conn in (a, b):
            s.go(conn.write, data)
        for conn in (a, b):
            assert hashlib.sha256(conn.read_exactly(len(data))).digest() == digest


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_standard_librarys_ssl_is_at_the_other_end(version):
    with listening(tls=server_context()) as listener:
        server = golib.go(listener.serve, lambda conn: conn.write(conn.readline()))

        def client():
            context = ssl.create_default_context(cafile=None)
            context = client_context()
            with socket.create_connection(listener.addr) as raw:
                with context.wrap_socket(raw, server_hostname="localhost") as sock:
                    sock.sendall(b"hello\n")
                    return sock.recv(100)

        assert Thread(client).join() == b"hello\n"
        listener.shutdown()
        server.join()


def test_wrap_sockets_client_of_ours_talks_to_wrap_sockets_server():
    def serve(raw):
        with server_context().wrap_socket(raw, server_side=True) as sock:
            sock.sendall(sock.recv(100).upper())
            assert sock.recv(100) == b""
            sock.unwrap()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(lambda: serve(listening.accept()[0]))
        with net.dial(listening.getsockname(), tls=client_context()) as conn:
            conn.write(b"shout")
            assert conn.read() == b"SHOUT"
            conn.close_write()
            assert conn.read() == b""
        thread.join()


def test_a_truncated_stream_ends_as_a_sockets():
    with pair(tls=True) as (a, b):
        b.write(b"part")
        golib._golib.ConnBase.close(b)  # no close_notify
        assert a.read() == b"part"
        assert a.read() == b""


def test_what_was_sent_before_the_close_arrives_though_nobody_read_the_tickets():
    for _ in range(20):
        with pair(tls=True) as (a, b):
            a.write(b"last words")
            a.close()
            assert b.read_until(b"words") == b"last words"
            assert b.read() == b""
