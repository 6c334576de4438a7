"""golib.testing: checks that a block leaves nothing behind, as the pytest plugin `golib` does for each test."""

from __future__ import annotations

import gc
from contextlib import ContextDecorator
from types import TracebackType
from typing import Any

from golib import _golib, _report
from golib._errors import AnyArguments

__all__ = ["GoroutineLeak", "GoroutineWarning", "UncaughtInGoroutine", "no_leaks"]


class GoroutineLeak(AssertionError):
    """Goroutines that a block started are still alive after it; `goroutines` are their handles."""

    def __init__(
        self, text: str = "", goroutines: list[_golib.Goroutine[Any]] | None = None
    ) -> None:
        super().__init__(text)
        self.goroutines = goroutines or []

    def __reduce__(self) -> tuple[Any, ...]:
        # Handles belong to their process: copies and pickles, such as those of pytest-xdist, have none.
        return type(self), self.args, {**self.__dict__, "goroutines": []}


class UncaughtInGoroutine(AssertionError):
    """An exception ended a goroutine and nobody read it; it is this one's `__cause__`."""


class GoroutineWarning(UserWarning):
    """The pytest plugin's warning of a leak or an unread exception, if its settings say `warn`."""


_signed: Any
for _signed in (UncaughtInGoroutine, GoroutineWarning):
    _signed.__signature__ = AnyArguments()


class no_leaks(ContextDecorator):  # noqa: N801 - it is used as a function
    """A context manager, or decorator, that fails if the block leaves a goroutine or an unread exception behind.

    A goroutine that ends within `patience` seconds after the block is not left behind. Goroutines from before the block
    do not count, nor do golib's own. The check covers the whole process: a goroutine that another thread starts
    meanwhile counts too. An exception passed to a panic handler counts as read.

    Blocks: the goroutine or the OS thread, up to `patience` seconds.
    Units: seconds.
    Raises: GoroutineLeak with each goroutine's stack and where it was created; UncaughtInGoroutine from an exception
        that nobody read; an ExceptionGroup if there is more than one to raise. If the block itself raises, its
        exception propagates, with the findings as notes.
    Source: goleak.VerifyNone

    >>> from golib.testing import no_leaks
    >>> with no_leaks():
    ...     g = golib.go(golib.sleep, 0.01)
    >>> try:
    ...     with no_leaks(patience=0.05):
    ...         g = golib.go(golib.Chan().recv)
    ... except AssertionError as leak:
    ...     print(str(leak).splitlines()[0])
    1 goroutine left behind:
    >>> g.cancel()
    True
    """

    def __init__(self, *, patience: float = 1.0) -> None:
        self._patience = patience

    def _recreate_cm(self) -> no_leaks:
        return no_leaks(patience=self._patience)

    def __enter__(self) -> None:
        self._watch = Watch()
        self._watch.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
        /,
    ) -> None:
        watch = self._watch
        left = watch.left_behind(self._patience if error is None else 0.0)
        watch.stop()
        wrong: list[Exception] = watch.take_uncaught()
        if left:
            wrong.append(GoroutineLeak(leak_text(left), left))
        if error is not None:
            for one in wrong:
                error.add_note(str(one))
        elif len(wrong) == 1:
            raise wrong[0]
        elif wrong:
            raise ExceptionGroup("a block left goroutines and exceptions behind", wrong)


def leak_text(left: list[_golib.Goroutine[Any]]) -> str:
    """A line with the number of goroutines, then each one's dump."""
    many = "goroutine" if len(left) == 1 else "goroutines"
    return f"{len(left)} {many} left behind:\n\n" + "\n".join(_report.stack_of(g) for g in left)


class Watch:
    """Collects what goroutines leave between `start` and `stop`. Watches nest; the innermost one gets an exception."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._uncaught: list[tuple[str, BaseException]] = []

    def start(self) -> None:
        """Ignores the goroutines that exist, and begins to collect."""
        self.know_all()
        _report.collectors.append(self._collect)

    def stop(self) -> None:
        """Ends collecting."""
        _report.collectors.remove(self._collect)

    def know_all(self) -> None:
        """Ignores the goroutines that live now."""
        self._known.update(g.id for g in _golib.goroutines())

    def know(self, g: _golib.Goroutine[Any]) -> None:
        """Ignores `g`."""
        self._known.add(g.id)

    def is_new(self, g: _golib.Goroutine[Any]) -> bool:
        """Whether `g` was started after the last `know_all`."""
        return g.id not in self._known

    def know_since(self, before: set[int]) -> None:
        """Ignores the goroutines that were started since `before`, a set of ids."""
        self._known.update(g.id for g in _golib.goroutines() if g.id not in before)

    def left_behind(self, patience: float) -> list[_golib.Goroutine[Any]]:
        """The new goroutines that do not end within `patience` seconds, by id."""
        end, pause = _golib._monotonic() + patience, 0.0
        while left := [g for g in _golib.goroutines() if g.id not in self._known]:
            if _golib._monotonic() >= end:
                break
            with _golib.shield():
                _golib.sleep(pause)
            pause = min(pause + 0.001, 0.02)
        return sorted(left, key=lambda g: g.id)

    def take_uncaught(self) -> list[Exception]:
        """An exception for each one that nobody has read so far."""
        gc.collect()  # a handle in a cycle reports when it is collected
        taken, self._uncaught = self._uncaught, []
        errors: list[Exception] = []
        for text, cause in taken:
            error = UncaughtInGoroutine(f"nobody read the exception of {text}")
            error.__cause__ = cause
            errors.append(error)
        return errors

    def _collect(self, g: _golib.Goroutine[Any], error: BaseException) -> None:
        created = _report.created_by(g).rstrip()
        self._uncaught.append((f"goroutine {g.id} ({g.name}){created and ', ' + created}", error))
