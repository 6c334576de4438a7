"""golib.net: what ends a wait: close, deadlines, cancellation."""

from __future__ import annotations

import errno
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


# ---- close ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_close_wakes_readers_and_writers_and_those_who_wait_for_their_turn(network, tls):
    with pair(network, tls) as (a, _b):
        waiting = [golib.go(a.read), golib.go(a.readline), golib.go(a.read_exactly, 3)]
        waiting += [golib.go(a.write, bytes(20_000_000)), golib.go(a.sendall, b"x")]
        thread = Thread(a.read)
        for g in waiting:
            parked(g)
        a.close()
        for waiter in [*waiting, thread]:
            with pytest.raises(OSError, match="Errno") as error:
                waiter.join()
            assert error.value.errno == errno.EBADF
            assert str(error.value) == str(OSError(errno.EBADF, os.strerror(errno.EBADF)))


@pytest.mark.parametrize("tls", [False, True])
def test_every_operation_after_the_close_raises_ebadf(place, tls):
    with pair("tcp", tls) as (a, b):
        a.write(b"left over")
        eventually(lambda: b.read(1))
        b.close()
        b.close()
        operations = [
            b.read, b.readline, lambda: b.read_exactly(1), lambda: b.read_until(b"x"),
            lambda: b.read_into(bytearray(1)), lambda: b.recv(1), lambda: b.recv_into(bytearray(1)),
            lambda: b.write(b"x"), lambda: b.write(b""), lambda: b.send(b"x"), lambda: b.sendall(b"x"),
            lambda: b.close_write(), lambda: b.set_deadline(1), lambda: b.set_read_deadline(None),
            lambda: b.set_write_deadline(0), lambda: b.local_addr, b.getsockname, b.getpeername,
            lambda: b.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE), lambda: b.family, lambda: b.makefile("rb"),
        ]  # fmt: skip
        for operation in operations:
            with pytest.raises(OSError, match="Errno") as error:
                place(operation)
            assert error.value.errno == errno.EBADF
        assert b.fileno() == -1
        assert "closed" in repr(b)


def test_closing_wakes_accept_and_ends_iterations(network):
    with listening(network) as listener:
        waiting = parked(golib.go(listener.accept))
        looping = parked(golib.go(list, listener))
        listener.close()
        with pytest.raises(OSError, match="Errno") as error:
            waiting.join()
        assert error.value.errno == errno.EBADF
        assert looping.join() == []
        with pytest.raises(OSError, match="Errno") as error:
            listener.accept()
        assert error.value.errno == errno.EBADF
        assert listener.fileno() == -1


def test_a_half_closed_connection_still_reads(network):
    with pair(network) as (a, b):
        a.write(b"question")
        a.close_write()
        assert b.read_until(b"question") == b"question"
        assert b.read() == b""
        b.write(b"answer")
        assert a.read() == b"answer"
        with pytest.raises(BrokenPipeError):
            a.write(b"more")
        b.close_read()
        assert b.read() == b""
        b.shutdown(socket.SHUT_RDWR)
        assert a.read() == b""


def test_a_connection_that_nobody_closed_warns_and_closes():
    with listening() as listener:
        conn = net.dial(listener.addr)
        other = listener.accept()
        with pytest.warns(ResourceWarning, match="unclosed <golib.net.Conn"):
            del conn
        assert other.read() == b""
        other.close()


# ---- deadlines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_a_passed_deadline_ends_reads_and_writes_and_the_connection_stays_usable(place, tls):
    with pair("tcp", tls) as (a, b):
        b.set_deadline(0.02)
        for operation in (b.read, b.readline, lambda: b.read_exactly(1)):
            with pytest.raises(TimeoutError, match="timed out"):
                place(operation)
        b.set_deadline(-1)
        with pytest.raises(TimeoutError):
            place(b.read)
        with pytest.raises(TimeoutError):
            place(b.write, b"x")
        b.set_deadline(None)
        if not tls:
            a.write(b"still here")
            assert place(b.read) == b"still here"
            b.set_write_deadline(0.02)
            with pytest.raises(TimeoutError):
                place(b.write, bytes(20_000_000))


def test_a_deadline_set_while_somebody_waits_ends_that_wait():
    with pair() as (_a, b):
        reader = parked(golib.go(b.read))
        b.set_write_deadline(0)
        b.set_read_deadline(0.01)
        with pytest.raises(TimeoutError):
            reader.join()
        b.set_read_deadline(5)
        reader = parked(golib.go(b.read))
        b.set_deadline(0)
        with pytest.raises(TimeoutError):
            reader.join()


def test_an_accept_has_a_deadline():
    with listening() as listener:
        listener.set_deadline(0.01)
        with pytest.raises(TimeoutError):
            listener.accept()
        listener.set_deadline(None)
        with net.dial(listener.addr), listener.accept():
            pass


def test_a_timeout_bounds_each_operation_as_a_sockets():
    with pair() as (a, b):
        assert b.gettimeout() is None
        b.settimeout(0.01)
        assert b.gettimeout() == 0.01
        for _ in range(2):
            with pytest.raises(TimeoutError, match="timed out"):
                b.recv(1)
        b.setblocking(False)
        assert not b.getblocking()
        with pytest.raises(BlockingIOError):
            b.recv(1)
        with pytest.raises(BlockingIOError):
            b.sendall(bytes(20_000_000))
        a.settimeout(5)
        a.write(b"x")
        assert eventually(lambda: a.gettimeout() == 5)
        b.settimeout(None)
        assert b.recv(1) == b"x"


# ---- cancellation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [False, True])
def test_timeouts_and_cancellations_leave_a_read_at_once_and_lose_nothing(tls):
    with pair("tcp", tls) as (a, b):
        a.write(b"par")
        with golib.timeout(0.05, raises=False):
            b.readline()
        reader = golib.go(b.read_exactly, 100)
        parked(reader)
        reader.cancel()
        assert isinstance(reader.exception(), golib.Cancelled)
        a.write(b"tial\n")
        assert b.readline() == b"partial\n"


def test_a_cancelled_turn_is_given_up():
    with pair() as (a, b):
        first, second = golib.go(b.read_exactly, 5), golib.go(b.read_exactly, 5)
        parked(first), parked(second)
        first.cancel()
        assert isinstance(first.exception(), golib.Cancelled)
        a.write(b"12345")
        assert second.join() == b"12345"


def test_a_scope_ends_waits_on_connections():
    with pair() as (_a, b), listening() as listener:
        with golib.scope() as s:
            for wait in (b.read, listener.accept, b.readline):
                parked(s.go(wait))
            s.cancel()
