"""The exceptions. The compiled part finds them here."""

from __future__ import annotations

from typing import Any

__all__ = [
    "Canceled",
    "Cancelled",
    "ChanClosed",
    "CloseOfClosed",
    "DeadlineExceeded",
    "Deadlock",
    "Goexit",
    "SendOnClosed",
]

#: This module's names from before importlib.reload().
_before = dict(globals())


class AnyArguments:
    """The `__signature__` of classes that have the constructor of BaseException, which shows none."""

    def __get__(self, instance: object, owner: type[BaseException]) -> object:
        if owner.__init__ not in (
            BaseException.__init__,
            *(base.__init__ for base in (Exception, AssertionError, UserWarning)),
        ):
            raise AttributeError  # a subclass has its own
        from inspect import Parameter, Signature

        return Signature([Parameter("args", Parameter.VAR_POSITIONAL)])


class ChanClosed(Exception):
    """A receive found the channel closed and drained.

    Go gives a zero value there; `recv_ok()` is the form without an exception.

    >>> ch = golib.Chan()
    >>> ch.close()
    >>> ch.recv()
    Traceback (most recent call last):
    golib.ChanClosed: receive on closed channel
    """


class SendOnClosed(ChanClosed):
    """A send found the channel closed: "send on closed channel". Go panics there.

    >>> ch = golib.Chan()
    >>> ch.close()
    >>> ch.send(1)
    Traceback (most recent call last):
    golib.SendOnClosed: send on closed channel
    """


class CloseOfClosed(ChanClosed):
    """The channel was closed before: "close of closed channel". Go panics there.

    >>> ch = golib.Chan()
    >>> ch.close()
    >>> ch.close()
    Traceback (most recent call last):
    golib.CloseOfClosed: close of closed channel
    """


class Cancelled(BaseException):
    """Raised in a cancelled goroutine, at its current or next blocking point and at every later one.
    Clean up and let it propagate; if the clean-up has to wait, do it in `with golib.shield():`.

    It is a BaseException, so `except Exception` does not catch it. A goroutine that ends with it is
    not reported; join() raises it.

    >>> g = golib.go(golib.sleep, 3600)
    >>> g.cancel()
    True
    >>> g.exception()
    Cancelled('context canceled')
    """


class Goexit(BaseException):
    """What goexit() raises: it ends the goroutine, runs `finally` blocks, and join() returns None.

    >>> def work() -> None:
    ...     try:
    ...         golib.goexit()
    ...     finally:
    ...         print('cleaned up')
    >>> golib.go(work).join()
    cleaned up
    """


class Deadlock(RuntimeError):
    """Everything is waiting for everything else: "all goroutines are asleep - deadlock!".

    Raised in the main goroutine of run(), or in the main thread's blocking call; Go ends the
    process instead. `dump` shows all goroutines as they were; an uncaught Deadlock prints it below
    the traceback. It is not raised while something outside golib could wake a waiter: another
    thread, even a C thread that golib does not know, or a Python signal handler of the program.

    >>> try:
    ...     golib.run(golib.Chan().recv)
    ... except golib.Deadlock as error:
    ...     print(error)
    all goroutines are asleep - deadlock!
    """

    dump: str

    def __init__(
        self, message: str = "all goroutines are asleep - deadlock!", dump: str = ""
    ) -> None:
        super().__init__(message)
        self.dump = dump


class Canceled(Exception):
    """What a context's err() gives after its cancel function was called: "context canceled".

    Go's context.Canceled. err() returns it and never raises it; a cancelled goroutine raises Cancelled.
    """

    def __init__(self, message: str = "context canceled") -> None:
        super().__init__(message)


class DeadlineExceeded(TimeoutError):
    """What a context's err() gives after its deadline: "context deadline exceeded".

    Go's context.DeadlineExceeded.
    """

    def __init__(self, message: str = "context deadline exceeded") -> None:
        super().__init__(message)


# The compiled part keeps raising the classes that it found first.
globals().update({name: _before[name] for name in __all__ if name in _before})
del _before

_signed: Any
for _signed in (Cancelled, ChanClosed, Goexit):
    _signed.__signature__ = AnyArguments()
_class: type[BaseException]
for _class in (Cancelled, ChanClosed, CloseOfClosed, Deadlock, Goexit, SendOnClosed):
    _class.__module__ = "golib"
Canceled.__module__ = DeadlineExceeded.__module__ = "golib.context"


def deadlock() -> Deadlock:
    """Makes the exception with the dump; the compiled part calls it where the wait has just ended."""
    from golib import _golib

    waited = _golib._last_wait()  # first, because what follows may wait too
    from golib._report import stacks_at_deadlock

    error = Deadlock(dump=stacks_at_deadlock(waited))
    error.add_note(f"\n{error.dump.rstrip()}")
    return error
