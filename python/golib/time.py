"""golib.time: timers and tickers that send to channels. Go's package time.

Times are seconds of time.monotonic(). The runtime keeps the timers; none of them costs a goroutine.

>>> done = golib.Chan()
>>> golib.select(done, golib.time.after(0.001)).index
1
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from golib import _golib
from golib._golib import Chan, RecvChan, Timer, select

__all__ = ["Ticker", "Timer", "after", "after_func", "tick"]


def after(seconds: float) -> RecvChan[float]:
    """The channel of a new Timer.

    The timer lives as long as the channel is referenced.

    Units, Raises, Cost: as Timer.

    >>> golib.time.after(0.001).recv() > 0
    True
    """
    return Timer(seconds).c


def tick(seconds: float) -> RecvChan[float]:
    """The channel of a new Ticker that is never stopped.

    The ticker lives as long as the channel is referenced.

    Units, Raises, Cost: as Ticker.

    >>> ticks = golib.time.tick(0.001)
    >>> ticks.recv() < ticks.recv()
    True
    """
    return Ticker(seconds).c


def after_func(seconds: float, fn: Callable[..., object], /, *args: Any) -> _golib.Timer:
    """Runs fn(*args) in a goroutine of its own after `seconds` seconds.

    The returned timer has no channel; its stop() returns False once the goroutine has been started.
    It fires even if nothing references it.

    Blocks: nothing.
    Units: seconds; 0 or less is now, inf never.
    Raises: TypeError as golib.go(); ValueError for nan.

    >>> ch = golib.Chan()
    >>> timer = golib.time.after_func(0.001, ch.send, 'now')
    >>> ch.recv(), timer.stop()
    ('now', False)
    """
    return _golib._timer_func(seconds, fn, args)


class Ticker(_golib.Ticker):
    """Sends the time to its channel `c` every `seconds` seconds: Go's time.Ticker.

    Of the ticks that nobody has received, only the last is kept. Iterating yields the ticks until
    stop(); leaving a `with` block stops the ticker. It is collected once neither it nor its channel is
    referenced.

    Units: seconds.
    Raises: ValueError if they are not positive.
    Cost: a channel, and one entry in a timer heap while it ticks; no goroutine.

    >>> with golib.time.Ticker(0.001) as ticker:
    ...     for n, now in enumerate(ticker):
    ...         if n == 2:
    ...             _ = ticker.stop()
    >>> n
    2
    """

    __slots__ = ("_stopped",)

    #: Closed by stop(), to end iterations.
    _stopped: Chan[None]

    def __new__(cls, seconds: float) -> Self:
        self = super().__new__(cls, seconds)
        self._stopped = Chan()
        return self

    def stop(self) -> bool:
        """Stops it and ends iterations; returns True if it was ticking. The channel is not closed.

        Blocks: nothing.
        """
        ticked = super().stop()
        if not self._stopped.closed:
            self._stopped.close()
        return ticked

    def reset(self, seconds: float) -> bool:
        """Begins anew with this interval; returns what stop() would have returned.

        Blocks: nothing.
        Raises: ValueError if the interval is not positive; then nothing has changed.
        """
        ticked = super().reset(seconds)
        if self._stopped.closed:
            self._stopped = Chan()
        return ticked

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> float:
        if not self._stopped.closed:
            chosen = select(self._stopped, self.c)
            if chosen.index == 1:
                now: float = chosen.value
                return now
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.stop()


if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name: str) -> NoReturn:
        from golib._words import missing

        raise missing(__name__, name)
