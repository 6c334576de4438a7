"""golib.net: what every operation does, from everywhere, on every network."""

from __future__ import annotations

import os
import socket

import golib
import golib.net as net
import pytest

from net_support import STREAMS, listening, pair
from support import Thread, eventually, parked


@pytest.fixture(params=STREAMS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- places × networks ----------------------------------------------------------------------------------------------


def test_bytes_arrive_from_every_place_on_every_network(place, network):
    def talk():
        with listening(network) as listener:
            server = golib.go(listener.accept)
            with net.dial(listener.addr, network) as a, server.join() as b:
                assert a.write(b"hello") == 5
                assert b.read() == b"hello"
                writer = golib.go(b.sendall, b"x" * 300_000)
                assert a.read_exactly(300_000) == b"x" * 300_000
                writer.join()
                a.close()
                assert b.read() == b""

    place(talk)


@pytest.mark.parametrize("tls", [False, True])
def test_every_read_waits_for_bytes_and_gives_them(place, network, tls):
    with pair(network, tls) as (a, b):
        room = bytearray(4)
        for read, expected in [
            (lambda: b.read(2), b"he"),
            (lambda: b.recv(1), b"l"),
            (lambda: (b.read_into(room), bytes(room)), (4, b"lo, ")),
            (lambda: (b.recv_into(room, 2), bytes(room[:2])), (2, b"wo")),
            (lambda: b.read_until(b"d!"), b"rld!"),
            (lambda: b.readline(), b"\n"),
            (lambda: b.read_exactly(3), b"abc"),
        ]:
            if read is not None and expected == b"he":
                writer = golib.go(a.write, b"hello, world!\nabc")
            assert place(read) == expected
        assert writer.join() == 17


@pytest.mark.parametrize("tls", [False, True])
def test_a_read_that_waits_gets_what_comes(place, tls):
    with pair("tcp", tls) as (a, b):
        for read in (b.read, b.readline, lambda: b.read_exactly(2), lambda: b.read_until(b"\n")):

            def send():
                golib.sleep(0.01)
                a.write(b"1\n")

            sender = golib.go(send)
            assert place(read) == b"1\n"
            sender.join()


@pytest.mark.parametrize("tls", [False, True])
def test_a_large_write_waits_for_its_reader(place, network, tls):
    data = os.urandom(3_000_000)
    with pair(network, tls) as (a, b):
        reader = golib.go(b.read_exactly, len(data))
        assert place(a.write, data) == len(data)
        assert reader.join() == data
        reader = golib.go(b.read_exactly, len(data))
        assert place(a.sendall, memoryview(data)) is None
        assert reader.join() == data


def test_writes_take_anything_bytes_like_and_nothing_else():
    with pair() as (a, b):
        for data in (b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"xaby")[1:3]):
            assert a.write(data) == 2
            assert b.read_exactly(2) == b"ab"
        assert a.send(b"") == 0 == a.write(b"")
        for wrong in ("text", None, 3, [1]):
            for write in (a.write, a.send, a.sendall):
                with pytest.raises(TypeError):
                    write(wrong)
        with pytest.raises(BufferError):
            a.write(memoryview(b"abcd")[::2])


def test_a_buffer_that_is_being_sent_cannot_be_resized():
    with pair() as (a, b):
        data = bytearray(10_000_000)
        writer = parked(golib.go(a.write, data))
        with pytest.raises(BufferError):
            data.append(1)
        b.read_exactly(len(data))
        assert writer.join() == len(data)
        data.append(1)


# ---- limits and the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_the_end_before_enough_bytes_is_an_eof_error_with_what_came(tls):
    for read in (lambda c: c.read_exactly(10), lambda c: c.read_until(b"\n")):
        with pair("tcp", tls) as (a, b):
            a.write(b"abc")
            a.close()
            with pytest.raises(EOFError) as error:
                read(b)
            assert error.value.partial == b"abc"
            assert b.read() == b""
            with pytest.raises(EOFError) as error:
                read(b)
            assert error.value.partial == b""


@pytest.mark.parametrize("tls", [False, True])
def test_a_limit_exceeded_is_a_value_error_and_consumes_nothing(tls):
    with pair("tcp", tls) as (a, b):
        a.write(b"0123456789\n")
        for read in (lambda n: b.readline(n), lambda n: b.read_until(b"\n", n)):
            with pytest.raises(ValueError, match="no separator in the first 10 bytes"):
                read(10)
        with pytest.raises(ValueError, match="no separator in the first 3 bytes"):
            b.readline(limit=3)
        assert b.readline(11) == b"0123456789\n"
        a.write(b"x" * 70_000 + b"\n")
        with pytest.raises(ValueError, match="65536"):
            b.readline()
        assert b.readline(1 << 20) == b"x" * 70_000 + b"\n"


def test_readline_gives_the_rest_at_the_end():
    with pair() as (a, b):
        a.write(b"one\ntwo")
        a.close_write()
        assert [b.readline() for _ in range(4)] == [b"one\n", b"two", b"", b""]


def test_a_separator_may_come_in_parts():
    with pair() as (a, b):
        reader = golib.go(b.read_until, b"\r\n\r\n")
        for byte in b"GET\r\n\r\r\n\r\nrest":
            a.write(bytes([byte]))
            golib.gosched()
        assert reader.join() == b"GET\r\n\r\r\n\r\n"
        assert b.read_exactly(4) == b"rest"


def test_sizes_and_limits_that_are_none_are_refused_in_words():
    with pair() as (a, b):
        for call, kind, text in [
            (lambda: b.read(-1), ValueError, "must not be negative"),
            (lambda: b.read("1"), TypeError, "str"),
            (lambda: b.read(1.5), TypeError, "float"),
            (lambda: b.read_exactly(-1), ValueError, "must not be negative"),
            (lambda: b.read_exactly(), TypeError, "missing required argument: 'n'"),
            (lambda: b.read_until(b""), ValueError, "separator must not be empty"),
            (lambda: b.read_until("x"), TypeError, "bytes-like"),
            (lambda: b.readline(0), ValueError, "at least 1"),
            (lambda: b.readline(limit=-1), ValueError, "negative"),
            (lambda: b.read_into(b"abc"), BufferError, "writable"),
            (lambda: b.recv_into(bytearray(2), 3), ValueError, "smaller"),
            (lambda: b.read(1, 2), TypeError, "at most 1"),
            (lambda: b.read(size=1), TypeError, "unexpected keyword argument 'size'"),
            (lambda: b.set_deadline("1"), TypeError, "real number"),
            (lambda: b.set_deadline(float("nan")), ValueError, "nan"),
            (lambda: b.settimeout(-1), ValueError, "out of range"),
            (lambda: b.shutdown(9), ValueError, "SHUT_RD"),
        ]:
            with pytest.raises(kind, match=text):
                call()
        assert b.read(0) == b"" == b.read_exactly(0)
        assert b.read_into(bytearray()) == 0
        a.write(b"x")
        assert b.read(n=10**30) == b"x"


def test_a_peeked_byte_is_read_again():
    with pair() as (a, b):
        a.write(b"ab\ncd")
        assert eventually(lambda: b.recv(9, socket.MSG_PEEK) == b"ab\ncd")
        assert b.readline() == b"ab\n"
        assert b.recv(9, socket.MSG_PEEK) == b"cd"
        assert b.read() == b"cd"


# ---- turns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_writers_of_one_connection_take_turns_with_all_their_data(network, tls):
    n, size = 8, 200_000
    with pair(network, tls) as (a, b):
        writers = [golib.go(a.write, bytes([i]) * size) for i in range(n)]
        seen = b.read_exactly(n * size)
        assert [w.join() for w in writers] == [size] * n
    assert sorted(seen[i * size : (i + 1) * size] for i in range(n)) == [
        bytes([i]) * size for i in range(n)
    ]


@pytest.mark.parametrize("tls", [False, True])
def test_readers_of_one_connection_take_turns_and_lose_nothing(tls):
    n, size = 8, 5_000
    with pair("tcp", tls) as (a, b):
        readers = [golib.go(b.read_exactly, size) for _ in range(n)]
        for i in range(n):
            for _start in range(0, size, 500):
                a.write(bytes([i]) * 500)
                golib.gosched()
        assert sorted(r.join() for r in readers) == [bytes([i]) * size for i in range(n)]


@pytest.mark.parametrize("tls", [False, True])
def test_a_read_that_waits_stops_no_write(tls):
    with pair("tcp", tls) as (a, b):
        reader = parked(golib.go(a.read))
        for i in range(50):
            a.write(b"%d\n" % i)
            assert b.readline() == b"%d\n" % i
        b.write(b"done")
        assert reader.join() == b"done"


@pytest.mark.parametrize("tls", [False, True])
def test_threads_and_goroutines_share_a_connection(tls):
    with pair("tcp", tls) as (a, b):
        goroutine = golib.go(lambda: [b.readline() for _ in range(200)])
        thread = Thread(lambda: [b.readline() for _ in range(200)])
        a.write(b"".join(b"%d\n" % i for i in range(400)))
        lines = goroutine.join() + thread.join()
    assert sorted(int(line) for line in lines) == list(range(400))
