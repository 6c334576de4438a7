"""Map and Pool: Go's, for goroutines and threads alike.

# No lock
Keys and values have code of their own: `__hash__`, `__eq__`, `__del__`. It may use the object whose operation runs it,
and so may a finalizer or a signal handler between any two instructions. A lock would then wait for itself. So each
step here is one call of C that leaves the object whole; what it removes is dropped afterwards.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from golib._golib import Ref, _items
from golib._registry import Registry, add, members

__all__ = ["Map", "Pool"]

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

#: The value of a Ref whose entry was deleted: a caller that had found it looks again.
_GONE: Any = object()


class Map(Generic[K, V]):
    """A dict with atomic compound operations: Go's sync.Map.

    A plain dict suffices for single reads and writes. The map holds no lock: finalizers, comparisons and signal
    handlers may use the map in whose operation they run. A replaced or deleted value is dropped after the operation.

    >>> m = golib.sync.Map[str, int]()
    >>> m.load_or_store('a', 1), m.load_or_store('a', 2)
    ((1, False), (1, True))
    >>> m.compare_and_swap('a', 1, 3), m.load('a'), len(m)
    (True, 3, 1)
    """

    __slots__ = ("__weakref__", "_refs")

    def __init__(self) -> None:
        #: To delete an entry, its Ref is taken out and then set to _GONE.
        self._refs: dict[K, Ref[V]] = {}

    def _add(self, key: K, value: V) -> Ref[V] | None:
        """Adds an entry. Returns None; or, if another caller was first, that caller's entry."""
        fresh = Ref(value)
        ref = self._refs.setdefault(key, fresh)
        return None if ref is fresh else ref

    def load(self, key: K, default: V | None = None) -> V | None:
        """Returns the value of key, or default.

        Raises: TypeError if key is not hashable.
        """
        ref = self._refs.get(key)
        if ref is not None:
            value = ref.value
            if value is not _GONE:
                return value
        return default

    def store(self, key: K, value: V) -> None:
        """Sets the value of key."""
        self.swap(key, value)

    def load_or_store(self, key: K, value: V) -> tuple[V, bool]:
        """Returns (the value of key, True); or stores value and returns (value, False)."""
        while True:
            ref = self._refs.get(key) or self._add(key, value)
            if ref is None:
                return value, False
            found = ref.value
            if found is not _GONE:
                return found, True

    def load_and_delete(self, key: K) -> tuple[V, bool] | tuple[None, bool]:
        """Deletes key and returns (its value, True); (None, False) if there was none."""
        ref = self._refs.pop(key, None)
        return (None, False) if ref is None else (ref.swap(_GONE), True)

    def delete(self, key: K) -> None:
        """Deletes key, if it is there."""
        self.load_and_delete(key)

    def swap(self, key: K, value: V) -> tuple[V, bool] | tuple[None, bool]:
        """Sets the value of key; returns (the previous value, True), or (None, False) if there was none."""
        while True:
            ref = self._refs.get(key) or self._add(key, value)
            if ref is None:
                return None, False
            before = ref.value
            if before is not _GONE and ref.replace(before, value):
                return before, True

    def compare_and_swap(self, key: K, old: V, new: V) -> bool:
        """Sets the value of key to new if it exists and equals old; returns whether it did."""
        while (ref := self._refs.get(key)) is not None:
            found = ref.value
            if found is _GONE:
                continue
            if found == old:
                if ref.replace(found, new):
                    return True
                continue  # it was replaced while it was compared
            return False
        return False

    def range(self, fn: Callable[[K, V], object]) -> None:
        """Calls fn(key, value) for each current entry, until fn returns False.

        fn may use the map; this call does not see what it changes.
        """
        items = iter(_items(self._refs))
        for key, value in zip(items, items, strict=True):
            if fn(key, value) is False:
                return

    def clear(self) -> None:
        """Deletes everything."""
        self._refs.clear()

    def __len__(self) -> int:
        return len(self._refs)


class Pool(Generic[T]):
    """A pool of interchangeable objects to reuse: Go's sync.Pool.

    Objects that were not used between two full garbage collections are dropped.

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
        add(_pools, self)
        if _collected not in gc.callbacks:
            gc.callbacks.append(_collected)

    def get(self) -> T | None:
        """Returns an object from the pool, else new(), else None.

        Blocks: nothing, unless new() does.
        """
        for items in (self._items, self._old):
            try:
                return items.pop()
            except IndexError:
                pass
        return None if self._new is None else self._new()

    def put(self, item: T) -> None:
        """Puts item into the pool; None is ignored.

        Blocks: nothing.
        """
        if item is not None:
            self._items.append(item)


_pools: Registry[Pool[Any]] = {}


def _collected(phase: str, info: dict[str, int]) -> None:
    """After a full collection, drops what nobody has used since the previous one."""
    if phase == "stop" and info.get("generation") == 2:
        for pool in members(_pools):
            pool._old, pool._items = pool._items, []
