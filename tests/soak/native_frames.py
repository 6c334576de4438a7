"""Scenarios: C code of CPython and of foreign libraries between a goroutine's entry and its park."""

from __future__ import annotations

import ctypes
import functools
import gc
import io
import itertools
import json
import operator
import pickle
import re
import weakref
import xml.parsers.expat
from typing import Any

import golib
from golib import Chan, go
from storm import park_anywhere, scenario

try:
    import sqlite3
except ImportError:  # test_soak.py skips what needs it
    sqlite3 = None


@scenario()
def sqlite3_functions(park, i, rng):
    con = sqlite3.connect(":memory:")

    def twice(x):
        park()
        return 2 * x

    class Total:
        def __init__(self):
            self.total = 0

        def step(self, x):
            park()
            self.total += x

        def finalize(self):
            park()
            return self.total

    def collate(a, b):
        park()
        return (a > b) - (a < b)

    con.create_function("twice", 1, twice)
    con.create_aggregate("total_of", 1, Total)
    con.create_collation("parking", collate)
    con.set_authorizer(lambda *a: park() or sqlite3.SQLITE_OK)
    con.execute("create table t (x)")
    con.executemany("insert into t values (?)", ((park() or k,) for k in range(4)))
    assert con.execute("select twice(x) from t where x = 3").fetchone() == (6,)
    assert con.execute("select total_of(twice(x)) from t").fetchone() == (12,)
    rows = con.execute("select cast(x as text) c from t order by c collate parking desc")
    assert [r[0] for r in rows] == ["3", "2", "1", "0"]
    con.set_authorizer(None)
    with con:
        con.execute("delete from t")
        park()
    con.close()


@scenario()
def one_sqlite3_connection_for_many(park, i, rng):
    with _shared_lock:
        assert _shared.execute("select parking(?)", (i,)).fetchone() == (i + 1,)


def _parking_function(x):
    golib.gosched()
    return x + 1


if sqlite3:
    _shared = sqlite3.connect(":memory:", check_same_thread=False)
    _shared.create_function("parking", 1, _parking_function)
_shared_lock = golib.sync.Mutex()

_libc = ctypes.CDLL(None)
_COMPARE = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)
)


@scenario()
def ctypes_callbacks(park, i, rng):
    values = [rng.randrange(100) for _ in range(6)]
    array = (ctypes.c_int * 6)(*values)

    def compare(a, b):
        park()
        return a[0] - b[0]

    _libc.qsort(array, 6, ctypes.sizeof(ctypes.c_int), _COMPARE(compare))
    assert list(array) == sorted(values)

    depth = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    callbacks: list[Any] = []
    callbacks.append(depth(lambda n: park() or (callbacks[0](n - 1) + 1 if n else 0)))
    assert callbacks[0](4) == 4
    callbacks.clear()


@scenario()
def sort_keys(park, i, rng):
    def key(x):
        park()
        return -x

    assert sorted(range(5), key=key) == [4, 3, 2, 1, 0]
    assert max(range(4), key=key) == 0
    assert min(range(4), key=key) == 3
    numbers = [3, 1, 2]
    numbers.sort(key=functools.cmp_to_key(lambda a, b: park() or a - b))
    assert numbers == [1, 2, 3]
    assert sorted([2, 1], key=lambda x: sorted([x, 0], key=key)) == [1, 2]


@scenario()
def map_filter_reduce(park, i, rng):
    assert list(map(lambda x, y: park() or x + y, range(4), range(4))) == [0, 2, 4, 6]
    assert list(filter(lambda x: park() or x % 2, range(4))) == [1, 3]
    assert functools.reduce(lambda a, b: park() or a + b, range(5)) == 10
    assert list(itertools.accumulate(range(4), lambda a, b: park() or a + b)) == [0, 1, 3, 6]
    assert any(park() or x == 2 for x in range(4))
    assert sum(x for x in (park() or k for k in range(4))) == 6
    assert dict(park() or (k, k) for k in range(3)) == {0: 0, 1: 1, 2: 2}
    assert "".join(park() or str(k) for k in range(3)) == "012"
    assert bytes(park() or k for k in range(3)) == b"\0\1\2"
    assert {k: list(g) for k, g in itertools.groupby([1, 1, 2], lambda x: park() or x)} == {
        1: [1, 1],
        2: [2],
    }


@scenario()
def destructors(park, i, rng):
    seen: list[Any] = []

    class Last:
        def __init__(self, name):
            self.name = name

        def __del__(self):
            park()
            seen.append(self.name)

    last = Last("counting")
    del last
    assert seen == ["counting"]
    nested = [Last("list"), {"k": Last("dict")}]
    nested.clear()
    assert sorted(seen[1:]) == ["dict", "list"]

    class Referent:
        pass

    referent = Referent()
    ref = weakref.ref(referent, lambda r: park() or seen.append("callback"))
    weakref.finalize(referent, lambda: park() or seen.append("finalize"))
    del referent
    assert ref() is None
    assert sorted(seen[3:]) == ["callback", "finalize"]


@scenario()
def collections_of_cycles(park, i, rng):
    class Cycle:
        def __init__(self):
            self.me = self

        def __del__(self):
            park_anywhere()

    for _ in range(2):
        Cycle()
        park()
    gc.collect()
    park()
    gc.collect(0)


@scenario()
def json_hooks(park, i, rng):
    class Mine:
        pass

    text = json.dumps({"a": [1, Mine(), {"b": Mine()}]}, default=lambda o: park() or "mine")
    assert text == '{"a": [1, "mine", {"b": "mine"}]}'
    assert json.loads(text, object_hook=lambda d: park() or d)["a"][1] == "mine"
    assert json.loads("[1.5, 2]", parse_float=lambda s: park() or float(s)) == [1.5, 2]


class Reduced:
    """Pickled and unpickled through functions that park; module level, so that pickle finds it."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        golib.gosched()
        return Reduced, (self.value,), {"more": 1}

    def __setstate__(self, state):
        golib.gosched()
        self.state = state


@scenario()
def pickle_hooks(park, i, rng):
    copy = pickle.loads(pickle.dumps(Reduced(i)))
    assert (copy.value, copy.state) == (i, {"more": 1})
    park()

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            park()

    out = io.BytesIO()
    Pickler(out).dump({"k": [1, 2]})
    assert pickle.loads(out.getvalue()) == {"k": [1, 2]}


@scenario()
def regular_expressions_and_strings(park, i, rng):
    assert re.sub(r"\d", lambda m: park() or str(int(m[0]) + 1), "1a2b3") == "2a3b4"

    class Shown:
        def __str__(self):
            park()
            return "s"

        def __repr__(self):
            park()
            return "r"

        def __length_hint__(self):
            park()
            return 3

        def __fspath__(self):
            park()
            return "p"

    s = Shown()
    old_style = "%s %r" % (s, s)  # noqa: UP031
    assert (old_style, f"{s}{s!r}", f"{s}", repr([s])) == ("s r", "sr", "s", "[r]")
    assert operator.length_hint(s) == 3
    assert str.translate("ab", type("T", (), {"__getitem__": lambda _, k: park() or "x"})()) == "xx"


class Raw(io.RawIOBase):
    """A raw file in Python under C's buffered ones."""

    def __init__(self, park):
        self.park, self.left, self.written = park, 100, 0

    def readable(self):
        return True

    def writable(self):
        return True

    def readinto(self, buffer):
        self.park()
        n = min(self.left, 7, len(buffer))
        buffer[:n] = b"x" * n
        self.left -= n
        return n

    def write(self, data):
        self.park()
        self.written += len(data)
        return len(data)


@scenario()
def buffered_files_over_python(park, i, rng):
    raw = Raw(park)
    assert len(io.BufferedReader(raw, 16).read()) == 100
    raw = Raw(park)
    with io.TextIOWrapper(io.BufferedWriter(raw, 8)) as file:
        file.write("text " * 10)
        park()
        file.flush()
        assert raw.written == 50


@scenario()
def expat_callbacks(park, i, rng):
    names = []
    parser = xml.parsers.expat.ParserCreate()
    parser.StartElementHandler = lambda name, attrs: park() or names.append(name)
    parser.CharacterDataHandler = lambda data: park()
    parser.Parse("<a><b>text</b><c/></a>", True)
    assert names == ["a", "b", "c"]


# -- C that calls golib's own functions, without a Python frame between ------------------------


def _feed(values):
    ch = Chan()

    def feed():
        with ch:
            for v in values:
                ch.send(v)

    return ch, go(feed)


@scenario()
def builtins_of_ours_called_by_c(park, i, rng):
    ch, g = _feed(range(5))
    assert list(ch) == [0, 1, 2, 3, 4]
    g.join()
    park()

    ch, g = _feed([3, 1, 2, None, 7])
    assert list(iter(ch.recv, None)) == [3, 1, 2]
    assert ch.recv() == 7
    g.join()
    park()

    ch, g = _feed([3, 1, 2])
    assert sorted("abc", key=lambda _: ch.recv()) == ["b", "c", "a"]
    g.join()
    park()

    # sorted() passes each element as recv's timeout.
    ch, g = _feed([3, 1])
    assert sorted([60, 50], key=ch.recv) == [50, 60]
    g.join()
    assert [v.value for v in iter(_full(i).try_recv, None)] == [i]


def _full(value):
    ch = Chan(1)
    ch.send(value)
    return ch


class Sized:
    """Its `len()` switches goroutines."""

    def __init__(self):
        self.n = 2

    def __len__(self):
        golib.gosched()
        return self.n


class Yields:
    """Its special methods are golib's own."""

    __len__ = staticmethod(golib.gosched)
    __hash__ = staticmethod(golib.gosched)
    __del__ = staticmethod(golib.gosched)


@scenario()
def special_methods_that_are_ours(park, i, rng):
    assert len(Sized()) == 2
    for call in (len, hash, bool):
        try:
            call(Yields())
        except TypeError:
            park()
        else:
            raise AssertionError("gosched() returned None, which is no number")
    assert list(map(golib.sleep, [0, 0.0001])) == [None, None]


@scenario()
def callables_in_c_as_goroutines(park, i, rng):
    con = sqlite3.connect(":memory:")
    con.create_function("parking", 1, _parking_function)
    g = go(con.execute, "select parking(?)", (i,))
    assert g.join().fetchone() == (i + 1,)
    park()
    con.close()
    assert go(sorted, [1, 2, 3], key=lambda x: park_in_other() or -x).join() == [3, 2, 1]
    assert go(functools.partial(sorted, key=park_in_other_with), [2, 1]).join() == [1, 2]
    assert go(functools.partial(list, map(park_in_other_with, [1, 2]))).join() == [1, 2]
    ch = Chan()
    g = go(ch.send, i)
    assert ch.recv() == i
    g.join()
    wg = golib.sync.WaitGroup()
    wg.add(3)
    for _ in range(3):
        go(wg.done)
    wg.wait()
    park()
    assert go(list, (park_in_other() or k for k in range(3))).join() == [0, 1, 2]
    assert go(golib.gosched).join() is None
    assert go(operator.methodcaller("upper"), "x").join() == "X"


def park_in_other():
    park_anywhere()


def park_in_other_with(x):
    park_anywhere()
    return x
