"""Scenarios: state that Python keeps per thread, across parks."""

from __future__ import annotations

import contextlib
import contextvars
import decimal
import functools
import sys
import threading
from typing import Any

import golib
from golib import Chan, go
from storm import scenario

local = threading.local()
var: contextvars.ContextVar[Any] = contextvars.ContextVar("var", default=None)


@scenario()
def exceptions_with_context(park, i, rng):
    for _ in range(3):
        try:
            try:
                park()
                raise KeyError(i)
            except KeyError:
                park()
                assert sys.exc_info()[1].args == (i,)
                try:
                    park()
                    raise ValueError(i)
                finally:
                    park()
                    assert type(sys.exc_info()[1]) is ValueError
        except ValueError as error:
            park()
            assert error.args == (i,)
            assert type(error.__context__) is KeyError
            assert error.__context__.args == (i,)
            assert error.__context__.__context__ is None
        assert sys.exc_info() == (None, None, None)


@scenario()
def exception_groups(park, i, rng):
    try:
        try:
            raise ExceptionGroup("g", [KeyError(i), ValueError(i), OSError(i)])
        except* KeyError as group:
            park()
            assert group.exceptions[0].args == (i,)
        except* ValueError:
            park()
    except ExceptionGroup as error:
        park()
        assert [type(e) for e in error.exceptions] == [OSError]
        assert error.exceptions[0].args == (i,)


@scenario()
def generators(park, i, rng):
    def numbers():
        try:
            for k in range(6):
                park()
                got = yield (i, k)
                assert got == k
        finally:
            park()

    def delegate():
        return (yield from numbers())

    g, value = delegate(), None
    for k in range(4):
        assert g.send(value) == (i, k)
        park()
        value = k
    if rng.random() < 0.5:
        g.close()
    else:
        try:
            g.throw(KeyError(i))
        except KeyError as error:
            assert error.args == (i,)
    assert [x * x for x in (park() or k for k in range(3))] == [0, 1, 4]


@scenario()
def generators_resumed_by_others(park, i, rng):
    def numbers():
        for k in range(5):
            try:
                raise KeyError(k)
            except KeyError:
                golib.gosched()
                yield k, sys.exc_info()[1].args[0]

    g, ch = numbers(), Chan()

    def take():
        ch.send(next(g))

    for k in range(5):
        taker = go(take)
        assert ch.recv() == (k, k)
        taker.join()
        park()


@scenario()
def context_managers(park, i, rng):
    trace = []

    @contextlib.contextmanager
    def manager(name):
        park()
        trace.append(("in", name))
        try:
            yield name
        finally:
            park()
            trace.append(("out", name))

    class Manager:
        def __enter__(self):
            park()
            return self

        def __exit__(self, *exc):
            park()
            return exc[0] is KeyError

    with contextlib.ExitStack() as stack:
        for k in range(3):
            stack.enter_context(manager(k))
            park()
        with Manager(), contextlib.suppress(ValueError):
            park()
            raise (KeyError if i % 2 else ValueError)(i)
    assert trace == [("in", k) for k in range(3)] + [("out", k) for k in (2, 1, 0)]


@scenario()
def context_variables(park, i, rng):
    assert var.get() is None
    token = var.set(i)
    park()
    ctx = contextvars.copy_context()

    def inner():
        assert var.get() == i
        var.set((i, "inner"))
        park()
        return var.get()

    assert ctx.run(inner) == (i, "inner")
    park()
    assert var.get() == i
    child = go(lambda: (var.get(), var.set("child"), golib.gosched(), var.get()))
    assert child.join()[0::3] == (i, "child")
    var.reset(token)
    park()
    assert var.get() is None


@scenario()
def thread_locals(park, i, rng):
    assert not hasattr(local, "value")
    local.value = [i]
    for _ in range(5):
        park()
        local.value.append(i)
    assert local.value == [i] * 6
    assert vars(local) == {"value": [i] * 6}


@scenario()
def decimal_contexts(park, i, rng):
    digits = i % 20 + 2
    decimal.setcontext(decimal.Context(prec=digits, rounding=decimal.ROUND_DOWN))
    third = decimal.Decimal("0." + "3" * digits)
    for _ in range(4):
        park()
        assert decimal.Decimal(1) / 3 == third
        with decimal.localcontext(prec=3):
            park()
            assert decimal.Decimal(1) / 3 == decimal.Decimal("0.333")
        assert decimal.getcontext().prec == digits


@scenario()
def deep_recursion(park, i, rng):
    def down(n):
        if n == 0:
            park()
            return 0
        if n % 100 == 0:
            park()
        return down(n - 1) + 1

    assert down(400) == 400

    def forever():
        return forever()

    try:
        forever()
    except RecursionError:
        park()
    assert down(50) == 50


@scenario()
def trace_functions(park, i, rng):
    events = []

    def tracer(frame, event, arg):
        if frame.f_code.co_name == "traced":
            events.append(event)
        return tracer

    def traced():
        park()
        return i

    sys.settrace(tracer)
    try:
        assert traced() == i
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(None)
    assert events[0] == "call"
    assert events[-1] == "return"
    sys.setprofile(lambda *a: None)
    park()
    assert sys.getprofile() is not None
    sys.setprofile(None)


@scenario()
def coroutines_by_hand(park, i, rng):
    class Step:
        def __await__(self):
            park()
            got = yield i
            park()
            return got

    async def inner():
        return await Step()

    async def outer():
        async def numbers():
            for k in range(2):
                park()
                yield k

        total = [k async for k in numbers()]
        return total, await inner()

    c = outer()
    assert c.send(None) == i
    park()
    try:
        c.send("x")
    except StopIteration as stop:
        assert stop.value == ([0, 1], "x")


@scenario()
def constructors_properties_and_decorators(park, i, rng):
    def decorated(f):
        @functools.wraps(f)
        def wrapper(*args, **kwargs):
            park()
            return f(*args, **kwargs)

        return wrapper

    class Thing:
        def __init__(self, value):
            park()
            self._value = value

        def __init_subclass__(cls, **kwargs):
            park()
            super().__init_subclass__(**kwargs)

        def __set_name__(self, owner, name):
            park()

        @property
        def value(self):
            park()
            return self._value

        @functools.cached_property
        def cached(self):
            park()
            return self._value

        @classmethod
        @decorated
        def make(cls, value):
            return cls(value)

        def __getattr__(self, name):
            park()
            return name

    t = Thing.make(i)
    assert (t.value, t.cached, t.missing) == (i, i, "missing")
    match t:
        case Thing(value=v):
            assert v == i


@scenario()
def operators(park, i, rng):
    class Thing:
        def __init__(self, value):
            self._value = value

        def __call__(self, *args):
            park()
            return args

        def __eq__(self, other):
            park()
            return self._value == other._value

        def __hash__(self):
            park()
            return hash(self._value)

        def __format__(self, spec):
            park()
            return spec

        def __iter__(self):
            park()
            return iter((1, 2))

        def __index__(self):
            park()
            return 3

        def __bool__(self):
            park()
            return True

        def __contains__(self, x):
            park()
            return True

        def __lt__(self, other):
            park()
            return self._value < other._value

        def __add__(self, other):
            park()
            return Thing(self._value + other)

        def __getitem__(self, key):
            park()
            return key

        def __delitem__(self, key):
            park()

    t = Thing(i)
    assert t(1) == (1,)
    assert {t: 1}[Thing(i)] == 1
    assert (f"{t:spec}", list(t), [0, 1, 2, 3][t]) == ("spec", [1, 2], 3)
    assert (bool(t), 7 in t) == (True, True)
    assert t < t + 1
    assert sorted([t + 1, t])[0] is t
    assert t["k"] == "k"
    del t["k"]
    assert functools.partial(t, 1)(2) == (1, 2)
