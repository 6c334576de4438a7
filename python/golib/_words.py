"""Errors that say what to write instead. Imported when one is raised."""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import Any, NoReturn

__all__ = ["missing", "refuse"]

#: The modules that are searched for a name, in this order.
_MODULES = (
    "golib",
    "golib.sync",
    "golib.context",
    "golib.time",
    "golib.aio",
    "golib.runtime",
    "golib.signal",
    "golib.net",
)

#: Names that other libraries and Go give to what golib has, in lower case without underscores.
_ELSEWHERE = {
    "lock": "golib.sync.Mutex",
    "rlock": "golib.sync.Mutex, which its holder cannot lock twice",
    "rwlock": "golib.sync.RWMutex",
    "condition": "golib.sync.Cond",
    "boundedsemaphore": "golib.sync.Semaphore",
    "queue": "golib.Chan",
    "channel": "golib.Chan, or golib.channel() for its two ends",
    "gather": "golib.scope()",
    "taskgroup": "golib.scope()",
    "nursery": "golib.scope()",
    "wait": "golib.sync.WaitGroup, or golib.scope()",
    "waitfor": "golib.timeout()",
    "timeoutat": "golib.context.with_deadline()",
    "threadpoolexecutor": "golib.aio.Executor",
    "tothread": "golib.aio.to_goroutine",
    "makechan": "golib.Chan",
    "defer": "`with` or `finally`",
    "panic": "`raise`",
    "recover": "`except`",
    "gosched": "golib.gosched",
    "withvalue": "golib.context.with_value",
}


def missing(module: str, name: str) -> AttributeError:
    """The AttributeError for a module's `__getattr__`: it names the place of a similar name, if golib has one."""
    text = f"module {module!r} has no attribute {name!r}"
    if not name.startswith("_"):
        hint = _hint(module, name)
        if hint:
            text += f": {hint}"
    return AttributeError(text, name=name)


def _hint(module: str, name: str) -> str:
    plain = _plain(name)
    for where in _MODULES:
        found: ModuleType = importlib.import_module(where)
        for public in found.__all__:
            if _plain(public) == plain:
                return f"{where}.{public} is meant?"
    if plain in _ELSEWHERE:
        return f"use {_ELSEWHERE[plain]}"
    standard = module.rpartition(".")[2]
    if module != "golib" and standard in ("time", "signal", "runtime"):
        theirs = importlib.import_module(standard) if standard != "runtime" else None
        if hasattr(theirs, name):
            return f"it is the standard library's, `import {standard}`"
    return ""


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def refuse(fn: Any) -> NoReturn:
    """Raises TypeError if `fn` cannot be a goroutine's function."""
    if not callable(fn):
        raise TypeError(f"a goroutine needs a callable, not {_what(fn)}")
    kind = "async generator function" if inspect.isasyncgenfunction(_bare(fn)) else "async function"
    raise TypeError(
        f"a goroutine needs an ordinary function, not the {kind} {fn!r}: "
        "golib.aio.run_async(coroutine) waits for one in a goroutine"
    )


def _bare(fn: Any) -> Any:
    while hasattr(fn, "func"):  # functools.partial
        fn = fn.func
    return fn


def _what(thing: object) -> str:
    kind = type(thing).__name__
    if inspect.iscoroutine(thing):
        thing.close()  # nobody can await it any more; the error suffices without a warning
        name = getattr(thing, "__qualname__", "f")
        return f"a coroutine: go(golib.aio.run_async, {name}(...)) waits for it in a goroutine"
    if inspect.isasyncgen(thing):
        return "an async generator: iterate over it in a coroutine, with golib.aio.run_async()"
    if inspect.isgenerator(thing):
        return "a generator: pass a function that iterates over it"
    if inspect.isawaitable(thing):
        return (
            f"{kind}, which is awaited: golib.aio.run_async() waits for a coroutine in a goroutine"
        )
    return f"{kind}: pass the function and its arguments, go(f, x), not what it returns, go(f(x))"
