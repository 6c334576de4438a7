"""golib.patch("socket", "dns"): unmodified blocking sockets park."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading

import golib
import pytest

from measures import threads
from support import eventually, on_thread, parked, run_ok, start_poller, under_run

start_poller()


@pytest.fixture(autouse=True, scope="module")
def patched():
    golib.patch("socket", "dns", "time")
    yield
    golib.unpatch()


@pytest.fixture
def pair():
    a, b = socket.socketpair()
    yield a, b
    a.close()
    b.close()


@pytest.fixture
def tcp():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        a = socket.create_connection(listener.getsockname())
        b, _ = listener.accept()
    yield a, b
    a.close()
    b.close()


def test_a_thousand_readers_need_few_threads():
    before = threads()
    pairs = [socket.socketpair() for _ in range(300)]
    readers = [golib.go(b.recv, 10) for _, b in pairs]
    for g in readers:
        parked(g, "IO wait")
    assert threads() < before + 30
    for i, (a, _) in enumerate(pairs):
        a.sendall(b"%d" % i)
    assert [g.join(10) for g in readers] == [b"%d" % i for i in range(300)]
    for a, b in pairs:
        a.close()
        b.close()


RECEIVERS = {
    "recv": lambda s: s.recv(10),
    "recv large": lambda s: s.recv(10_000_000),
    "recv flags": lambda s: s.recv(10, socket.MSG_PEEK) and s.recv(10),
    "recv waitall": lambda s: s.recv(3, socket.MSG_WAITALL),
    "recv_into": lambda s: [b := bytearray(10), b[: s.recv_into(b)]][1],
    "recv_into n": lambda s: [b := bytearray(10), b[: s.recv_into(b, 5)]][1],
    "recv_into flags": lambda s: [b := bytearray(10), b[: s.recv_into(b, 5, 0)]][1],
    "recvfrom": lambda s: s.recvfrom(10)[0],
    "recvfrom_into": lambda s: [b := bytearray(10), b[: s.recvfrom_into(b)[0]]][1],
    "recvmsg": lambda s: s.recvmsg(10)[0],
    "recvmsg_into": lambda s: [b := bytearray(10), b[: s.recvmsg_into(iter([b]))[0]]][1],
}


@pytest.mark.parametrize("timeout", [None, 30.0])
@pytest.mark.parametrize("how", RECEIVERS)
def test_every_way_to_receive_parks(how, timeout, pair):
    a, b = pair
    b.settimeout(timeout)
    g = golib.go(RECEIVERS[how], b)
    parked(g, "IO wait")
    a.sendall(b"abc")
    assert bytes(g.join(10)) == b"abc"


@pytest.mark.parametrize("how", RECEIVERS)
def test_a_timeout_of_the_socket_raises_the_same(how, pair):
    _, b = pair
    b.settimeout(0.01)

    def outcome():
        with pytest.raises(TimeoutError) as info:
            RECEIVERS[how](b)
        return str(info.value), info.value.errno

    assert golib.go(outcome).join() == on_thread(outcome) == ("timed out", None)


@pytest.mark.parametrize("how", RECEIVERS)
def test_cancel_and_close_leave_at_once_and_nothing_is_lost(how, pair):
    a, b = pair
    g = golib.go(RECEIVERS[how], b)
    parked(g)
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join(10)
    a.sendall(b"abc")
    assert bytes(golib.go(RECEIVERS[how], b).join(10)) == b"abc"
    g = golib.go(RECEIVERS[how], b)
    parked(g)
    b.close()
    with pytest.raises(OSError, match="Bad file") as info:
        g.join(10)
    assert info.value.errno == errno.EBADF


SENDERS = {
    "send": lambda s, data: s.send(data),
    "sendall": lambda s, data: s.sendall(data),
    "sendto": lambda s, data: s.sendto(data, b""),
}


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_what_does_not_fit_waits_for_room(timeout, tcp):
    a, b = tcp
    a.settimeout(timeout)
    data = os.urandom(20_000_000)
    g = golib.go(a.sendall, data)
    parked(g, "IO wait")
    received = bytearray()

    def reads():
        while len(received) < len(data):
            received.extend(b.recv(1_000_000))

    golib.go(reads).join(30)
    g.join(10)
    assert received == data


def test_a_blocking_send_sends_all(tcp):
    a, b = tcp
    g = golib.go(a.send, bytes(30_000_000))
    parked(g, "IO wait")
    n = 0
    while n < 30_000_000:
        n += len(golib.go(b.recv, 1_000_000).join(10))
    assert g.join(10) == 30_000_000


def test_a_send_with_a_timeout_sends_what_fits(tcp):
    a, _ = tcp
    a.settimeout(0.05)

    def fill():
        n = 0
        with pytest.raises(TimeoutError, match="timed out"):
            while True:
                n += a.send(bytes(1_000_000))
        return n

    assert golib.go(fill).join(20) > 0


def test_accept_and_connect_park():
    before = threads()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptors = [golib.go(listener.accept) for _ in range(5)]
        for g in acceptors:
            parked(g, "IO wait")
        assert threads() < before + 20

        def client(i):
            with socket.create_connection(listener.getsockname(), timeout=10) as s:
                s.sendall(b"%d" % i)
                return s.recv(10)

        clients = [golib.go(client, i) for i in range(5)]
        for g in acceptors:
            conn, peer = g.join(10)
            assert peer[0] == "127.0.0.1"
            conn.sendall(conn.recv(10))
            conn.close()
        assert sorted(g.join(10) for g in clients) == [b"%d" % i for i in range(5)]


def test_of_several_acceptors_none_is_forgotten():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = golib.Chan[int](1000)

        def acceptor():
            while True:
                conn, _ = listener.accept()
                conn.close()
                done.send(1)

        gs = [golib.go(acceptor) for _ in range(10)]
        for _ in range(200):
            socket.create_connection(listener.getsockname()).close()
        for _ in range(200):
            done.recv(timeout=10)
        for g in gs:
            g.cancel()
        for g in gs:
            with pytest.raises(golib.Cancelled):
                g.join(10)


def test_two_readers_of_one_socket_have_their_own_timeouts(pair):
    a, b = pair
    first = parked(golib.go(b.recv, 1), "IO wait")

    def second():
        with pytest.raises(TimeoutError), golib.timeout(0.05):
            b.recv(1)

    golib.go(second).join(10)
    third = parked(golib.go(b.recv, 1), "IO wait")
    first.cancel()
    a.send(b"x")
    assert third.join(10) == b"x"


def test_a_refused_connection_is_refused_and_its_socket_blocks_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()

    def body(timeout):
        with socket.socket() as s:
            s.settimeout(timeout)
            with pytest.raises(ConnectionRefusedError) as info:
                s.connect(address)
            assert os.get_blocking(s.fileno()) is (timeout is None)
            assert s.connect_ex(address) in (errno.ECONNREFUSED, errno.ECONNABORTED)
            return info.value.errno, str(info.value)

    for timeout in (None, 10):
        assert golib.go(body, timeout).join() == on_thread(body, timeout)


def full_backlog() -> tuple[socket.socket, list[socket.socket]]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = []
    for _ in range(3):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
        fillers.append(s)
    return listener, fillers


def test_a_connect_that_waits_times_out_and_is_cancelled():
    listener, fillers = full_backlog()

    def times_out():
        with socket.socket() as s:
            s.settimeout(0.05)
            with pytest.raises(TimeoutError, match="timed out"):
                s.connect(listener.getsockname())

    def left():
        with socket.socket() as s, pytest.raises(TimeoutError), golib.timeout(0.05):
            s.connect(listener.getsockname())

    def ex():
        with socket.socket() as s:
            s.settimeout(0.05)
            return s.connect_ex(listener.getsockname())

    golib.go(times_out).join(10)
    golib.go(left).join(10)
    assert golib.go(ex).join(10) == errno.EAGAIN
    for s in [listener, *fillers]:
        s.close()


def test_a_socket_that_does_not_block_is_left_alone(pair):
    a, b = pair
    b.setblocking(False)

    def body():
        with pytest.raises(BlockingIOError):
            b.recv(1)
        a.send(b"x")
        return b.recv(1)

    assert golib.go(body).join() == b"x"


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_number_that_is_used_again_is_another_socket():
    def body():
        for _ in range(200):
            a, b = socket.socketpair()
            g = golib.go(b.recv, 1)
            golib.gosched()
            a.send(b"x")
            assert g.join(10) == b"x"
            if _ % 3 == 0:
                os.close(b.detach())
            elif _ % 3 == 1:
                b.close()
            else:
                del b, g
            a.close()

    golib.go(body).join(30)


def test_dup2_onto_a_number_wakes_who_waits_there(pair):
    _, b = pair
    c, d = socket.socketpair()
    g = parked(golib.go(b.recv, 1), "IO wait")
    os.dup2(d.fileno(), b.fileno())
    with pytest.raises(OSError, match="Bad file") as info:
        g.join(10)
    assert info.value.errno == errno.EBADF
    c.send(b"x")
    assert golib.go(b.recv, 1).join(10) == b"x"
    c.close()
    d.close()


def test_another_object_of_the_same_number_shares_the_wait(pair):
    a, b = pair
    g = parked(golib.go(b.recv, 1), "IO wait")
    again = socket.socket(fileno=b.fileno())
    assert golib.go(again.send, b"y").join(10) == 1
    a.send(b"x")
    assert g.join(10) == b"x"
    again.detach()


def test_datagrams_and_a_thread_beside():
    with socket.socket(type=socket.SOCK_DGRAM) as a, socket.socket(type=socket.SOCK_DGRAM) as b:
        a.bind(("127.0.0.1", 0))
        b.bind(("127.0.0.1", 0))
        g = parked(golib.go(a.recvfrom, 100), "IO wait")
        thread = threading.Thread(target=b.sendto, args=(b"hello", a.getsockname()))
        thread.start()
        assert g.join(10) == (b"hello", b.getsockname())
        thread.join()


def test_under_run_and_ctrl_c():
    out = run_ok("""
        import os, signal, socket, threading, golib
        golib.patch()
        def main():
            a, b = socket.socketpair()
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                b.recv(1)
            except KeyboardInterrupt:
                print("left")
            a.send(b"x")
            print(b.recv(1))
            a.close()
            b.close()
        golib.run(main)
    """)
    assert out == "left\nb'x'\n"


def test_a_forked_child_uses_the_sockets_of_its_parent():
    out = run_ok("""
        import os, socket, golib
        golib.patch()
        def main():
            a, b = socket.socketpair()
            g = golib.go(b.recv, 1)
            golib.sleep(0.02)
            if pid := os.fork():
                a.send(b"p")
                print(g.join())
                os.waitpid(pid, 0)
                print(b.recv(1))
                a.close()
                b.close()
            else:
                c, d = socket.socketpair()
                g = golib.go(d.recv, 1)
                golib.sleep(0.01)
                c.send(b"c")
                assert g.join() == b"c"
                a.send(b"q")
                os._exit(0)
        golib.run(main)
    """)
    assert out == "b'p'\nb'q'\n"


def test_names_are_looked_up_beside_and_a_look_up_can_be_left():
    def body():
        assert socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4] == (
            "127.0.0.1",
            80,
        )
        assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
        assert socket.getnameinfo(
            ("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        ) == ("127.0.0.1", "80")
        with pytest.raises(socket.gaierror):
            socket.getaddrinfo("127.0.0.1", "no such service")
        with pytest.raises(TypeError):
            socket.getaddrinfo()

    golib.go(body).join(10)
    with golib.scope() as s:
        for _ in range(300):
            s.go(socket.getaddrinfo, "localhost", 80)


def test_close_wakes_all_who_wait(pair):
    _, b = pair
    gs = [parked(golib.go(b.recv, 1)) for _ in range(5)]
    b.close()
    for g in gs:
        with pytest.raises(OSError, match="Bad file") as info:
            g.join(10)
        assert info.value.errno == errno.EBADF


def test_the_main_goroutine_serves_a_client_of_its_own():
    def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            g = golib.go(socket.create_connection, listener.getsockname())
            conn, _ = listener.accept()
            with conn, g.join() as client:
                client.sendall(b"ping")
                return conn.recv(10)

    assert under_run(main) == b"ping"


def test_no_registration_is_left_over():
    def body():
        for _ in range(100):
            a, b = socket.socketpair()
            g = golib.go(a.recv, 1)
            golib.gosched()
            b.send(b"x")
            g.join()
            a.close()
            b.close()

    before = len(os.listdir("/proc/self/fd"))
    golib.go(body).join(20)
    eventually(lambda: len(os.listdir("/proc/self/fd")) == before)


def test_the_kernels_own_timeouts_count(pair):
    a, b = pair
    short = struct.pack("ll", 0, 30_000)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, short)
    b.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, short)

    def body():
        outcomes = []
        for call in (
            lambda: b.recv(1),
            lambda: b.recvfrom(1),
            lambda: b.sendall(bytes(10_000_000)),
        ):
            with pytest.raises(BlockingIOError) as info:
                call()
            outcomes.append(info.value.errno)
        return outcomes

    assert golib.go(body).join(10) == [errno.EAGAIN] * 3
    a.send(b"x")
    assert golib.go(b.recv, 1).join(10) == b"x"
