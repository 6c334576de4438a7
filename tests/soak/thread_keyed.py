"""Scenarios: state that C code keeps per OS thread, held or used across parks."""

from __future__ import annotations

import io
import multiprocessing
import warnings

import golib
from storm import scenario, take_twice

try:
    import sqlite3
except ImportError:  # test_soak.py skips what needs it
    sqlite3 = None

_context = multiprocessing.get_context("fork")
_recursive, _plain, _condition = _context.RLock(), _context.Lock(), _context.Condition()
_value = _context.Value("i", 0)
_inside = {"recursive": 0, "plain": 0, "raw": 0, "warning": 0}


def _alone(name, park):
    _inside[name] += 1
    assert _inside[name] == 1
    park()
    _inside[name] -= 1
    assert _inside[name] == 0


@scenario()
def process_locks(park, i, rng):
    with _recursive:
        _alone("recursive", golib.gosched if i % 4 == 0 else int)
        with _recursive:
            assert _recursive._semlock._is_mine()
    park()
    with _plain:
        _alone("plain", golib.gosched if i % 4 == 0 else int)
        assert _plain._semlock._is_mine()
    park()
    with _value.get_lock():
        before = _value.value
        golib.gosched()
        _value.value = before + 1
    with _condition:
        _condition.notify_all()
        _condition.wait(0.001)


@scenario(goroutines=100)
def private_process_locks(park, i, rng):
    mine = _context.RLock()
    take_twice(mine, park)
    assert not mine._semlock._is_mine()
    park()


class Raw(io.RawIOBase):
    """Parks inside each read, where one goroutine is at a time."""

    def readable(self):
        return True

    def readinto(self, buffer):
        _alone("raw", golib.gosched)
        buffer[:2] = b"x\n"
        return 2


_shared = io.BufferedReader(Raw())


@scenario()
def a_shared_buffered_file(park, i, rng):
    read = rng.choice([lambda: _shared.readline(), lambda: _shared.read(2), lambda: next(_shared)])
    assert read()
    park()


_showing = False


def _show(*args, **options):
    golib.gosched()


@scenario()
def warnings_whose_display_waits(park, i, rng):
    global _showing
    if not _showing:
        _showing = True
        warnings.simplefilter("always")
        warnings.showwarning = _show
    warnings.warn("from Python", stacklevel=1)
    park()
    bool.__invert__(True)
    park()


class Connection(sqlite3.Connection if sqlite3 else object):
    pass


@scenario()
def connections_made_without_connect(park, i, rng):
    keep = i % 3 == 0
    con = Connection(":memory:", check_same_thread=True) if keep else Connection(":memory:")
    for n in range(3):
        park()
        assert con.execute("select ?", (n,)).fetchone() == (n,)
    con.close()
    park()


@scenario(goroutines=30, tolerance=1000)
def tcl_interpreters(park, i, rng):
    import tkinter

    tcl = tkinter.Tcl()
    park()
    tcl.createcommand("call", lambda value: park() or value)
    for n in range(3):
        assert tcl.eval(f"call {n}") == str(n)
        park()
    tcl.tk.deletecommand("call")
    del tcl
    park()
