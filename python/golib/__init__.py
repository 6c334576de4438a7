"""Goroutines, channels and select for Python, on a runtime modelled on Go's.

>>> import golib
>>> def main() -> int:
...     results = golib.Chan[int]()
...     for n in range(3):
...         golib.go(results.send, n * n)
...     return sum(results.recv() for _ in range(3))
>>> golib.run(main)
5

A goroutine is an ordinary function with a stack of its own: it may block anywhere. Everything
here works from goroutines and from ordinary threads alike; go() may be called from any of them,
at any time. Importing starts no thread and patches nothing; patch() is asked for.
"""

# First: where golib cannot work, this says so. Older Pythons can read both files.
from golib import _supported as _supported  # isort: split

import typing as _typing

# signal and time are left out of __all__: a star import would hide the standard library's.
from golib import _golib, aio, context, runtime, sync
from golib import signal as signal
from golib import time as time
from golib._errors import Cancelled, ChanClosed, CloseOfClosed, Deadlock, Goexit, SendOnClosed
from golib._golib import (
    Case,
    Chan,
    Goroutine,
    Receiver,
    RecvChan,
    Select,
    SendChan,
    Sender,
    __version__,
    channel,
    go,
    goexit,
    gomaxprocs,
    gosched,
    nil,
    num_goroutine,
    recv,
    select,
    send,
    shield,
    sleep,
    spawn,
    timeout,
)
from golib._names import answer as _answer
from golib._patch import patch, patched, unpatch
from golib._report import set_panic_handler
from golib._results import Recv, Selected
from golib._run import blocking, main, run
from golib._scope import Scope, scope

__all__ = [
    "Cancelled",
    "Case",
    "Chan",
    "ChanClosed",
    "CloseOfClosed",
    "Deadlock",
    "Goexit",
    "Goroutine",
    "Receiver",
    "Recv",
    "RecvChan",
    "Scope",
    "Select",
    "Selected",
    "SendChan",
    "SendOnClosed",
    "Sender",
    "__version__",
    "aio",
    "blocking",
    "channel",
    "context",
    "go",
    "goexit",
    "gomaxprocs",
    "gosched",
    "main",
    "net",
    "nil",
    "num_goroutine",
    "patch",
    "patched",
    "recv",
    "run",
    "runtime",
    "scope",
    "select",
    "send",
    "set_panic_handler",
    "shield",
    "sleep",
    "spawn",
    "sync",
    "timeout",
    "unpatch",
]

if _typing.TYPE_CHECKING:
    from golib import net as net

# Imported when it is used: it needs the modules socket and, for TLS, ssl.
_answer(globals(), lazy=("net",))
if not hasattr(_golib, "ConnBase"):  # on Windows golib.net is missing
    del __all__[__all__.index("net")]  # not remove(): type checkers would follow that
_supported.remember(__name__)
