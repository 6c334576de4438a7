"""The surface: every name is there, documented, typed, and leaves by one door."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pathlib
import subprocess
import sys

import golib
import pytest

NAMES = {
    "golib": """
        go spawn run main gosched sleep goexit num_goroutine gomaxprocs set_panic_handler blocking
        Goroutine Chan SendChan RecvChan channel Sender Receiver nil recv send Case select Select
        Selected Recv ChanClosed SendOnClosed CloseOfClosed Cancelled Goexit Deadlock
        scope timeout shield
        """,
    "golib.sync": """Mutex RWMutex WaitGroup Cond Once once once_value Semaphore Event Barrier Pool Map
        SingleFlight ErrGroup""",
    "golib.context": """background todo with_cancel with_cancel_cause with_timeout with_deadline with_value
        without_cancel after_func cause current Context Canceled DeadlineExceeded""",
    "golib.time": "after tick Timer after_func Ticker",
    "golib.testing": "no_leaks GoroutineLeak GoroutineWarning UncaughtInGoroutine",
    "golib.signal": "notify stop notify_context ignore reset",
    "golib.aio": "to_goroutine run_async Executor",
    "golib.runtime": "goroutines print_stacks stack lock_os_thread stats set_max_threads",
}

METHODS = {
    "Goroutine": "id name join result exception done cancel status stack __await__",
    "Chan": """send recv recv_ok try_send try_recv close closed cap __len__ __iter__ __enter__
        __exit__ sender receiver __class_getitem__ asend arecv __aiter__ __anext__""",
    "SendChan": "send try_send close asend",
    "RecvChan": "recv recv_ok try_recv __iter__ arecv __aiter__",
    "Sender": "send try_send close clone asend",
    "Receiver": "recv recv_ok try_recv __iter__ arecv __aiter__",
    "Scope": "go try_go cancel ctx __enter__ __exit__",
    "Select": "wait __setitem__",
}

SYNC_METHODS = {
    "WaitGroup": "add done wait go",
    "Mutex": "lock unlock try_lock acquire release __enter__ __exit__",
}


def modules():
    return {name: importlib.import_module(name) for name in NAMES}


ALL = [(m, n) for m, names in NAMES.items() for n in names.split()]
ALL_METHODS = [("golib", c, n) for c, names in METHODS.items() for n in names.split()] + [
    ("golib.sync", c, n) for c, names in SYNC_METHODS.items() for n in names.split()
]


@pytest.mark.parametrize(("module", "name"), ALL)
def test_the_name_is_exported(module, name):
    assert hasattr(modules()[module], name)
    assert name in modules()[module].__all__


@pytest.mark.parametrize(("module", "name"), ALL)
def test_the_name_is_documented(module, name):
    doc = inspect.getdoc(getattr(modules()[module], name))
    assert doc, name
    first = doc.splitlines()[0]
    assert len(first) > 10
    assert len(first) <= 120


@pytest.mark.parametrize(("module", "cls", "name"), ALL_METHODS)
def test_the_method_is_there_and_documented(module, cls, name):
    attribute = inspect.getattr_static(getattr(modules()[module], cls), name)
    assert getattr(getattr(modules()[module], cls), name) is not None
    if not name.startswith("__"):
        assert inspect.getdoc(attribute), f"{cls}.{name}"


@pytest.mark.parametrize(("module", "name"), ALL)
def test_the_name_says_where_it_is_from(module, name):
    if name == "nil":
        return
    value = getattr(modules()[module], name)
    assert value.__module__.partition(".")[0] == "golib"
    assert value.__name__ == name
    assert value.__qualname__ == name


@pytest.mark.parametrize("module", list(NAMES))
def test_all_names_only_what_exists(module):
    mod = modules()[module]
    assert len(set(mod.__all__)) == len(mod.__all__)
    for name in mod.__all__:
        assert hasattr(mod, name), name


def test_import_star_gives_the_public_names():
    space: dict[str, object] = {}
    exec("from golib import *", space)
    assert set(NAMES["golib"].split()) <= set(space)


def test_the_version_is_there():
    assert isinstance(golib.__version__, str)
    assert golib.__version__[0].isdigit()


def test_the_package_is_typed():
    here = pathlib.Path(golib.__file__).parent
    assert (here / "py.typed").exists()
    assert list(here.glob("*.pyi"))


def public_callables():
    """Every public function, class and method, by name."""
    for module, names in NAMES.items():
        for name in [*names.split(), *modules()[module].__all__]:
            value = getattr(modules()[module], name)
            if callable(value):
                yield f"{module}.{name}", value
            if not inspect.isclass(value) or issubclass(value, BaseException):
                continue
            for method, found in inspect.getmembers(value):
                own = any(method in vars(c) for c in value.__mro__ if "golib" in c.__module__)
                if callable(found) and own and (not method.startswith("_") or method in DUNDERS):
                    yield f"{module}.{name}.{method}", found


DUNDERS = ("__enter__", "__exit__", "__call__", "__await__", "__aiter__", "__anext__")
CALLABLES = dict(public_callables())


@pytest.mark.parametrize("name", list(CALLABLES))
def test_the_signature_can_be_read(name):
    signature = inspect.signature(CALLABLES[name])
    for parameter in signature.parameters.values():
        assert not parameter.name.startswith("_") or parameter.name == "_", signature


def test_signatures_are_those_of_the_documentation():
    shown = {
        "golib.go": "(fn, /, *args, **kwargs)",
        "golib.spawn": "(fn, args=(), kwargs=None, *, name=None, stack_size=None)",
        "golib.select": "(*cases, default=False, timeout=None, biased=False)",
        "golib.sleep": "(seconds, /)",
        "golib.Chan": "(capacity=0)",
        "golib.Chan.recv": "(self, /, timeout=None)",
    }
    for name, text in shown.items():
        assert str(inspect.signature(CALLABLES[name])).replace("self, /,", "self,") == text.replace(
            "self, /,", "self,"
        ), name


@pytest.mark.parametrize(
    ("child", "parent"),
    [
        ("ChanClosed", Exception),
        ("SendOnClosed", Exception),
        ("CloseOfClosed", Exception),
        ("Deadlock", RuntimeError),
        ("Cancelled", BaseException),
        ("Goexit", BaseException),
    ],
)
def test_exceptions_have_their_parents(child, parent):
    assert issubclass(getattr(golib, child), parent)


@pytest.mark.parametrize("name", ["Cancelled", "Goexit"])
def test_what_ends_a_goroutine_is_no_exception(name):
    assert not issubclass(getattr(golib, name), Exception)


def test_recv_and_selected_are_named_tuples():
    assert golib.Recv._fields == ("value", "ok")
    assert golib.Selected._fields == ("index", "value", "ok")


TYPED = """
from typing import Any, assert_type
import golib
from golib import Chan, Goroutine, Scope, Selected

def f(x: int, *, y: str = "") -> float:
    return 1.0

g = golib.go(f, 1, y="a")
assert_type(g, Goroutine[float])
assert_type(g.join(), float)
assert_type(golib.run(f, 1), float)
ch = Chan[int](8)
assert_type(ch.recv(), int)
assert_type([v for v in ch], list[int])
ch.send(1, timeout=0.5)
result = ch.try_recv()
if result is not None:
    assert_type(result.ok, bool)
assert_type(ch.receiver.recv(), int)
assert_type(golib.select(golib.recv(ch), timeout=1.0), Selected)
assert_type(golib.select(ch, ch.receiver, default=True), Selected[int])
assert_type(golib.select(ch, golib.Chan[str](), golib.send(ch, 1)).value, Any)
index, value, ok = golib.select(ch, golib.Chan[int](1), timeout=1.0)
assert_type(value, int)
with golib.scope() as s:
    assert_type(s, Scope)
    assert_type(s.go(f, 1), Goroutine[float])
assert_type(golib.blocking(f, 1), float)

@golib.main
def program(n: int) -> str:
    return str(n)

assert_type(program(1), str)
"""

WRONG = """
import golib
def f(x: int) -> None: ...
golib.go(f, "text")
golib.Chan[int]().send("text")
golib.Chan[int]().receiver.send(1)
golib.Chan[int]().sender.recv()
"""


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="needs mypy")
def test_the_types_are_what_a_user_expects(tmp_path):
    (tmp_path / "right.py").write_text(TYPED)
    (tmp_path / "wrong.py").write_text(WRONG)

    def mypy(name):
        command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=80)

    right = mypy("right.py")
    assert right.returncode == 0, right.stdout
    wrong = mypy("wrong.py")
    lines = {line.split(":")[1] for line in wrong.stdout.splitlines() if ": error:" in line}
    assert lines == {"4", "5", "6", "7"}, wrong.stdout
