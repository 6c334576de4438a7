"""golib.net: addresses, listeners, descriptors of others."""

from __future__ import annotations

import errno
import os
import socket
import threading

import golib
import golib.net as net
import pytest

from net_support import STREAMS, listening
from support import parked


@pytest.fixture(params=STREAMS)
def network(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---- addresses ------------------------------------------------------------------------------------------------------


def test_addresses_come_back_as_pythons(network):
    with listening(network) as listener:
        with net.dial(listener.addr, network) as a, listener.accept() as b:
            assert a.remote_addr == b.local_addr == listener.addr == a.getpeername()
            assert a.local_addr == b.remote_addr == a.getsockname()
            with socket.socket(fileno=os.dup(a.fileno())) as sock:
                assert sock.getsockname() == a.local_addr
                assert sock.getpeername() == a.remote_addr
                assert (sock.family, sock.type) == (a.family, a.type)
        assert b.remote_addr is not None, "known after the close, for logs"


def test_addresses_are_texts_or_tuples():
    with net.listen(":0") as listener:
        port = listener.addr[1]
        for addr in (
            f"127.0.0.1:{port}", f"localhost:{port}", f":{port}", ("127.0.0.1", port), ("", port), (None, port),
            ("127.0.0.1", str(port)), f"[::1]:{port}", ("::1", port), ("::1", port, 0, 0),
        ):  # fmt: skip
            with net.dial(addr, timeout=5), listener.accept():
                pass


@pytest.mark.parametrize(
    ("addr", "kind", "text"),
    [
        ("localhost", ValueError, "has no port: write 'localhost:port'"),
        ("::1:80", ValueError, "too many colons"),
        ("[::1]", ValueError, r"write '\[::1\]:port'"),
        ("host:", ValueError, "has no port"),
        ("127.0.0.1:70000", ValueError, "from 0 to 65535"),
        (("127.0.0.1", -1), ValueError, "from 0 to 65535"),
        ("127.0.0.1:-1", ValueError, "from 0 to 65535"),
        (("127.0.0.1", "-1"), ValueError, "from 0 to 65535"),
        (("127.0.0.1",), ValueError, "a tuple is"),
        (("127.0.0.1", None), TypeError, "the port must be a number, not NoneType"),
        ((1, 2), TypeError, "the host must be a str, not int"),
        (80, TypeError, "not int"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_addresses_that_are_none_are_refused_in_words(addr, kind, text):
    for call in (net.dial, net.listen, net.listen_packet):
        with pytest.raises(kind, match=text):
            call(addr)


def test_unknown_networks_are_refused_in_words():
    for network in ("tpc", "udp", 4, None):
        with pytest.raises(ValueError, match=r"unknown network .*tcp, tcp4, tcp6, unix"):
            net.listen("127.0.0.1:0", network)
    with pytest.raises(ValueError, match=r"listen_packet\(\)"):
        net.listen("127.0.0.1:0", "udp")
    with pytest.raises(ValueError, match=r"listen\(\)"):
        net.listen_packet("127.0.0.1:0", "tcp")
    with pytest.raises(ValueError, match="unknown network 'ip'"):
        net.dial("127.0.0.1:0", "ip")
    for path in (("a", 1), 3, None):
        with pytest.raises(TypeError, match="a path"):
            net.dial(path, "unix")
    with pytest.raises(ValueError, match="must not be empty"):
        net.listen("", "unix")


def test_the_types_are_not_made_by_hand():
    for cls in (net.Conn, net.Listener, net.PacketConn):
        with pytest.raises(TypeError, match="comes from"):
            cls()
    for base in (golib._golib.ConnBase, golib._golib.ListenerBase, golib._golib.PacketBase):
        with pytest.raises(TypeError):
            base()


# ---- listening ------------------------------------------------------------------------------------------------------


def test_two_listeners_share_a_port_only_if_both_wish_so():
    with net.listen("127.0.0.1:0", reuse_port=True) as one:
        with net.listen(one.addr, reuse_port=True):
            pass
        with pytest.raises(OSError, match="Errno") as error:
            net.listen(one.addr)
        assert error.value.errno == errno.EADDRINUSE


def test_all_interfaces_serve_both_families():
    with net.listen(":0") as listener:
        for host, network in (("127.0.0.1", "tcp4"), ("::1", "tcp6")):
            with net.dial((host, listener.addr[1]), network), listener.accept():
                pass
    with net.listen(":0", "tcp4") as listener:
        assert listener.addr[0] == "0.0.0.0"
        with pytest.raises(ConnectionRefusedError):
            net.dial(("::1", listener.addr[1]))


def test_a_unix_listener_removes_its_own_file_only(tmp_path):
    path = tmp_path / "s"
    with net.listen(path, "unix") as listener:
        assert listener.addr == str(path)
        assert path.exists()
    assert not path.exists()
    with net.listen(path, "unix"):
        path.unlink()
        path.write_text("another's")
    assert path.exists()
    with pytest.raises(OSError, match="Errno") as error:
        net.listen(path, "unix")
    assert error.value.errno == errno.EADDRINUSE
    name = f"\0golib-test-{os.getpid()}"
    with net.listen(name, "unix") as listener, net.dial(name, "unix") as a, listener.accept() as b:
        a.write(b"x")
        assert b.read() == b"x"
        assert listener.addr == name.encode()


def test_accepts_take_turns():
    with listening() as listener:
        waiting = [golib.go(listener.accept) for _ in range(5)]
        dialled = [net.dial(listener.addr) for _ in range(5)]
        for conn in [*dialled, *(g.join() for g in waiting)]:
            conn.close()


# ---- descriptors of others ------------------------------------------------------------------------------------------


def test_any_descriptor_can_be_waited_for(place):
    r, w = os.pipe()
    try:
        net.wait_writable(w)
        with pytest.raises(TimeoutError):
            place(net.wait_readable, r, 0.01)
        with pytest.raises(TimeoutError):
            place(net.wait_readable, r, 0)
        timer = threading.Timer(0.02, os.write, (w, b"x"))
        timer.start()
        assert place(net.wait_readable, r) is None
        timer.join()
        assert os.read(r, 9) == b"x"
        both = [golib.go(net.wait_readable, r), golib.go(net.wait_readable, r, timeout=9)]
        for g in both:
            parked(g)
        os.write(w, b"x")
        for g in both:
            g.join()
        assert place(lambda: net.wait_readable(r, timeout=5)) is None
    finally:
        os.close(r)
        os.close(w)
    with pytest.raises(OSError, match="Errno") as error:
        place(net.wait_readable, r)
    assert error.value.errno == errno.EBADF


def test_objects_and_files_can_be_waited_for(tmp_path):
    a, b = socket.socketpair()
    with a, b, open(tmp_path / "f", "wb") as file:
        net.wait_writable(a)
        net.wait_writable(file)
        net.wait_readable(file.fileno())
        waiting = parked(golib.go(net.wait_readable, a))
        b.close()
        waiting.join()
        assert a.getblocking()
    with pytest.raises((TypeError, ValueError)):
        net.wait_readable("fd")
    with pytest.raises(ValueError, match="negative"):
        net.wait_readable(-1)


def test_a_wait_for_a_descriptor_is_cancelled():
    r, w = os.pipe()
    g = parked(golib.go(net.wait_readable, r))
    g.cancel()
    assert isinstance(g.exception(), golib.Cancelled)
    with golib.timeout(0.01, raises=False):
        net.wait_readable(r)
    os.close(r)
    os.close(w)
