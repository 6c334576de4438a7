"""Errors say what to write instead."""

from __future__ import annotations

import dis
import functools
import importlib
import inspect
import sys
import warnings

import golib
import pytest
from golib import Chan, go

from support import run_script


async def coroutine_function():
    pass


async def async_generator_function():
    yield


def generator_function():
    yield


STARTERS = {
    "go": go,
    "spawn": golib.spawn,
    "run": golib.run,
    "main": golib.main,
    "WaitGroup.go": lambda fn: golib.sync.WaitGroup().go(fn),
    "ErrGroup.go": lambda fn: golib.sync.ErrGroup().go(fn),
    "after_func": lambda fn: golib.time.after_func(0, fn),
    "to_goroutine": lambda fn: golib.aio.to_goroutine(fn).send(None),
}

WRONG = {
    "the result of a call": (
        lambda: None,
        r"a callable, not NoneType: .*go\(f, x\), not .*go\(f\(x\)\)",
    ),
    "a number": (lambda: 7, r"a callable, not int: .*go\(f, x\)"),
    "a coroutine": (
        lambda: coroutine_function(),
        r"not a coroutine: go\(golib.aio.run_async, coroutine_function\(...\)\)",
    ),
    "an async generator": (
        lambda: async_generator_function(),
        "not an async generator: .*run_async",
    ),
    "a generator": (lambda: generator_function(), "not a generator: .*iterates over it"),
    "an async function": (
        lambda: coroutine_function,
        "an ordinary function, not the async function <.*coroutine_function.*>: .*run_async",
    ),
    "a partial of one": (
        lambda: functools.partial(coroutine_function),
        "an ordinary function, not the async function functools.*run_async",
    ),
    "an async generator function": (
        lambda: async_generator_function,
        "an ordinary function, not the async generator function .*run_async",
    ),
}


@pytest.mark.parametrize("wrong", list(WRONG))
@pytest.mark.parametrize("starter", list(STARTERS))
def test_what_cannot_be_a_goroutine_is_refused_in_words(starter, wrong):
    make, text = WRONG[wrong]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a coroutine that was never awaited
        if starter == "to_goroutine":
            import asyncio

            with pytest.raises(TypeError, match=text):
                asyncio.run(golib.aio.to_goroutine(make()))
        else:
            with pytest.raises(TypeError, match=text):
                STARTERS[starter](make())


def test_a_scope_refuses_it_too():
    with golib.scope() as s, pytest.raises(TypeError, match=r"go\(f, x\)"):
        s.go(None)


# -- names that are elsewhere ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "name", "words"),
    [
        ("golib", "Mutex", "golib.sync.Mutex is meant?"),
        ("golib", "WaitGroup", "golib.sync.WaitGroup is meant?"),
        ("golib", "waitgroup", "golib.sync.WaitGroup is meant?"),
        ("golib", "with_timeout", "golib.context.with_timeout is meant?"),
        ("golib", "after", "golib.time.after is meant?"),
        ("golib", "Executor", "golib.aio.Executor is meant?"),
        ("golib", "notify", "golib.signal.notify is meant?"),
        ("golib", "NumGoroutine", "golib.num_goroutine is meant?"),
        ("golib", "Lock", "use golib.sync.Mutex"),
        ("golib", "Queue", "use golib.Chan"),
        ("golib", "gather", "use golib.scope()"),
        ("golib", "dial", "golib.net.dial is meant?"),
        ("golib.time", "sleep", "golib.sleep is meant?"),
        ("golib.time", "monotonic", "the standard library's, `import time`"),
        ("golib.signal", "SIGTERM", "the standard library's, `import signal`"),
        ("golib.runtime", "gosched", "golib.gosched is meant?"),
        ("golib.runtime", "GOMAXPROCS", "golib.gomaxprocs is meant?"),
        ("golib.sync", "Chan", "golib.Chan is meant?"),
        ("golib.context", "timeout", "golib.timeout is meant?"),
        ("golib.aio", "sleep", "golib.sleep is meant?"),
    ],
)
def test_a_name_that_is_elsewhere_is_told(module, name, words):
    with pytest.raises(AttributeError) as caught:
        getattr(importlib.import_module(module), name)
    assert str(caught.value).startswith(f"module {module!r} has no attribute {name!r}: ")
    assert words in str(caught.value)
    assert (caught.value.name, hasattr(golib, "__wrapped__")) == (name, False)


def test_any_other_name_is_an_ordinary_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'golib' has no attribute 'nonsense'$"):
        golib.nonsense  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nonsense' from 'golib'"):
        from golib import nonsense  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("golib.nonsense")


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="3.11 caches nothing of a module with a __getattr__"
)
@pytest.mark.parametrize("module", [golib, golib.sync, golib.context])
def test_the_interpreter_caches_the_names_of_the_module_nevertheless(module):
    name = next(name for name in module.__all__ if not name.startswith("_"))
    names = {"module": module}
    exec(f"def get(): return module.{name}", names)
    for _ in range(1000):
        names["get"]()
    found = {op.opname for op in dis.get_instructions(names["get"], adaptive=True)}
    assert found & {"LOAD_ATTR_MODULE", "LOAD_ATTR_SLOT"}, found


@pytest.mark.parametrize("module", [golib, golib.sync, golib.context])
def test_the_module_is_a_module(module, monkeypatch):
    name = next(name for name in module.__all__ if callable(getattr(module, name)))
    assert inspect.ismodule(module)
    assert importlib.import_module(module.__name__) is sys.modules[module.__name__] is module
    assert repr(module).startswith(f"<module '{module.__name__}' from ")
    assert vars(module)[name] is getattr(module, name)
    assert set(module.__all__) - {"net"} <= set(dir(module))
    monkeypatch.setattr(module, name, "another")
    assert getattr(module, name) == vars(module)[name] == "another"
    monkeypatch.delattr(module, name)
    assert not hasattr(module, name)
    assert name not in vars(module)
    monkeypatch.undo()
    assert callable(getattr(module, name))
    monkeypatch.setattr(module, "new", 1, raising=False)
    assert module.new == vars(module)["new"] == 1


# -- Chan[int] that was not called -------------------------------------------------------------


@pytest.mark.parametrize("use", ["send", "recv", "close", "try_recv", "closed", "sender"])
def test_a_channels_type_that_is_used_as_a_channel_says_so(use):
    ch = Chan[int]
    with pytest.raises(
        AttributeError, match=r"golib.Chan\[int\] is a type.*: call it, golib.Chan\[int\]\(\)"
    ):
        getattr(ch, use)


def test_the_type_works_as_before():
    import pickle
    import types
    import typing

    alias = Chan[int]
    assert isinstance(alias, types.GenericAlias)
    assert typing.get_origin(alias) is Chan
    assert typing.get_args(alias) == (int,)
    assert repr(alias) == "golib.Chan[int]"
    assert alias == Chan[int] != Chan[str]
    assert hash(alias) == hash(Chan[int])
    assert isinstance(alias(1), Chan)
    assert pickle.loads(pickle.dumps(alias)) == alias
    assert alias.__doc__ == Chan.__doc__
    T = typing.TypeVar("T")
    assert Chan[T][int] == alias

    class Mine(Chan[int]):
        pass

    assert Mine.__orig_bases__ == (alias,)
    assert typing.get_type_hints(
        type("C", (), {"__annotations__": {"x": "Chan[int]"}}), {"Chan": Chan}
    )
    assert (alias | None).__args__[0] == alias


# -- timeouts, tracebacks ----------------------------------------------------------------------

full = Chan(1)
full.send(1)
locked = golib.sync.Mutex()
locked.lock()
written = golib.sync.RWMutex()
written.lock()
taken = golib.sync.Semaphore(1)
taken.acquire()
counted = golib.sync.WaitGroup()
counted.add(1)


def in_block(seconds):
    with golib.timeout(seconds):
        Chan().recv()


TIMED = {
    "receive": lambda seconds: Chan().recv(seconds),
    "receive ": lambda seconds: Chan().recv_ok(timeout=seconds),
    "send": lambda seconds: full.send(1, seconds),
    "select": lambda seconds: golib.select(Chan(), timeout=seconds),
    "select ": lambda seconds: golib.Select(Chan()).wait(seconds),
    "lock": lambda seconds: locked.lock(seconds),
    "lock ": lambda seconds: written.lock(seconds),
    "rlock": lambda seconds: written.rlock(seconds),
    "acquire": lambda seconds: taken.acquire(timeout=seconds),
    "wait": lambda seconds: counted.wait(seconds),
    "chan receive (nil chan)": lambda seconds: golib.nil.recv(seconds),
    "block": in_block,
}


@pytest.mark.parametrize("what", list(TIMED))
@pytest.mark.parametrize(("seconds", "words"), [(0.01, "0.01 s"), (0, "0 s"), (-1, "0 s")])
def test_a_timeout_says_after_how_long(what, seconds, words):
    with pytest.raises(TimeoutError) as caught:
        TIMED[what](seconds)
    assert str(caught.value) == f"{what.strip()} timed out after {words}"


class Seconds:
    """A number of the user's."""

    asked = 0

    def __float__(self):
        self.asked += 1
        return 0.01 * self.asked


@pytest.mark.parametrize("what", list(TIMED))
def test_a_timeout_is_asked_for_its_seconds_once(what):
    seconds = Seconds()
    with pytest.raises(TimeoutError, match=r" timed out after 0\.01 s$"):
        TIMED[what](seconds)
    assert seconds.asked == 1


def test_so_does_join():
    g = go(Chan().recv)
    for wait in (g.join, g.result, g.exception):
        with pytest.raises(TimeoutError, match=r" timed out after 0\.01 s$"):
            wait(0.01)
    g.cancel()
    g.exception()


@pytest.mark.parametrize("name", ["int", "sleep", "partial", "Callable"])
def test_a_traceback_shows_what_was_called(name):
    result = run_script(
        """
        import functools, golib, time, sys
        class Callable:
            def __call__(self, text):
                raise ValueError(text)
        fn = {"int": int, "sleep": time.sleep, "partial": functools.partial(int), "Callable": Callable()}
        g = golib.go(fn[sys.argv[1]], "x")
        g.join()
        """,
        name,
    )
    assert result.rc == 1
    assert f'File "<goroutine>", line 4, in {name}\n' in result.err
    assert "<golib>" not in result.err


def test_a_dump_shows_what_was_called():
    result = run_script(
        """
        import golib, golib.runtime, time
        gs = [golib.go(time.sleep, 0.3), golib.go(input)]
        golib.sleep(0.05)
        golib.runtime.print_stacks()
        """
    )
    assert 'File "<goroutine>", line 4, in sleep\n' in result.err
