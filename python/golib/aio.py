"""golib.aio: goroutines for code that uses concurrent.futures or asyncio.

It imports neither before the first use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import asyncio

    from golib._executor import Executor as Executor

__all__ = ["Executor", "run_async", "to_goroutine"]

P = ParamSpec("P")
T = TypeVar("T")


def __getattr__(name: str) -> Any:
    """Imports Executor when it is first named."""
    if name == "Executor":
        return importlib.import_module("golib._executor").Executor
    from golib._words import missing

    raise missing(__name__, name)


async def to_goroutine(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs fn(*args, **kwargs) as a goroutine and waits for it in a coroutine: asyncio.to_thread for goroutines.

    Blocks: the task.
    Raises: what fn raises; TypeError as golib.go().
    Cancel: a cancelled task cancels the goroutine, gives it a tenth of a second to clean up, and then abandons it as
        to_thread() does; at once if it is in a call of C, which golib cannot end. Its later outcome is lost.

    >>> import asyncio
    >>> asyncio.run(golib.aio.to_goroutine(pow, 2, 10))
    1024
    """
    from golib._asyncio import let_go

    return await let_go(fn, *args, **kwargs)


def run_async(coro: Coroutine[Any, Any, T], *, loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Runs a coroutine in an event loop, and waits for its result.

    A given loop must run in another thread or goroutine. Without one, all callers share a loop of golib's own, whose
    thread the first call starts and which stays. asyncio.run() works in a goroutine too, with a loop for that call
    alone.

    Blocks: the goroutine, or the OS thread. While that loop has anything to do, no Deadlock is raised.
    Raises: what the coroutine raises; RuntimeError in the loop's own thread, which would wait for itself; TypeError if
        it is no coroutine.
    Cancel: cancels the coroutine and waits for its end. If it returns a value nevertheless, that counts.

    >>> async def answer():
    ...     return 42
    >>> golib.go(golib.aio.run_async, answer()).join()
    42
    """
    from golib._asyncio import run_in_loop

    return run_in_loop(coro, loop)
