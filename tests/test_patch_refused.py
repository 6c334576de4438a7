"""golib.patch refuses a CPython whose objects are laid out otherwise, in words, and then nothing is changed.

Each case gives a probe an object that looks like one of such a CPython.
"""

from __future__ import annotations

import pytest

from support import run_ok

SOCKET = """
import _socket
class socket(_socket.socket):
    def __init__(self):
        super().__init__(_socket.AF_INET, _socket.SOCK_DGRAM)
_socket.socket = socket
"""

#: Without a timeout they do not wait for what they are told.
SOCKETS_WAIT = """
import _socket
class socket(_socket.socket):
    def settimeout(self, seconds):
        super().settimeout(0 if seconds < 1 else seconds)
_socket.socket = socket
"""

TLS_WAITS = """
import socket
class Socket(socket.socket):
    def settimeout(self, seconds):
        super().settimeout(0)
real = socket.socketpair
socket.socketpair = lambda: tuple(Socket(fileno=s.detach()) for s in real())
"""

FILE = """
import _io
class FileIO(_io.FileIO):
    def fileno(self):
        return super().fileno() + 1
_io.FileIO = FileIO
"""

TLS = """
import _ssl
class Wrapped:
    __slots__ = ("first",)
    def __init__(self):
        self.first = object()
class SSLContext(_ssl._SSLContext):
    def _wrap_socket(self, *args):
        return Wrapped()
_ssl._SSLContext = SSLContext
"""

POLL = """
import select
real = select.poll
def poll():
    p = real()
    p.register(1, select.POLLIN)
    return p
select.poll = poll
"""

EPOLL = """
import select
class epoll:
    __slots__ = ("first",)
    poll = select.epoll.__dict__["poll"]
    close = select.epoll.__dict__["close"]
    def fileno(self):
        return 12345
select.epoll = epoll
"""

BUFFERED = """
import _io
class BufferedReader(_io.BufferedReader):
    def __init__(self, raw):
        pass
_io.BufferedReader = BufferedReader
"""

LOCK = """
import _thread
real = _thread.LockType
class lock:
    __slots__ = ("a", "b", "c", "d", "e", "f")
    def locked(self):
        return False
for name in dir(real):
    if type(real.__dict__.get(name)).__name__ == "method_descriptor" and name != "locked":
        setattr(lock, name, real.__dict__[name])
_thread.allocate_lock = lock
"""

CASES = {
    "socket": ("socket", SOCKET, "socket objects"),
    "a group that needs sockets": ("time', 'socket", SOCKET, "socket objects"),
    "file": ("os", FILE, "file objects"),
    "sockets that wait otherwise": ("socket", SOCKETS_WAIT, "sockets do not wait"),
    "TLS that waits otherwise": ("ssl", TLS_WAITS, "TLS does not wait"),
    "TLS": ("ssl", TLS, "TLS objects"),
    "poll": ("select", POLL, "poll objects"),
    "epoll": ("select", EPOLL, "poll objects"),
    "buffered": ("file", BUFFERED, "buffered files"),
    "lock": ("lock", LOCK, "_thread.lock"),
    "all of them": ("", BUFFERED, "buffered files"),
}


#: What a CPython may lack that a case is about.
MODULES = {"TLS": "ssl"}


@pytest.mark.parametrize("name", CASES)
def test_an_unknown_layout_is_refused_in_words(name: str) -> None:
    if module := MODULES.get(name):
        pytest.importorskip(module, reason=f"this CPython has no {module}")
    groups, broken, what = CASES[name]
    out = run_ok(
        f"""
import golib, time, types
golib.patch("time")
golib.unpatch()
{broken}
try:
    golib.patch({f"'{groups}'" if groups else ""})
except RuntimeError as error:
    print({what!r} in str(error) and str(error).startswith("golib.patch: this CPython"))
print(sorted(golib.patched()))

def blocks():
    "time.sleep is CPython's: it holds its thread."
    before = golib.runtime.stats()["threads"]
    gs = [golib.go(time.sleep, 0.3) for _ in range(5)]
    golib.sleep(0.1)
    return golib.runtime.stats()["threads"] - before >= 4

print(golib.go(blocks).join())
golib.patch("time")
print(sorted(golib.patched()))
"""
    )
    assert out == "True\n[]\nTrue\n['time']\n"


def test_a_cpython_that_is_built_without_ssl_is_patched_all_the_same() -> None:
    out = run_ok(
        """
import sys
sys.modules["_ssl"] = None
import socket
import golib
from support import parked
golib.patch()
a, b = socket.socketpair()
g = parked(golib.go(a.recv, 1), "IO wait")
b.send(b"x")
print(g.join())
golib.unpatch()
"""
    )
    assert out == "b'x'\n"
