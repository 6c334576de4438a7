"""golib.signal: signals as values on channels, as Go's os/signal.

Signals still arrive as in the standard library: the main thread runs a handler, which sends them. It does so at once,
or after the call that it is in if no signal interrupts that call.
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
    """A receiver of signals: a sending end, or a context."""

    def try_send(self, value: Any, /) -> bool: ...


def _those(*names: str) -> set[int]:
    """The signals of these names that the system has."""
    return {getattr(signal, name) for name in names if hasattr(signal, name)}


#: Signals that the kernel lets nobody catch.
_NEVER = _those("SIGKILL", "SIGSTOP")
#: Signals of a broken program: when a handler returns, the instruction is repeated.
_FAULTS = _those("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL")
#: Signals of a debugger, an abort() or a sandbox, and the runtime's own.
_ONLY_BY_NAME = _those("SIGTRAP", "SIGABRT", "SIGSYS", "SIGURG")
_ALL = signal.valid_signals() - _NEVER - _FAULTS - _ONLY_BY_NAME

# Only the main thread changes these two, entry by entry; its handler may read them at any moment.
#: The receivers of each signal.
_wanted: dict[int, tuple[_Out, ...]] = {}
#: For each signal with a handler of golib's: the handler from before, and golib's.
_set: dict[int, tuple[_Handler, _Handler]] = {}

_expecting = False  # a signal may wake somebody, so nothing is a deadlock
_fork_watched = False


def notify(ch: Chan[Any] | SendChan[Any] | Sender[Any], *signals: int) -> None:
    """Sends the signals to ch from now on: Go's signal.Notify. No signals means all.

    It sends a signal.Signals, or an int for a signal without a name. A signal that finds neither room nor a receiver
    is dropped, so give ch a buffer: one place is enough for one signal. A signal goes to every channel that wants it.
    As in Go, ch is kept until stop(ch), even if nothing else refers to it; a closed channel gets nothing. Until then
    no Deadlock is raised.

    "All" leaves out SIGKILL and SIGSTOP, which nobody can catch; the signals of a broken program (SIGSEGV, SIGBUS,
    SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS); and SIGURG, with which golib wakes the main thread.

    A forked child has the handlers from before notify(), because its parent's receivers do not exist there.

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
    """Stops sending signals to ch: Go's signal.Stop. After it has returned, ch gets none.

    A signal that no channel wants any more gets back the handler from before notify(), unless the program has set
    another one meanwhile. A handler that was not set by Python becomes the default.

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
        return type(self), (self.signal,), self.__dict__  # the default would pass the text alone


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
        """What the handler calls to send to a channel."""
        cancel = self._cancel
        if cancel is not None:
            cancel(SignalReceived(signal))
        return True


def notify_context(*signals: int) -> NotifyContext:
    """A `with` block whose context one of the signals ends: Go's signal.NotifyContext. No signals means all.

    The context is a child of the ambient one and not ambient itself: wait for its done(), pass it on, or make it
    ambient by `with ctx:`. Its cause is a SignalReceived. No Deadlock is raised during the block. After it the signals
    have their former handlers again, and the context is done.

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

    They get back the handlers from before; Go, which has no handlers, restores its defaults.

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
    """The end to send with; the same for a channel and its sending end."""
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


# -- on the main thread. What a handler raises may interrupt any of these, which is then called again. ---------


def _deliver(signum: int, frame: FrameType | None) -> None:
    """The handler. It may interrupt anything, so it neither waits nor raises."""
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
    """Sets golib's handler, and remembers the one before."""
    now = signal.getsignal(number)
    before, ours = _set.get(number, (now, handler))
    _set[number] = (before if now is ours else now, handler)
    signal.signal(number, handler)


def _set_wanted(number: int, channels: tuple[_Out, ...]) -> None:
    """Restores the handler from before if no channel wants the signal and golib's handler is still set."""
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
    """Tells the deadlock detector whether a signal could wake a waiter."""
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
        if hasattr(os, "register_at_fork"):  # Windows has no forks
            os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
        _golib._hook_child(_after_fork_in_child)


def _before_fork() -> None:
    """Blocks golib's signals until the child has its handlers: CPython forgets any that come before that."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, list(_wanted))


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child() -> None:
    forget()
    for number in list(_wanted):
        _set_wanted(number, ())
    _expect()
    _after_fork()


if not TYPE_CHECKING:  # a type checker would believe that every name exists

    def __getattr__(name: str) -> NoReturn:
        from golib._words import missing

        raise missing(__name__, name)
