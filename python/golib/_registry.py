"""Registries: dicts of the living instances of a class, for code that visits all of them.

They hold the instances weakly. Unlike a WeakSet, a registry may be walked while anything is added or dies.
"""

from __future__ import annotations

import weakref
from typing import TypeAlias, TypeVar, cast

__all__ = ["Registry", "add", "members"]

T = TypeVar("T")

#: By number, because a member may have any hash.
Registry: TypeAlias = dict[int, weakref.ref[T]]


def add(registry: Registry[T], member: T) -> None:
    """Enters `member` for as long as it lives."""
    ref = _Ref(member, _forget)
    ref.key, ref.registry = id(ref), registry
    registry[ref.key] = ref


def members(registry: Registry[T]) -> list[T]:
    """The members that are alive now."""
    return [member for ref in list(registry.values()) if (member := ref()) is not None]


class _Ref(weakref.ref[T]):
    __slots__ = ("key", "registry")

    key: int
    registry: Registry[T]


def _forget(ref: weakref.ref[T]) -> None:
    mine = cast("_Ref[T]", ref)
    mine.registry.pop(mine.key, None)
