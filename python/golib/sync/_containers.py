"""Map and Pool: Go's, for goroutines and threads alike."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from golib._golib import Mutex

__all__ = ["Map", "Pool"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Map(Generic[K, V]):
    """A dict whose compound operations nobody can come between: Go's sync.Map.

    A plain dict does where single reads and writes are enough.

    >>> m = golib.sync.Map[str, int]()
    >>> m.load_or_store('a', 1), m.load_or_store('a', 2)
    ((1, False), (1, True))
    >>> m.compare_and_swap('a', 1, 3), m.load('a'), len(m)
    (True, 3, 1)
    """

    __slots__ = ("__weakref__", "_items", "_lock")

    def __init__(self) -> None:
        self._items: dict[K, V] = {}
        #: Keys and values compare by Python code, which may park.
        self._lock = Mutex()

    def load(self, key: K, default: V | None = None) -> V | None:
        """The value of key, or default.

        Raises: TypeError if key is not hashable.
        """
        with self._lock:
            return self._items.get(key, default)

    def store(self, key: K, value: V) -> None:
        """Sets the value of key."""
        with self._lock:
            self._items[key] = value

    def load_or_store(self, key: K, value: V) -> tuple[V, bool]:
        """(the value of key, True), or (value, False) after it has been stored."""
        with self._lock:
            before = len(self._items)
            found = self._items.setdefault(key, value)
            return found, len(self._items) == before

    def load_and_delete(self, key: K) -> tuple[V, bool] | tuple[None, bool]:
        """(the value of key, True) after it has been deleted; (None, False) if there is none."""
        with self._lock:
            if key in self._items:
                return self._items.pop(key), True
            return None, False

    def delete(self, key: K) -> None:
        """Deletes key, if it is there."""
        with self._lock:
            self._items.pop(key, None)

    def swap(self, key: K, value: V) -> tuple[V, bool] | tuple[None, bool]:
        """Sets the value of key; (the one before, True), or (None, False) if there was none."""
        with self._lock:
            found = key in self._items
            before = self._items.get(key)
            self._items[key] = value
            return (before, True) if found else (None, False)  # type: ignore[return-value]

    def compare_and_swap(self, key: K, old: V, new: V) -> bool:
        """Sets the value of key to new if it is there and equal to old; says whether it did."""
        with self._lock:
            if key in self._items and self._items[key] == old:
                self._items[key] = new
                return True
            return False

    def range(self, fn: Callable[[K, V], object]) -> None:
        """Calls fn(key, value) for what is there now, until it returns False.

        fn may use the map; what it changes is not seen by this call.
        """
        with self._lock:
            items = list(self._items.items())
        for key, value in items:
            if fn(key, value) is False:
                return

    def clear(self) -> None:
        """Deletes everything."""
        with self._lock:
            self._items.clear()

    def __len__(self) -> int:
        return len(self._items)


class Pool(Generic[T]):
    """Things to be used again, any of them: Go's sync.Pool.

    What was not used for two full collections of the garbage collector is let go of.

    >>> buffers = golib.sync.Pool(new=lambda: bytearray(4096))
    >>> buffer = buffers.get()
    >>> buffers.put(buffer)
    >>> buffers.get() is buffer
    True
    """

    __slots__ = ("__weakref__", "_items", "_new", "_old")

    def __init__(self, *, new: Callable[[], T] | None = None) -> None:
        if new is not None and not callable(new):
            raise TypeError(f"new must be callable, not {type(new).__name__}")
        self._new = new
        self._items: list[T] = []
        self._old: list[T] = []
        _pools.add(self)
        if _collected not in gc.callbacks:
            gc.callbacks.append(_collected)

    def get(self) -> T | None:
        """Something from the pool, else new(), else None.

        Blocks: nothing, unless new() does.
        """
        for items in (self._items, self._old):
            try:
                return items.pop()
            except IndexError:
                pass
        return None if self._new is None else self._new()

    def put(self, item: T) -> None:
        """Gives item to the pool; None is ignored.

        Blocks: nothing.
        """
        if item is not None:
            self._items.append(item)


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _collected(phase: str, info: dict[str, int]) -> None:
    """After a full collection: what nobody has used since the last one goes."""
    if phase == "stop" and info.get("generation") == 2:
        for pool in list(_pools):
            pool._old, pool._items = pool._items, []
