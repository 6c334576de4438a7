"""Exceptions as objects: copies and pickles; what an ended goroutine's repr tells."""

from __future__ import annotations

import copy
import importlib
import pickle
import re
import signal

import golib
import golib.testing
import pytest
from golib import Chan, go

from support import Boom, fail


class MyDeadlock(golib.Deadlock):
    """A program's own, with state of its own."""

    def __init__(self, message="mine", dump="dump", extra=None):
        super().__init__(message, dump)
        self.extra = extra


class MyClosed(golib.ChanClosed):
    def __init__(self, name):
        super().__init__(f"channel {name} is closed")
        self.name = name

    def __reduce__(self):
        return type(self), (self.name,), self.__dict__


def received(what):
    error = golib.signal.SignalReceived(what)
    error.add_note("a note")
    return error


def of_a_deadlock():
    try:
        golib.run(Chan().recv)
    except golib.Deadlock as error:
        return error
    raise AssertionError


ERRORS = {
    "Deadlock": lambda: golib.Deadlock(dump="goroutine 1 [running]:"),
    "Deadlock of its own": of_a_deadlock,
    "a subclass with state": lambda: MyDeadlock(extra=7),
    "a subclass of another shape": lambda: MyClosed("jobs"),
    "GoroutineLeak": lambda: golib.testing.GoroutineLeak("1 goroutine left behind:"),
    "UncaughtInGoroutine": lambda: golib.testing.UncaughtInGoroutine("text"),
    "GoroutineWarning": lambda: golib.testing.GoroutineWarning("text"),
    "SignalReceived": lambda: received(signal.SIGTERM),
    "SignalReceived by number": lambda: received(42),
    **{
        f"{name}({args})": lambda name=name, args=args: getattr(golib, name)(*args)
        for name in ("ChanClosed", "SendOnClosed", "CloseOfClosed", "Cancelled", "Goexit")
        for args in ((), ("text",), ("two", 2))
    },
    **{
        f"{name}({args})": lambda name=name, args=args: getattr(golib.context, name)(*args)
        for name in ("Canceled", "DeadlineExceeded")
        for args in ((), ("text",))
    },
}

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {n}": lambda error, n=n: pickle.loads(pickle.dumps(error, n))
        for n in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("name", list(ERRORS))
def test_a_copy_is_like_its_original(name, way):
    error = ERRORS[name]()
    other = WAYS[way](WAYS[way](error))
    assert type(other) is type(error)
    assert (str(other), repr(other), other.args) == (str(error), repr(error), error.args)
    assert other.__dict__ == error.__dict__


def test_a_copy_of_a_leak_leaves_the_goroutines_to_their_process():
    leak = golib.testing.GoroutineLeak("text", [go(int)])
    for way in WAYS.values():
        assert (str(way(leak)), way(leak).goroutines) == ("text", [])
    leak.goroutines.pop().join()


def test_every_exception_is_tried_here():
    tried = {type(make()) for make in ERRORS.values()}
    for module in ("golib", "golib.context", "golib.signal", "golib.testing"):
        for value in vars(importlib.import_module(module)).values():
            if isinstance(value, type) and issubclass(value, BaseException):
                assert value in tried, value


# -- how a goroutine ended ---------------------------------------------------------------------


def test_the_repr_of_an_ended_goroutine_tells_how_it_ended():
    def ended(fn, *args):
        g = golib.spawn(fn, args, name="crawl")
        g.exception()
        assert g.status() == "dead"
        return re.sub(r"\d+", "7", repr(g))

    assert ended(int) == "<goroutine 7 [dead] crawl>"
    assert ended(golib.goexit) == "<goroutine 7 [dead] crawl>"
    assert ended(int, "x") == "<goroutine 7 [dead: raised ValueError] crawl>"
    assert ended(fail) == "<goroutine 7 [dead: raised Boom] crawl>"
    assert ended(fail, SystemExit) == "<goroutine 7 [dead: raised SystemExit] crawl>"
    assert ended(fail, golib.ChanClosed) == "<goroutine 7 [dead: raised ChanClosed] crawl>"
    assert issubclass(Boom, Exception)


def test_the_repr_of_a_cancelled_goroutine_says_so():
    g = go(Chan().recv)
    g.cancel()
    assert isinstance(g.exception(), golib.Cancelled)
    assert re.fullmatch(r"<goroutine \d+ \[dead: cancelled\] Chan.recv>", repr(g))
