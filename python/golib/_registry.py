"""Registry: the living instances of something, for whoever has to visit all of them."""

from __future__ import annotations

import weakref
from typing import Generic, TypeVar, cast

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Generic[T]):
    """Weakly holds what was added. Anything may be added or die while it is walked, which a WeakSet does not stand."""

    __slots__ = ("_refs",)

    def __init__(self) -> None:
        #: By number: what is held may have any hash.
        self._refs: dict[int, _Ref[T]] = {}

    def add(self, member: T) -> None:
        ref = _Ref(member, _forget)
        ref.key, ref.refs = id(ref), self._refs
        self._refs[ref.key] = ref

    def members(self) -> list[T]:
        """Those that live now."""
        return [member for ref in list(self._refs.values()) if (member := ref()) is not None]


class _Ref(weakref.ref[T]):
    __slots__ = ("key", "refs")

    key: int
    refs: dict[int, _Ref[T]]


def _forget(ref: weakref.ref[T]) -> None:
    mine = cast("_Ref[T]", ref)
    mine.refs.pop(mine.key, None)
