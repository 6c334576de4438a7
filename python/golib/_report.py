"""Reports: exceptions that nobody reads, and dumps of goroutines in Go's format."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FrameType
from typing import Any, NoReturn, TextIO

from golib import _golib
from golib._threads import thread_of

__all__ = ["all_stacks", "own_stack", "set_panic_handler", "stack_of"]

_PanicHandler = Callable[["_golib.Goroutine[Any]", BaseException], None]
_panic_handler: _PanicHandler | None = None

#: Without a panic handler, the last of these gets the unread exceptions. For golib.testing.
collectors: list[_PanicHandler] = []


def set_panic_handler(fn: _PanicHandler | None) -> None:
    """Sets the function that is called with a goroutine and its exception when nobody will read that.

    None restores the default, which prints both to stderr, or calls threading.excepthook if the
    program has replaced that. The process continues either way, unless the environment says
    GOLIB_PANIC=exit; Go ends it.

    Blocks: nothing. The handler itself may block; it runs where the exception turned out to be
        unread, usually in the goroutine itself.
    Raises: TypeError if fn is neither callable nor None.

    >>> golib.set_panic_handler(lambda g, error: print(g.name, repr(error)))
    >>> g = golib.spawn(int, ('x',), name='parser')
    >>> while not g.done():
    ...     golib.gosched()
    >>> del g
    parser ValueError("invalid literal for int() with base 10: 'x'")
    >>> golib.set_panic_handler(None)
    """
    global _panic_handler
    if fn is not None and not callable(fn):
        raise TypeError(f"a panic handler must be callable, not {type(fn).__name__}")
    _panic_handler = fn


def uncaught(g: _golib.Goroutine[Any], error: BaseException) -> None:
    """Reports an exception that nobody has read; the compiled part calls it once for each."""
    what = "the panic handler"
    try:
        if _panic_handler is not None:
            _panic_handler(g, error)
        elif collectors:
            collectors[-1](g, error)
            return
        elif threading.excepthook is not threading.__excepthook__:
            what = "threading.excepthook"
            threading.excepthook(_hook_args(g, error))
        else:
            _print(_panic_text(g, error))
    except BaseException as broken:
        _print(f"{what} failed:\n{format_error(broken)}{_panic_text(g, error)}")
    if os.environ.get("GOLIB_PANIC") == "exit":
        _flush()
        os._exit(2)


def _hook_args(g: _golib.Goroutine[Any], error: BaseException) -> threading.ExceptHookArgs:
    """The argument that threading gives its hook."""
    return threading.ExceptHookArgs((type(error), error, error.__traceback__, thread_of(g)))


def end_of_child(error: BaseException | None) -> NoReturn:
    """Ends a forked child when the goroutine that forked it has ended; called by the compiled part."""
    status = 0
    if isinstance(error, SystemExit):
        status = _exit_status(error)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    try:
        import atexit

        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        _flush()
        os._exit(status)


def _exit_status(error: SystemExit) -> int:
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    _print(f"{code}\n")
    return 1


def _panic_text(g: _golib.Goroutine[Any], error: BaseException) -> str:
    text = f"goroutine {g.id} [running]: {g.name}\n{format_error(error)}{created_by(g, False)}"
    if os.environ.get("GOLIB_TRACEBACK") == "all":
        text += f"\n{all_stacks()}"
    return text


def format_error(error: BaseException) -> str:
    """The traceback, even if making the exception's own text raises."""
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return f"{type(error).__name__}: <no text>\n"


def _print(text: str) -> None:
    try:
        if sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
    except (OSError, ValueError):
        pass  # nowhere is left to report it


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed or missing


def created_by(g: _golib.Goroutine[Any], by_whom: bool = True) -> str:
    """The line that says where `g` was started; empty if a C function started it."""
    origin = g._origin()
    if origin is None:
        return ""
    code, line, parent = origin
    where = f"created by {code.co_name} at {code.co_filename}:{line}"
    return f"{where} in goroutine {parent}\n" if parent and by_whom else f"{where}\n"


def summary_of(frame: FrameType | None) -> traceback.StackSummary:
    """The frames from the oldest to `frame`."""
    summary = (
        traceback.StackSummary.extract(traceback.walk_stack(frame))
        if frame
        else traceback.StackSummary()
    )
    summary.reverse()
    return summary


def stack_of(g: _golib.Goroutine[Any], frame: FrameType | None = None) -> str:
    """The dump of one goroutine; `frame` is its newest frame if it is the caller."""
    return _stack(g, g._header(), summary_of(frame or g._frame()))


def _stack(g: _golib.Goroutine[Any], header: str, frames: traceback.StackSummary) -> str:
    return f"{header} {g.name}\n{''.join(frames.format())}{created_by(g)}"


def own_stack(frame: FrameType) -> str:
    """The dump of the caller, whose newest frame to show is `frame`."""
    g = _golib._current()
    if g is not None:
        return stack_of(g, frame)
    lines = "".join(summary_of(frame).format())
    return f"thread {threading.current_thread().name} [running]:\n{lines}"


def all_stacks() -> str:
    """The dump of all goroutines, by number; those that are alike share one."""
    with _goroutines() as goroutines:
        return _grouped(goroutines)


def _grouped(goroutines: list[_golib.Goroutine[Any]]) -> str:
    groups: dict[object, list[_golib.Goroutine[Any]]] = {}
    for g in goroutines:
        groups.setdefault(_likeness(g), []).append(g)
    return "\n".join(stack_of(alike[0]) + _more_like_it(alike[1:]) for alike in groups.values())


def _likeness(g: _golib.Goroutine[Any]) -> object:
    """The key of a dump: the same for dumps that differ only in the number and in how long the goroutine has waited."""
    state = g._header().partition("[")[2].partition(",")[0].rstrip("]:")
    return state, g.name, _places(g._frame()), g._origin()


def _places(frame: FrameType | None) -> tuple[tuple[CodeType, int], ...]:
    """Where `frame` and its callers are, the newest first.

    No local variable of the caller may hold its own frame: that would be a reference cycle.
    """
    return tuple((at.f_code, line) for at, line in traceback.walk_stack(frame)) if frame else ()


def _more_like_it(others: list[_golib.Goroutine[Any]]) -> str:
    if not others:
        return ""
    runs: list[list[int]] = []
    for g in others:
        if runs and g.id == runs[-1][1] + 1:
            runs[-1][1] = g.id
        else:
            runs.append([g.id, g.id])
    numbers = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    shown = ", ".join(numbers[:MOST_RUNS]) + (", …" if len(numbers) > MOST_RUNS else "")
    return f"and {len(others)} more like it: {shown}\n"


@contextmanager
def _goroutines() -> Iterator[list[_golib.Goroutine[Any]]]:
    """All goroutines by number, in a list that is empty afterwards.

    If one fails meanwhile, the list may hold the last reference to it. A new goroutine then reports the exception, not
    the caller: the panic handler may wait, and a dump may be made by a signal handler.
    """
    goroutines = sorted(_golib.goroutines(), key=lambda g: g.id)
    try:
        yield goroutines
    finally:
        if failed := _golib._let_go(goroutines):
            with suppress(RuntimeError):  # at exit none can be started
                _golib.go(failed.clear)


def stacks_at_deadlock(waited: str) -> str:
    """The dump of all goroutines as they were while the caller waited, as `waited` says.

    The caller comes first, without golib's frames.
    """
    frames = summary_of(sys._getframe())
    frames[:] = [frame for frame in frames if not _is_ours(frame.filename)]
    me = _golib._current()
    if me is None:
        first = f"thread {threading.current_thread().name} [{waited}]:\n{''.join(frames.format())}"
    else:
        first = _stack(me, f"goroutine {me.id} [{waited}]:", frames)
    with _goroutines() as goroutines:
        if me is not None:
            goroutines.remove(me)
        others = _grouped(goroutines)
    return f"{first}\n{others}" if others else first


def _is_ours(filename: str) -> bool:
    return filename == "<goroutine>" or os.path.dirname(filename).startswith(_PACKAGE)


#: How many ranges of ids a dump lists for goroutines that are alike.
MOST_RUNS = 20

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def print_all(file: TextIO | None) -> None:
    """Writes all goroutines to `file`, or to stderr if there is one."""
    out = file if file is not None else sys.stderr
    if out is not None:
        out.write(all_stacks())
        out.flush()
