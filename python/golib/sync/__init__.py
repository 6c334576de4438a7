"""golib.sync: waiting for other goroutines, and keeping them out.

Everything here works from goroutines, which park, and from ordinary threads, which block. Classes
named as in Go raise TimeoutError; those named as in threading keep its signatures and results.

>>> wg = golib.sync.WaitGroup()
>>> for i in range(3):
...     wg.go(golib.gosched)
>>> wg.wait()
"""

from golib._golib import Event, Mutex, Semaphore
from golib._names import answer as _answer
from golib.sync._cond import Barrier, Cond
from golib.sync._containers import Map, Pool
from golib.sync._errgroup import ErrGroup
from golib.sync._once import Once, SingleFlight, once, once_value
from golib.sync._rwmutex import ReadLock, RWMutex
from golib.sync._waitgroup import WaitGroup

__all__ = [
    "Barrier",
    "Cond",
    "ErrGroup",
    "Event",
    "Map",
    "Mutex",
    "Once",
    "Pool",
    "RWMutex",
    "ReadLock",
    "Semaphore",
    "SingleFlight",
    "WaitGroup",
    "once",
    "once_value",
]

for _class in (
    Barrier,
    Cond,
    ErrGroup,
    Map,
    Once,
    Pool,
    RWMutex,
    ReadLock,
    SingleFlight,
    WaitGroup,
):
    _class.__module__ = "golib.sync"
del _class

_answer(globals())
