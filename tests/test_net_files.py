"""Conn.makefile, and libraries that are given a Conn for a socket."""

from __future__ import annotations

import http.client
import io
import json
import threading

import golib
import golib.net as net
import pytest

from net_support import listening, pair
from support import eventually, parked


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request):
    return request.param


def test_a_binary_file_reads_as_a_sockets(tls, place):
    with pair(tls=tls) as (a, b):
        a.write(b"one\ntwo\nthree\n0123456789" + b"rest")
        a.close_write()

        def read():
            with b.makefile("rb") as file:
                assert file.readline() == b"one\n"
                assert file.readline(2) == b"tw"
                assert next(iter(file)) == b"o\n"
                assert file.read(6) == b"three\n"
                room = bytearray(10)
                assert file.readinto(room) == 10
                assert room == b"0123456789"
                assert file.peek(2)[:2] == b"re"
                assert file.read1(2) == b"re"
                assert file.read() == b"st"
                assert file.read(5) == b"" == file.readline()
                assert (file.readable(), file.writable(), file.mode) == (True, False, "rb")
                with pytest.raises(io.UnsupportedOperation):
                    file.write(b"x")
            with pytest.raises(ValueError, match="closed file"):
                file.read()

        place(read)


def test_a_writing_file_sends_what_has_come_together(tls):
    with pair(tls=tls) as (a, b):
        with a.makefile("wb", buffering=8192) as file:
            assert file.write(b"hel") == 3
            file.write(b"lo\n")
            with golib.timeout(0.01, raises=False):
                b.read()
                raise AssertionError("sent before the flush")
            file.flush()
            assert b.readline() == b"hello\n"
            file.write(bytes(9000))
            assert b.read_exactly(9000) == bytes(9000)
            file.write(b"end")
        assert b.read_exactly(3) == b"end"
        a.write(b"still open\n")
        assert b.readline() == b"still open\n"


def test_a_text_file_speaks_lines():
    with pair() as (a, b):
        with (
            a.makefile("rw", encoding="utf-8") as mine,
            b.makefile("r", encoding="utf-8") as theirs,
        ):
            mine.write("grüß Gott\n")
            mine.flush()
            assert theirs.readline() == "grüß Gott\n"
            b.write("zurück\n".encode())
            assert mine.readline() == "zurück\n"


def test_a_connection_with_open_files_closes_with_the_last():
    with pair() as (a, b):
        one, two = a.makefile("rb"), a.makefile("wb")
        a.close()
        assert a.fileno() >= 0
        one.close()
        two.write(b"bye")
        two.close()
        assert b.read() == b"bye"
        assert b.read() == b""
        assert a.fileno() == -1
        with pytest.raises(OSError, match="Bad file descriptor"):
            a.makefile("rb")


def test_modes_that_are_none_are_refused():
    with pair() as (a, _):
        for mode in ("x", "rr", "", "b", "r+"):
            with pytest.raises(ValueError, match="invalid mode"):
                a.makefile(mode)
        with pytest.raises(ValueError, match="must be binary"):
            a.makefile("r", 0)


def test_a_goroutine_that_waits_in_a_binary_file_holds_no_thread():
    with pair() as (a, b), b.makefile("rb") as file:
        ids = set()

        def reader():
            file.readline()
            ids.add(threading.get_native_id())

        g = parked(golib.go(reader), "IO wait")
        a.write(b"x\n")
        g.join()


def answer(conn):
    """A server of HTTP/1.1 of a few lines."""
    while request := conn.readline():
        length = 0
        while (line := conn.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        body = json.dumps(
            {"request": request.decode().split()[:2], "body": conn.read_exactly(length).decode()}
        )
        close = b"Connection: close\r\n" if b"last" in request else b""
        conn.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (close, len(body), body.encode())
        )
        if close:
            return


def test_http_client_takes_a_connection_for_a_socket():
    with listening() as listener:
        server = golib.go(listener.serve, answer)
        client = http.client.HTTPConnection("ignored")
        client.sock = net.dial(listener.addr)
        for path in ("/one", "/two", "/last"):
            client.request("POST", path, body="x" * 1000)
            response = client.getresponse()
            assert json.load(response) == {"request": ["POST", path], "body": "x" * 1000}
        client.close()
        listener.shutdown()
        server.join()


def test_a_request_read_to_the_end_of_its_connection():
    with listening() as listener:

        def handle(conn):
            conn.read_until(b"\r\n\r\n")
            conn.write(b"HTTP/1.0 200 OK\r\n\r\n" + b"y" * 100_000)

        server = golib.go(listener.serve, handle)
        client = http.client.HTTPConnection("ignored")
        client.sock = conn = net.dial(listener.addr)
        client.request("GET", "/")
        response = client.getresponse()  # closes the connection; the response's file goes on
        assert len(response.read()) == 100_000
        assert eventually(lambda: conn.fileno() == -1)
        listener.shutdown()
        server.join()
