"""What operations return. The compiled part finds the classes here."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

__all__ = ["Recv", "Selected"]

T = TypeVar("T")


class Recv(NamedTuple, Generic[T]):
    """What Chan.try_recv() got: a value, or `Recv(None, False)` from a closed channel.

    >>> ch = golib.Chan(1)
    >>> ch.send(7)
    >>> value, ok = ch.try_recv()
    >>> value, ok
    (7, True)
    """

    value: T | None
    ok: bool


class Selected(NamedTuple):
    """What select() did.

    `index` is the case's, -1 for the default. `value` is what was received, None for a send.
    `ok` is False for a receive from a closed channel and for the default.

    >>> ch = golib.Chan(1)
    >>> golib.select(golib.send(ch, 7)).index
    0
    """

    index: int  # type: ignore[assignment]  # shadows tuple.index on purpose
    value: Any
    ok: bool


Recv.__module__ = Selected.__module__ = "golib"
