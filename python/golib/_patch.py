"""golib.patch: the standard library's blocking calls park on goroutines."""

import sys

from golib import _golib


def patch(*groups: str, thread: bool = False) -> None:
    """Makes blocking calls of the standard library park instead, when a goroutine makes them.

    The builtins are replaced in place, so it does not matter what was imported, bound or created before. On an ordinary
    thread they do what they always did. Without groups, all are patched; groups of several calls add up. Calling it
    again changes nothing. With `thread=True`, `threading.Thread` starts goroutines.

    On a goroutine, results, exceptions, timeouts and side effects are the standard library's. In addition `timeout`,
    `scope`, `cancel`, contexts and Ctrl-C leave the wait at once.

    Blocks: nothing.
    Raises: ValueError for an unknown group; RuntimeError if this CPython is not laid out as golib knows it; nothing is
        patched then.

    >>> golib.patch("time")
    >>> sorted(golib.patched())
    ['time']
    >>> golib.unpatch()
    """
    known = _golib._patchable()
    for group in groups:
        if group not in known or group == "thread":
            raise ValueError(
                f"golib.patch: unknown group {group!r}; there are {', '.join(_groups(known))}"
            )
    wanted = list(groups or _groups(known))
    if thread:
        wanted += ["thread", "lock"]  # a thread that is a goroutine has nothing to block
    _golib._patch(wanted)
    if "lock" in wanted:
        from golib import _patched_threading

        _patched_threading.apply()
    if thread:
        from golib import _goroutine_threads

        _goroutine_threads.apply()


def _groups(known: tuple[str, ...]) -> list[str]:
    """Those that a caller may name."""
    return [name for name in known if name != "thread"]


def unpatch() -> None:
    """Takes back all that patch() did: every pointer is as it was.

    Goroutines that are parked in a patched call finish it.

    >>> golib.patch("time")
    >>> golib.unpatch()
    >>> golib.patched()
    frozenset()
    """
    _golib._unpatch()
    for name in ("_patched_threading", "_goroutine_threads"):
        module = sys.modules.get(f"golib.{name}")
        if module is not None:
            module.take_back()


def patched() -> frozenset[str]:
    """The groups that are patched now.

    >>> golib.patched()
    frozenset()
    """
    return frozenset(_golib._patched())
