"""golib.signal: signals as values on channels, as Go's os/signal.

Signals still go the standard library's way: a handler, which the main thread runs, sends them. It does so at once; in a
call that no signal interrupts it does so after that.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

from golib import _golib
from golib._errors import ChanClosed
from golib._golib import Chan, SendChan, Sender
from golib._main_thread import forget, on_main_thread

__all__ = ["NotifyContext", "SignalReceived", "ignore", "notify", "notify_context", "reset", "stop"]

_Handler: TypeAlias = Callable[[int, FrameType | None], Any] | int | None


class _Out(Protocol):
    """What takes signals: a sending end, or a context."""

    def try_send(self, value: Any, /) -> bool: ...


#: The kernel lets nobody catch these.
_NEVER = {signal.SIGKILL, signal.SIGSTOP}
#: Says that the program is broken; the instruction is repeated when a handler returns.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
#: Of a debugger, an abort() or a sandbox, and the runtime's own.
_ONLY_BY_NAME = {signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS, signal.SIGURG}
_ALL = signal.valid_signals() - _NEVER - _FAULTS - _ONLY_BY_NAME

# Both are changed by the main thread only, entry by entry; its handler may read them at any moment.
#: Who wants which signal.
_wanted: dict[int, tuple[_Out, ...]] = {}
#: Where we have set a handler: the one that was there before, and ours.
_set: dict[int, tuple[_Handler, _Handler]] = {}

_expecting = False  # a signal may wake somebody: nothing is a deadlock
_fork_watched = False


def notify(ch: Chan[Any] | SendChan[Any] | Sender[Any], *signals: int) -> None:
    """Sends the signals to ch from now on: Go's signal.Notify. No signals means all.

    What is sent is a signal.Signals, or an int for one that has no name. A signal that finds no room and no receiver
    is dropped, so give ch a buffer: one place if it is for one signal. Several channels may want a signal; each gets
    it. As in Go, ch is kept until stop(ch), also if nobody else knows it any more; a closed channel gets nothing.
    Nothing is a Deadlock meanwhile.

    All means: without SIGKILL and SIGSTOP, which nobody can catch, those that say that the program is broken
    (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS), and SIGURG, by which golib wakes the main thread.

    A forked child begins without it, with the handlers from before: its parent's receivers are not there.

    Blocks: the goroutine, or the OS thread, until the main thread has set the handler, which it does as soon as it runs
        Python code, waits in golib or can be interrupted by a signal.
    Raises: TypeError if ch cannot be sent to or a signal is no integer; ValueError if ch is nil or a signal cannot be
        caught; RuntimeError if the main thread does not come for ten seconds.
    Cancel: not cancellable; nor are the other functions of this module.

    >>> import signal
    >>> ch = golib.Chan(1)
    >>> golib.signal.notify(ch, signal.SIGUSR1)
    >>> signal.raise_signal(signal.SIGUSR1)
    >>> ch.recv().name
    'SIGUSR1'
    >>> golib.signal.stop(ch)
    """
    _want(_end_of(ch), _numbers(signals))


def _want(out: _Out, wanted: set[int]) -> None:
    def change() -> None:
        _watch_fork()
        for number in wanted:
            channels = _wanted.get(number, ())
            if out not in channels:
                _wanted[number] = (*channels, out)
            _handle(number, _deliver)
        _expect()

    on_main_thread(change)


def stop(ch: Chan[Any] | SendChan[Any] | Sender[Any]) -> None:
    """Sends no more signals to ch: Go's signal.Stop. When it returns, ch gets none.

    A signal that no channel wants any more has the handler again that it had before notify(), unless the program has
    set another one meanwhile. A handler that was not set by Python becomes the default.

    Blocks: as notify().
    Raises: TypeError if ch cannot be sent to; ValueError if ch is nil; RuntimeError as notify().

    >>> ch = golib.Chan(1)
    >>> golib.signal.notify(ch)
    >>> golib.signal.stop(ch)
    """
    _want_no_more(_end_of(ch))


def _want_no_more(out: _Out) -> None:
    def change() -> None:
        for number, channels in list(_wanted.items()):
            if out in channels:
                _set_wanted(number, tuple(other for other in channels if other != out))
        _expect()

    on_main_thread(change)


class SignalReceived(Exception):
    """The cause of a notify_context() that a signal has ended; `signal` is that signal."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"{getattr(signal, 'name', signal)} received")
        self.signal = signal

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.signal,), self.__dict__  # of the text another would be made


class NotifyContext:
    """What notify_context() returns."""

    __slots__ = ("_cancel", "_signals")

    def __init__(self, *signals: int) -> None:
        self._signals = _numbers(signals)
        self._cancel: _golib.CancelFunc | None = None

    def __enter__(self) -> _golib.Context:
        if self._cancel is not None:
            raise RuntimeError("this block has been entered already")
        ctx, self._cancel = _golib.with_cancel_cause(_golib.current())
        try:
            _want(self, self._signals)
        except BaseException:
            self._leave()
            raise
        return ctx

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            try:
                with _golib.shield():
                    _want_no_more(self)
            finally:
                cancel()

    def try_send(self, signal: Any, /) -> bool:
        """What a channel does in the handler."""
        cancel = self._cancel
        if cancel is not None:
            cancel(SignalReceived(signal))
        return True


def notify_context(*signals: int) -> NotifyContext:
    """A `with` block whose context one of the signals ends: Go's signal.NotifyContext. No signals means all.

    The context comes from the ambient one and is not ambient itself: one waits for its done(), passes it on, or makes
    it ambient by `with ctx:`. Its cause is a SignalReceived. After the block, in which nothing is a Deadlock, the
    signals have their former handlers again, and the context is done.

    Blocks: entering and leaving, as notify() and stop().
    Raises: as notify().

    >>> import signal
    >>> with golib.signal.notify_context(signal.SIGUSR1) as ctx:
    ...     signal.raise_signal(signal.SIGUSR1)
    ...     _ = ctx.done().recv_ok()
    >>> golib.context.cause(ctx)
    SignalReceived('SIGUSR1 received')
    """
    return NotifyContext(*signals)


def ignore(*signals: int) -> None:
    """Ignores the signals, and ends every notify() for them: Go's signal.Ignore. No signals means all.

    Blocks: as notify().
    Raises: TypeError, ValueError and RuntimeError as notify().

    >>> import signal
    >>> golib.signal.ignore(signal.SIGHUP)
    >>> signal.raise_signal(signal.SIGHUP)
    >>> golib.signal.reset(signal.SIGHUP)
    """
    numbers = _numbers(signals)

    def change() -> None:
        for number in numbers:
            _wanted.pop(number, None)
            _handle(number, signal.SIG_IGN)
        _expect()

    on_main_thread(change)


def reset(*signals: int) -> None:
    """Undoes notify() and ignore() for the signals: Go's signal.Reset. No signals means all.

    They have the handlers again that they had before; Go, which knows none, has its defaults.

    Blocks: as notify().
    Raises: TypeError, ValueError and RuntimeError as notify().

    >>> import signal
    >>> golib.signal.ignore(signal.SIGTERM)
    >>> golib.signal.reset()
    >>> signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    True
    """
    numbers = _numbers(signals) if signals else None

    def change() -> None:
        for number in list(_set) if numbers is None else numbers:
            _set_wanted(number, ())
        _expect()

    on_main_thread(change)


# -- arguments ---------------------------------------------------------------------------------


def _end_of(ch: Chan[Any] | SendChan[Any] | Sender[Any]) -> _Out:
    """What to send by: equal for a channel and its sending end."""
    out = ch.sender if isinstance(ch, Chan) else ch
    if not isinstance(out, SendChan | Sender):
        raise TypeError(f"signals need a channel that can be sent to, not {type(ch).__name__}")
    if out == _golib.nil.sender:
        raise ValueError("signals need a channel, not nil")
    return out


def _numbers(signals: Iterable[int]) -> set[int]:
    numbers = set()
    for number in signals:
        if not isinstance(number, int):
            raise TypeError(f"a signal is an integer, not {type(number).__name__}")
        if number not in signal.valid_signals():
            raise ValueError(f"{number} is no signal")
        if number in _NEVER | _FAULTS:
            raise ValueError(f"{signal.Signals(number).name} cannot be caught")
        numbers.add(int(number))
    return numbers or {int(number) for number in _ALL}


# -- on the main thread. Each may be interrupted by what a handler raises, and is then called again. -----------


def _deliver(signum: int, frame: FrameType | None) -> None:
    """The handler. It may have come into the middle of anything, so it neither waits nor raises."""
    try:
        value: int = signal.Signals(signum)
    except ValueError:
        value = signum
    for out in _wanted.get(signum, ()):
        try:
            out.try_send(value)
        except ChanClosed:
            pass


def _handle(number: int, handler: _Handler) -> None:
    """Sets our handler, and remembers the one before."""
    now = signal.getsignal(number)
    before, ours = _set.get(number, (now, handler))
    _set[number] = (before if now is ours else now, handler)
    signal.signal(number, handler)


def _set_wanted(number: int, channels: tuple[_Out, ...]) -> None:
    """Without any channel, the handler from before comes back, unless ours is not there any more."""
    if channels:
        _wanted[number] = channels
        return
    if number in _set:
        before, ours = _set[number]
        if signal.getsignal(number) is ours:
            signal.signal(number, signal.SIG_DFL if before is None else before)
        _set.pop(number, None)
    _wanted.pop(number, None)


def _expect() -> None:
    """Tells the deadlock detector whether a signal may wake somebody."""
    global _expecting
    if _expecting is not bool(_wanted):
        _expecting = bool(_wanted)
        _golib._expect_wakeups(1 if _expecting else -1)


# -- fork --------------------------------------------------------------------------------------

_forking = threading.local()


def _watch_fork() -> None:
    global _fork_watched
    if not _fork_watched:
        _fork_watched = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
        _golib._hook_child(_after_fork_in_child)


def _before_fork() -> None:
    """Blocks our signals, until the child has its handlers: CPython forgets what comes before that."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, list(_wanted))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    forget()
    for number in list(_wanted):
        _set_wanted(number, ())
    _expect()
    _after_fork()


if not TYPE_CHECKING:  # a type checker would take any name to be there

    def __getattr__(name: str) -> NoReturn:
        from golib._words import missing

        raise missing(__name__, name)
