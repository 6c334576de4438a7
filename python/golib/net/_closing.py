"""What a connection, a listener and a packet connection share at the end of a `with` block."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

__all__ = ["Closing"]


class _Closable(Protocol):
    def close(self) -> None: ...


class Closing:
    """Leaving a `with` block closes the object."""

    __slots__ = ()

    def __exit__(
        self: _Closable,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        tb: TracebackType | None = None,
        /,
    ) -> None:
        """Closes it."""
        self.close()
