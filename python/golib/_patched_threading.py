"""What golib.patch("lock") replaces of threading that is written in Python.

Condition.wait must never return without its lock, and no notification may be lost with the waiter that got it. In the
standard library only a signal handler can end a wait by an exception; a goroutine's may be cancelled at any time.

What does not wait is done in C, on any thread: see cpython/patch_condition.c. The rest is the standard library's own on
ordinary threads.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from golib import _golib
from golib._errors import Cancelled

__all__ = ["apply", "take_back"]

_threading: Any = threading  # its private parts
_Condition: Any = threading.Condition
_Event: Any = threading.Event
_LockType: Any = type(threading.Lock())


def _wait(self: Any, timeout: float | None = None) -> bool:
    waiter: Any = _golib._wait_begins(self)
    state: object = None
    usual = waiter is not None
    if not usual:
        if not _golib._in_goroutine():
            return bool(_originals[_Condition, "wait"](self, timeout))
        waiter, state = _begin_unusually(self)
    try:
        notified = waiter.acquire() if timeout is None else _acquire(waiter, timeout)
    except Cancelled:
        # Somebody may have notified it while it waited for the lock. Then it returns, and its next wait raises.
        if not _back(self, waiter, state):
            raise
        return True
    except BaseException:
        _back(self, waiter, state)
        raise
    if not notified:
        return _back(self, waiter, state)
    if not (usual and _golib._take_lock_back(self._lock)):
        self._acquire_restore(state)
    return True


def _begin_unusually(self: Any) -> tuple[Any, object]:
    """As _golib._wait_begins() for other kinds of condition and of lock; also what the lock needs to be taken back."""
    if not self._is_owned():
        raise RuntimeError("cannot wait on un-acquired lock")
    # notify() releases it. golib's own also works when the patch is taken back while somebody waits.
    waiter = _golib.Mutex()
    waiter.acquire()
    self._waiters.append(waiter)
    return waiter, self._release_save()


def _event_wait(self: Any, timeout: float | None = None) -> bool:
    waiter = _golib._event_wait_begins(self)
    if waiter is True:
        return True
    if waiter is None:
        return bool(_originals[_Event, "wait"](self, timeout))
    try:
        notified = waiter.acquire() if timeout is None else _acquire(waiter, timeout)
    except Cancelled:
        if not _back_and_release(self._cond, waiter):
            raise
        return True
    except BaseException:
        _back_and_release(self._cond, waiter)
        raise
    if not notified:
        return _back_and_release(self._cond, waiter)
    lock = self._cond._lock
    if lock.locked():  # by set(), which wait() does not outrun
        _take_back(lock)
        lock.release()
    return True


def _acquire(waiter: Any, timeout: Any) -> bool:
    """Waits to be notified, so long at most, as Condition.wait() understands it."""
    if timeout <= 0 if _REFUSES_NAN else not (timeout > 0):
        return False
    # The standard library's says what is wrong with a timeout.
    return bool(waiter.acquire(True, timeout)) if _is_usual(timeout) else _refuse(timeout)


def _refuses_nan() -> bool:
    """Whether this CPython compares a timeout by `<= 0`: then a NaN is refused, and does not count as none."""
    condition = threading.Condition(threading.Lock())
    with condition:
        try:
            condition.wait(float("nan"))
        except ValueError:
            return True
    return False


_REFUSES_NAN = _refuses_nan()


def _back_and_release(condition: Any, waiter: object) -> bool:
    notified = _back(condition, waiter, None)
    condition._lock.release()
    return notified


def _is_usual(timeout: Any) -> bool:
    return isinstance(timeout, (float, int)) and timeout <= threading.TIMEOUT_MAX


def _refuse(timeout: Any) -> bool:
    lock = _threading._allocate_lock()
    lock.acquire()
    return bool(lock.acquire(True, timeout))


def _back(self: Any, waiter: object, state: object) -> bool:
    """Takes the lock back; whether the waiter has been notified meanwhile."""
    self._acquire_restore(state)
    try:
        self._waiters.remove(waiter)
    except ValueError:
        return True
    return False


def _acquire_restore(self: Any, state: object) -> None:
    if _golib._in_goroutine():
        _take_back(self._lock)
    else:
        _originals[_Condition, "_acquire_restore"](self, state)


def _take_back(lock: Any) -> None:
    """Takes a lock that the goroutine had before; nothing but a deadlock ends the wait."""
    if _golib._take_lock_back(lock):
        return
    with _golib.shield():  # some other kind of lock
        lock.acquire()


def _wait_for_tstate_lock(self: Any, block: bool = True, timeout: float = -1) -> None:
    """Until 3.12. The standard library's takes a thread that still runs for ended when the wait is left."""
    if not _golib._in_goroutine():
        _originals[threading.Thread, "_wait_for_tstate_lock"](self, block, timeout)
        return
    lock = self._tstate_lock
    if lock is not None and lock.acquire(block, timeout):
        lock.release()
        self._stop()


def _join(self: Any, timeout: float | None = None) -> None:
    """From 3.13 on. What C waits for at a thread's end says nothing to goroutines; threading's own last step does."""
    usual = timeout is None or isinstance(timeout, (int, float))
    if (
        usual
        and _golib._in_goroutine()
        and _is_running(self)
        and self is not threading.current_thread()
    ):
        end = self.__dict__.setdefault("_golib_end", _golib.Event())
        began = _golib._monotonic()
        if _is_running(self):
            end.wait(timeout)
        if timeout is not None:
            timeout = max(0.0, timeout - (_golib._monotonic() - began))
    _originals[threading.Thread, "join"](self, timeout)


def _is_running(thread: Any) -> bool:
    return _threading._active.get(thread.ident) is thread


def _delete(self: Any) -> None:
    _originals[threading.Thread, "_delete"](self)
    end = self.__dict__.get("_golib_end")
    if end is not None:
        end.set()


_replacements: dict[tuple[type, str], Any] = {
    (_Condition, "wait"): _wait,
    (_Condition, "_acquire_restore"): _acquire_restore,
    (_Event, "wait"): _event_wait,
}
if sys.version_info < (3, 13):
    _replacements[threading.Thread, "_wait_for_tstate_lock"] = _wait_for_tstate_lock
else:
    _replacements[threading.Thread, "join"] = _join
    _replacements[threading.Thread, "_delete"] = _delete
for (_owner, _name), _function in _replacements.items():
    _function.__name__ = _name
    _function.__qualname__ = f"{_owner.__qualname__}.{_name}"
    _function.__doc__ = _owner.__dict__[_name].__doc__

#: What stood there before; empty while nothing is replaced.
_originals: dict[tuple[type, str], Any] = {key: key[0].__dict__[key[1]] for key in _replacements}
_applied = False


def apply() -> None:
    """Replaces them."""
    global _applied
    if _applied:
        return
    _replacements.update(
        _golib._condition_methods(
            _Condition,
            _Event,
            _golib.Mutex,
            _Condition.__dict__["notify"],
            _Event.__dict__["set"],
            _Event.__dict__["clear"],
        )
    )
    for key, function in _replacements.items():
        owner, name = key
        _originals[key] = owner.__dict__[name]
        setattr(owner, name, function)
    _applied = True


def take_back() -> None:
    """Puts back what stood there; who is in one of them finishes it."""
    global _applied
    if not _applied:
        return
    for key, function in _replacements.items():
        owner, name = key
        if owner.__dict__.get(name) is function:
            setattr(owner, name, _originals[key])
    _applied = False
