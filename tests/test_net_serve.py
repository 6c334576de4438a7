"""Listener.serve and shutdown."""

from __future__ import annotations

import golib
import golib.net as net
import pytest

from net_support import listening
from support import Boom, eventually, parked, run_ok


def echo(conn):
    while data := conn.read():
        conn.write(data)


def is_refused(addr):
    try:
        net.dial(addr).close()
    except ConnectionResetError:
        return False  # the accept that was under way has not left yet
    except ConnectionRefusedError:
        return True
    return False


def test_each_connection_has_its_handler_and_is_closed_behind_it(place):
    with listening() as listener:
        server = golib.go(listener.serve, echo)

        def talk():
            conns = [net.dial(listener.addr) for _ in range(20)]
            for i, conn in enumerate(conns):
                conn.write(b"%d" % i)
            for i, conn in enumerate(conns):
                assert conn.read() == b"%d" % i
                conn.close_write()
                assert conn.read() == b""
                conn.close()

        place(talk)
        place(listener.shutdown)
        assert server.join() is None


def test_an_ordinary_thread_and_run_serve(place):
    with listening() as listener:

        def client():
            with net.dial(listener.addr) as conn:
                conn.write(b"x")
                assert conn.read() == b"x"
            listener.close()

        g = golib.go(client)
        place(listener.serve, echo)
        g.join()


def test_close_stops_accepting_and_serve_waits_for_its_handlers():
    release = golib.Chan()
    with listening() as listener:
        server = golib.go(listener.serve, lambda conn: release.recv())
        with net.dial(listener.addr):
            eventually(lambda: golib.num_goroutine() >= 2)
            parked(server)
            eventually(lambda: any(s.running for s in listener._servers))
            listener.close()
            assert eventually(lambda: is_refused(listener.addr))
            assert not server.done()
            release.send(None)
            server.join()


def test_shutdown_cancels_handlers_after_its_timeout():
    ended = []
    with listening() as listener:

        def handle(conn):
            try:
                conn.read()
            finally:
                ended.append(conn.fileno() >= 0)

        server = golib.go(listener.serve, handle)
        with net.dial(listener.addr) as a, net.dial(listener.addr):
            eventually(lambda: sum(len(s.running) for s in listener._servers) == 2)
            with pytest.raises(TimeoutError, match="have been cancelled"):
                listener.shutdown(0.02)
            server.join()
            assert ended == [True, True]
            assert a.read() == b""


def test_shutdown_without_handlers_returns_at_once():
    with listening() as listener:
        listener.shutdown()
        listener.shutdown(0)
        assert listener.fileno() == -1


def test_a_handler_that_waits_for_itself_is_told():
    with listening() as listener:
        seen = golib.Chan(1)

        def handle(conn):
            try:
                listener.shutdown()
            except RuntimeError as error:
                seen.send(str(error))
            listener.close()

        server = golib.go(listener.serve, handle)
        with net.dial(listener.addr):
            assert "must not wait for itself" in seen.recv(10)
        server.join()


def test_a_cancelled_serve_cancels_its_handlers():
    with listening() as listener:
        ends = golib.Chan(2)

        def handle(conn):
            try:
                conn.read()
            except golib.Cancelled:
                ends.send("cancelled")
                raise

        server = golib.go(listener.serve, handle)
        with net.dial(listener.addr), net.dial(listener.addr):
            eventually(lambda: sum(len(s.running) for s in listener._servers) == 2)
            server.cancel()
            assert isinstance(server.exception(), golib.Cancelled)
            assert [ends.recv(5), ends.recv(5)] == ["cancelled"] * 2
        with golib.timeout(0.02, raises=False):
            listener.serve(handle)


def test_an_exception_ends_its_connection_only(panics):
    with listening() as listener:

        def handle(conn):
            if conn.readline() == b"bad\n":
                raise Boom
            conn.write(b"fine")

        server = golib.go(listener.serve, handle)
        with net.dial(listener.addr) as bad, net.dial(listener.addr) as good:
            bad.write(b"bad\n")
            assert bad.read() == b""
            good.write(b"good\n")
            assert good.read() == b"fine"
        listener.shutdown()
        server.join()
    assert [type(error) for _, error in panics] == [Boom]


def test_a_limit_bounds_the_handlers_and_the_rest_waits():
    running, most = 0, 0

    def handle(conn):
        nonlocal running, most
        running += 1
        most = max(most, running)
        conn.read()
        running -= 1
        conn.write(b"done")

    with listening() as listener:
        server = golib.go(listener.serve, handle, limit=3)
        conns = [net.dial(listener.addr) for _ in range(10)]
        eventually(lambda: running == 3)
        for conn in conns:
            conn.write(b"x")
        assert [conn.read() for conn in conns] == [b"done"] * 10
        assert most == 3
        for conn in conns:
            conn.close()
        listener.shutdown()
        server.join()


@pytest.mark.parametrize(
    ("limit", "kind"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_limits_that_are_none_are_refused(limit, kind):
    with listening() as listener, pytest.raises(kind, match="limit must be"):
        listener.serve(echo, limit=limit)


def test_handlers_that_are_none_are_refused():
    async def handle(conn):
        pass

    with listening() as listener:
        for wrong in (None, handle, 3):
            with pytest.raises(TypeError):
                listener.serve(wrong)
        listener.close()
        assert listener.serve(echo) is None, "closed before: nothing to serve"


def test_serve_outlives_a_lack_of_descriptors():
    run_ok(
        """
        import errno, os, resource
        import golib, golib.net as net

        listener = net.listen("127.0.0.1:0")
        server = golib.go(listener.serve, lambda conn: conn.write(conn.read()))
        conns = [net.dial(listener.addr) for _ in range(2)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        spare = []
        try:
            while True:
                spare.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE
        os.close(spare.pop())
        late = net.dial(listener.addr)  # takes the last one; its other end finds none
        golib.sleep(0.05)
        assert not server.done()
        for fd in spare:
            os.close(fd)
        for conn in [*conns, late]:
            conn.write(b"x")
            assert conn.read() == b"x"
            conn.close()
        listener.shutdown()
        server.join()
        """
    )


def test_two_serve_one_listener():
    with listening() as listener:
        servers = [golib.go(listener.serve, echo) for _ in range(2)]
        for _ in range(10):
            with net.dial(listener.addr) as conn:
                conn.write(b"x")
                assert conn.read() == b"x"
        listener.shutdown(10)
        for server in servers:
            server.join()
