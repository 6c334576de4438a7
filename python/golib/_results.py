"""What operations return. The compiled part finds the classes here."""

from __future__ import annotations

from types import GenericAlias
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

__all__ = ["Recv", "Selected"]

T = TypeVar("T")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as _TypeVar

    V = _TypeVar("V", default=Any)
else:
    V = TypeVar("V")


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


class Selected(NamedTuple, Generic[V]):
    """What select() did.

    `index` is that of the case, -1 for the default. `value` is what was received, None for a send.
    `ok` is False for a receive from a closed channel and for the default.

    >>> ch = golib.Chan(1)
    >>> golib.select(golib.send(ch, 7)).index
    0
    """

    index: int  # type: ignore[assignment]  # shadows tuple.index on purpose
    value: V
    ok: bool


class ChannelType(GenericAlias):
    """`Chan[int]`: a type, which a caller may mistake for a channel."""

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_CHANNELS:
            raise AttributeError(
                f"{self!r} is a type, not a channel: call it, {self!r}()", name=name
            )
        return super().__getattribute__(name)


_OF_CHANNELS = frozenset(
    ("asend", "arecv", "cap", "close", "closed", "receiver", "recv", "recv_ok")
)
_OF_CHANNELS |= {"send", "sender", "try_recv", "try_send"}

Recv.__module__ = Selected.__module__ = "golib"
