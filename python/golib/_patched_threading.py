"""What golib.patch("lock") replaces of threading that is written in Python.

Condition.wait must never return without its lock, and no notification may be lost with the waiter that got it. In the
standard library only a signal handler can end a wait by an exception; a goroutine's may be cancelled at any time.

On ordinary threads the standard library's own functions run.
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
_LockType: Any = type(threading.Lock())


def _wait(self: Any, timeout: float | None = None) -> bool:
    if not _golib._in_goroutine():
        return bool(_originals[_Condition, "wait"](self, timeout))
    lock = self._lock
    # Of the two usual kinds, one has the methods that Condition asks for and the other does without.
    plain = type(lock) is _LockType and type(self) is _Condition
    if not (lock.locked() if plain else self._is_owned()):
        raise RuntimeError("cannot wait on un-acquired lock")
    # notify() releases it. golib's own also works when the patch is taken back while somebody waits.
    waiter = _golib.Mutex()
    waiter.acquire()
    self._waiters.append(waiter)
    state = lock.release() if plain else self._release_save()
    notified = False
    try:
        if timeout is None:
            notified = waiter.acquire()
        elif timeout > 0 or (timeout != timeout and sys.version_info >= (3, 15)):
            # The standard library's says what is wrong with a timeout.
            notified = waiter.acquire(True, timeout) if _is_usual(timeout) else _refuse(timeout)
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
    if not plain:
        self._acquire_restore(state)
    elif not _golib._take_lock_back(lock):
        _take_back(lock)
    return True


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
}
if sys.version_info < (3, 13):
    _replacements[threading.Thread, "_wait_for_tstate_lock"] = _wait_for_tstate_lock
else:
    _replacements[threading.Thread, "join"] = _join
    _replacements[threading.Thread, "_delete"] = _delete
for (_, _name), _function in _replacements.items():
    _function.__name__ = _name

#: What stood there before; empty while nothing is replaced.
_originals: dict[tuple[type, str], Any] = {key: key[0].__dict__[key[1]] for key in _replacements}
_applied = False


def apply() -> None:
    """Replaces them."""
    global _applied
    if _applied:
        return
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
