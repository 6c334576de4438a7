"""Goroutines as threading sees them: the object that threading.current_thread() returns in one.

For a thread that threading did not start, current_thread() makes a dummy and enters it in a table. In a goroutine the
dummy is golib's: it has the goroutine's name, and leaves the table at the goroutine's end.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from golib import _golib

__all__ = ["GoroutineThread", "install", "renamed", "thread_of"]

_threading: Any = threading  # its private parts
_Dummy: Any = _threading._DummyThread


class GoroutineThread(_Dummy):  # type: ignore[misc]
    """A goroutine as threading shows it: a daemon thread that has been started.

    Thread's own constructor takes several microseconds. What it sets is the same for all goroutines, and is set here.
    """

    _initialized = True
    _daemonic = True
    _target = None
    _args = ()
    _kwargs: dict[str, Any] = {}  # noqa: RUF012
    _context = None
    _tstate_lock = None
    _started = threading.Event()
    _started.set()

    #: Read from outside the process by py-spy, so each has its own.
    _name: str

    def __init__(self, g: _golib.Goroutine[Any] | None = None) -> None:
        """Represents `g`, or the calling goroutine, which is then entered in threading's table."""
        of = g or _golib._current()
        assert of is not None
        self._goroutine: Callable[[], _golib.Goroutine[Any] | None] = weakref.ref(of)
        self._ident = of._ident()
        self._name = of.name
        # From 3.13 on py-spy reads the names of all threads or of none, and one to which no weak reference exists, as
        # threading has to each of its own, is more than it expects.
        self._weak = weakref.ref(self)
        if g is None:
            _golib._mark_thread()
            _threading._active[self._ident] = self

    def _set_name(self, name: object) -> None:
        self._name = str(name)
        g = self._goroutine()
        if g is not None:
            g.name = self._name

    #: Unlike Thread's, setting it leaves the OS thread's name alone.
    name = property(_Dummy.name.fget, _set_name)

    @property
    def native_id(self) -> int | None:
        """The id of the OS thread that runs it now; known only in the goroutine itself."""
        return threading.get_native_id() if threading.get_ident() == self._ident else None

    def is_alive(self) -> bool:
        g = self._goroutine()
        return g is not None and not g.done()

    def join(self, timeout: float | None = None) -> None:
        g = self._goroutine()
        if g is None:
            return
        try:
            g._wait(timeout)
        except TimeoutError:
            pass  # as Thread.join

    @property
    def _is_stopped(self) -> bool:  # until 3.12
        return not self.is_alive()

    def _stop(self) -> None:
        pass

    def _thread_handle(self) -> Any:
        handle = _threading._make_thread_handle(self._ident)
        if not self.is_alive():
            handle._set_done()
        return handle

    @property
    def _handle(self) -> Any:  # 3.13
        return self._thread_handle()

    @property
    def _os_thread_handle(self) -> Any:  # from 3.14 on
        return self._thread_handle()

    def _reset_internal_locks(self, is_alive: bool) -> None:  # in a forked child, until 3.12
        if is_alive:
            self._become_main()
        else:
            self._end()

    def _after_fork(self, new_ident: int | None = None) -> None:  # from 3.13 on
        if new_ident is not None:
            self._become_main()
            handle = _threading._make_thread_handle(new_ident)
            new = hasattr(self, "_os_thread_handle")
            setattr(self, "_os_thread_handle" if new else "_handle", handle)
        else:
            self._end()

    def _become_main(self) -> None:
        ident = self._ident
        self.__class__ = _threading._MainThread
        threading.Thread.__init__(self, name="MainThread", daemon=False)
        self._started.set()
        self._ident = ident
        self._native_id = threading.get_native_id()

    def _end(self) -> None:
        self._goroutine = _nobody


def _nobody() -> None:
    """A weak reference to an object that is gone."""


def install() -> None:
    """Replaces threading's dummy class; called before the first goroutine."""
    _Dummy.__new__ = _new


def _new(cls: type[Any], *args: object) -> Any:
    """The metaclass of the class that current_thread() calls."""
    if cls is _Dummy and _golib._in_goroutine():
        cls = GoroutineThread
    return object.__new__(cls)


def renamed(g: _golib.Goroutine[Any], name: str) -> None:
    """Called by the compiled part after g.name was set."""
    thread = _threading._active.get(g._ident())
    if isinstance(thread, GoroutineThread):
        thread._name = name


def thread_of(g: _golib.Goroutine[Any]) -> threading.Thread:
    """The object that current_thread() returns in `g`, or one that looks like it."""
    thread: threading.Thread | None = _threading._active.get(g._ident())
    return GoroutineThread(g) if thread is None else thread
