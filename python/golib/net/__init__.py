"""golib.net: connections, listeners and datagrams, also with TLS. Go's package net.

A goroutine that waits here parks: ten thousand connections need no ten thousand threads. Everything works from ordinary
threads, too, which then block. Deadlines, golib.timeout(), scopes, Goroutine.cancel() and Ctrl-C end any wait.

>>> def double(conn):
...     for line in iter(conn.readline, b''):
...         conn.write(b'%d\\n' % (2 * int(line)))
>>> listener = golib.net.listen('127.0.0.1:0')
>>> server = golib.go(listener.serve, double)
>>> with golib.net.dial(listener.addr) as conn:
...     _ = conn.write(b'21\\n')
...     conn.readline()
b'42\\n'
>>> listener.shutdown()
>>> server.join()
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError("golib.net is not available on Windows")

from golib._golib import wait_readable, wait_writable
from golib.net._conn import Conn
from golib.net._dial import dial
from golib.net._listener import Listener, listen
from golib.net._packet import PacketConn, listen_packet

__all__ = [
    "Conn",
    "Listener",
    "PacketConn",
    "dial",
    "listen",
    "listen_packet",
    "wait_readable",
    "wait_writable",
]

for _public in (Conn, Listener, PacketConn, dial, listen, listen_packet):
    _public.__module__ = __name__
del _public
