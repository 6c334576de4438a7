"""dial: names, several addresses, timeouts; datagrams; forks."""

from __future__ import annotations

import contextlib
import socket
import time

import golib
import golib.net as net
import pytest
from golib.net import _dial, _resolve

from net_support import listening, pair
from support import Thread, eventually, parked, run_ok


@contextlib.contextmanager
def black_hole():
    """An address that answers nothing: a listener whose queue is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()


def resolving_to(monkeypatch, *addresses):
    def found(*query):
        return [
            (socket.AF_INET6 if len(a) == 4 else socket.AF_INET, 1, 6, "", a) for a in addresses
        ]

    monkeypatch.setattr(_resolve.socket, "getaddrinfo", found)


def test_a_refused_connection_is_the_socket_modules_error(place):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError) as error:
            place(net.dial, unused.getsockname())
        assert str(error.value) == "[Errno 111] Connection refused"
    with pytest.raises(FileNotFoundError):
        place(net.dial, "/nowhere/at/all", "unix")


def test_a_name_that_nobody_knows_is_a_gaierror(place):
    for call in (net.dial, net.listen, net.listen_packet):
        with pytest.raises(socket.gaierror):
            place(call, "no.such.host.invalid:80")


def test_a_dial_ends_by_its_timeout_and_by_cancellation(place):
    with black_hole() as addr:
        start = time.monotonic()
        with pytest.raises(TimeoutError, match=r"^dial timed out after 0.05 s$"):
            place(lambda: net.dial(addr, timeout=0.05))
        assert time.monotonic() - start < 20
        g = parked(golib.go(net.dial, addr), "IO wait")
        g.cancel()
        assert isinstance(g.exception(), golib.Cancelled)


def test_a_silent_address_is_passed_by_after_a_moment(monkeypatch, place):
    with black_hole() as hole, listening() as listener:
        resolving_to(monkeypatch, hole, listener.addr)
        start = time.monotonic()
        with place(net.dial, "name:80") as conn:
            assert conn.remote_addr == listener.addr
        assert time.monotonic() - start >= _dial._STAGGER_SECONDS - 0.05
        listener.accept().close()


def test_a_failed_address_is_passed_by_at_once(monkeypatch):
    monkeypatch.setattr(_dial, "_STAGGER_SECONDS", 60)
    with socket.socket() as unused, listening() as listener:
        unused.bind(("127.0.0.1", 0))
        resolving_to(
            monkeypatch, unused.getsockname(), (*unused.getsockname()[:1], 1), listener.addr
        )
        with net.dial("name:80") as conn:
            assert conn.remote_addr == listener.addr
        listener.accept().close()


def test_if_all_addresses_fail_the_first_error_tells_of_the_others(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        resolving_to(monkeypatch, ("127.0.0.1", port), ("255.255.255.255", port))
        with pytest.raises(ConnectionRefusedError) as error:
            net.dial("name:80")
        assert "other addresses" in error.value.__notes__[0]


def test_addresses_of_two_families_come_by_turns():
    four, six = [(socket.AF_INET, (str(i), 1)) for i in range(3)], [(socket.AF_INET6, ("x", 1))]
    assert _dial._by_turns([*six, *four]) == [six[0], *four]
    assert _dial._by_turns([*four, *six]) == [four[0], six[0], *four[1:]]


def test_losers_of_the_race_are_closed(monkeypatch):
    with listening() as one, listening() as other:
        resolving_to(monkeypatch, one.addr, other.addr)
        monkeypatch.setattr(_dial, "_STAGGER_SECONDS", 0)
        for _ in range(50):
            net.dial("name:80").close()
        for listener in (one, other):
            listener.set_deadline(0.05)
            with contextlib.suppress(TimeoutError):
                while True:
                    with listener.accept() as conn:
                        conn.set_deadline(5)
                        with contextlib.suppress(ConnectionResetError):
                            assert conn.read() == b""


def test_lookups_are_bounded_and_left_at_once(monkeypatch):
    release, running, most = golib.Chan(), 0, 0

    def slow(*query):
        nonlocal running, most
        running += 1
        most = max(most, running)
        release.recv_ok()
        running -= 1
        raise socket.gaierror(-2, "no")

    monkeypatch.setattr(_resolve, "_LOOKUPS", 3)
    monkeypatch.setattr(_resolve, "_lookups", golib.sync.Semaphore(3))
    monkeypatch.setattr(_resolve.socket, "getaddrinfo", slow)
    dials = [golib.go(net.dial, "name:80") for _ in range(10)]
    eventually(lambda: running == 3)
    for g in dials[:5]:
        parked(g)
        g.cancel()
        assert isinstance(g.exception(), golib.Cancelled)
    with pytest.raises(TimeoutError):
        net.dial("name:80", timeout=0.01)
    release.close()
    for g in dials[5:]:
        assert isinstance(g.exception(), socket.gaierror)
    assert most == 3


# ---- datagrams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["udp", "udp4", "udp6"])
def test_datagrams_go_and_come_from_every_place(place, network):
    host = "::1" if network == "udp6" else "127.0.0.1"
    with net.listen_packet((host, 0), network) as a, net.listen_packet((host, 0), network) as b:
        assert place(a.write_to, b"hello", b.addr) == 5
        assert place(b.read_from) == (b"hello", a.addr)
        assert b.write_to(b"", a.addr) == 0
        assert a.read_from() == (b"", b.addr)
        a.write_to(b"long one", b.addr)
        assert b.read_from(4) == (b"long", a.addr)
        with net.dial(a.addr, network) as conn:
            assert conn.write(b"by dial") == 7
            data, addr = a.read_from()
            assert (data, addr) == (b"by dial", conn.local_addr)
            a.write_to(b"one", addr)
            a.write_to(b"two", addr)
            assert [conn.read(), conn.read()] == [b"one", b"two"]


def test_a_socket_of_both_families_sends_to_both():
    with net.listen_packet(":0") as both, net.listen_packet("127.0.0.1:0") as four:
        both.write_to(b"x", four.addr)
        both.write_to(
            b"y", f"localhost:{four.addr[1]}" if four.addr[0] == "127.0.0.1" else four.addr
        )
        assert four.read_from()[0] == b"x"


def test_a_packet_connection_has_deadlines_and_a_close():
    with net.listen_packet("127.0.0.1:0") as packets:
        packets.set_deadline(0.01)
        with pytest.raises(TimeoutError):
            packets.read_from()
        packets.set_deadline(None)
        waiting = parked(golib.go(packets.read_from))
        packets.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            waiting.join()
        with pytest.raises(OSError, match="Bad file descriptor"):
            packets.write_to(b"x", packets.addr)
    with net.listen_packet("127.0.0.1:0") as packets:
        for data, addr, kind in [
            ("x", packets.addr, TypeError),
            (b"x", "nowhere", ValueError),
            (bytes(70_000), packets.addr, OSError),
        ]:
            with pytest.raises(kind):
                packets.write_to(data, addr)


# ---- forks ----------------------------------------------------------------------------------------------------------


def test_a_forked_child_goes_on_with_connections_and_makes_its_own():
    run_ok(
        """
        import os
        import golib, golib.net as net

        def main():
            listener = net.listen("127.0.0.1:0")
            a = net.dial(listener.addr)
            b = listener.accept()
            reader = golib.go(b.read)      # stays in the parent, with its turn
            while reader.status() != "IO wait":
                golib.gosched()
            pid = os.fork()
            if pid == 0:
                a.write(b"from the child\\n")
                with net.listen("localhost:0") as own, net.dial(own.addr) as c, own.accept() as d:
                    golib.go(c.write, b"x")
                    assert d.read() == b"x"
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert reader.join() == b"from the child\\n"
            a.write(b"parent")
            assert b.read() == b"parent"

        golib.run(main)
        """
    )


def test_a_child_forked_by_a_plain_thread_uses_connections():
    run_ok(
        """
        import os
        import golib.net as net

        listener = net.listen("127.0.0.1:0")
        a, b = net.dial(listener.addr), listener.accept()
        pid = os.fork()
        if pid == 0:
            a.write(b"question")
            assert a.read() == b"answer"
            os._exit(0)
        assert b.read() == b"question"
        b.write(b"answer")
        assert os.waitpid(pid, 0)[1] == 0
        """,
    )


# ---- as a socket ----------------------------------------------------------------------------------------------------


def test_a_detached_connection_is_a_socket_that_blocks():
    with pair() as (a, b):
        waiting = parked(golib.go(a.read))
        with a.detach() as sock:
            with pytest.raises(OSError, match="Bad file descriptor"):
                waiting.join()
            assert a.fileno() == -1
            thread = Thread(sock.recv, 9)
            b.write(b"x")
            assert thread.join() == b"x"
        b.close()
    with pair() as (a, b):
        a.write(b"one\ntwo\n")
        b.readline()
        with pytest.raises(ValueError, match="4 bytes were read"):
            b.detach()


def test_a_socket_becomes_a_connection():
    ours, theirs = socket.socketpair()
    with theirs, net.Conn.from_socket(ours) as conn:
        assert ours.fileno() == -1
        theirs.sendall(b"x")
        assert conn.read() == b"x"
    with pytest.raises(TypeError, match=r"socket\.socket is expected"):
        net.Conn.from_socket(3)


def test_options_are_a_sockets():
    with pair() as (a, _):
        assert a.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert a.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert (a.family, a.type, a.proto) == (
            socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
        )


def test_ctrl_c_leaves_every_wait():
    run_ok(
        """
        import os, signal, threading
        import golib, golib.net as net

        listener = net.listen("127.0.0.1:0")
        a, b = net.dial(listener.addr), listener.accept()
        def hit():
            os.kill(os.getpid(), signal.SIGINT)
        for where in (golib.run, lambda f: f()):
            for wait in (b.read, b.readline, listener.accept, lambda: net.wait_readable(b.fileno())):
                timer = threading.Timer(0.05, hit)
                timer.start()
                try:
                    where(wait)
                except KeyboardInterrupt:
                    pass
                else:
                    raise SystemExit("not interrupted")
                timer.join()
        a.write(b"x")
        assert b.read() == b"x"
        """
    )


def test_a_signal_handler_may_write_to_the_connection_that_it_interrupts():
    run_ok(
        """
        import os, signal
        import golib, golib.net as net

        size = 8_000_000

        def main():
            with net.listen("127.0.0.1:0") as listener:
                with net.dial(listener.addr) as a, listener.accept() as b:
                    signal.signal(signal.SIGUSR1, lambda *_: a.write(b"!"))
                    def read():
                        b.read_exactly(100)  # the write has begun, and waits for room
                        os.kill(os.getpid(), signal.SIGUSR1)
                        return b.read_exactly(size - 99)
                    reader = golib.go(read)
                    assert a.write(bytes(size)) == size
                    assert reader.join().count(b"!") == 1

        golib.run(main)
        main()
        """
    )
