"""Scenarios: thread-owned locks held across parks, and parks under a lock below C."""

from __future__ import annotations

import io
import logging
import threading
import time

import golib
from golib import go
from storm import scenario, take_twice

_rlock = threading.RLock()
_python_rlock = threading._PyRLock()  # type: ignore[attr-defined]
_lock = threading.Lock()
_condition = threading.Condition()
_inside = {"rlock": 0, "python": 0, "handler": 0, "lock": 0}


@scenario()
def reentrant_locks(park, i, rng):
    for lock, name in ((_rlock, "rlock"), (_python_rlock, "python")):
        with lock:
            _inside[name] += 1
            assert _inside[name] == 1
            if i % 4 == 0:
                golib.gosched()
            with lock:
                assert lock._is_owned()
            _inside[name] -= 1
            assert _inside[name] == 0
    park()


@scenario()
def private_reentrant_locks(park, i, rng):
    mine = threading.RLock()
    take_twice(mine, park)
    assert not mine._is_owned()


class Handler(logging.StreamHandler):
    """Parks while it holds the handler's lock."""

    def emit(self, record):
        _inside["handler"] += 1
        assert _inside["handler"] == 1
        golib.gosched()
        super().emit(record)
        _inside["handler"] -= 1


_logger = logging.Logger("soak")
_stream = io.StringIO()
_logger.addHandler(Handler(_stream))


@scenario()
def log_records(park, i, rng):
    _logger.warning("record %d", i)
    park()
    _stream.seek(0)
    _stream.truncate()


@scenario()
def a_plain_lock_around_a_sort_key(park, i, rng):
    def key(x):
        golib.gosched()
        return -x

    with _lock:
        _inside["lock"] += 1
        assert _inside["lock"] == 1
        assert sorted([1, 2], key=key) == [2, 1]
        _inside["lock"] -= 1
    park()


@scenario()
def a_plain_lock_under_a_sort_key(park, i, rng):
    def key(x):
        with _lock:
            golib.gosched()
        return -x

    assert sorted([1, 2], key=key) == [2, 1]
    park()


@scenario()
def conditions(park, i, rng):
    with _condition:
        _condition.notify_all()
        _condition.wait(0.001)
    park()


@scenario()
def threads_seen_by_goroutines(park, i, rng):
    me = threading.current_thread()
    me.mark = i
    park()
    assert threading.current_thread() is me
    assert me.mark == i
    assert me.ident == threading.get_ident()
    assert me.is_alive()


@scenario()
def blocking_calls_between_parks(park, i, rng):
    for _ in range(3):
        park()
        time.sleep(0.0003)
    golib.blocking(time.sleep, 0.0003)


@scenario()
def locked_to_a_thread(park, i, rng):
    with golib.runtime.lock_os_thread():
        native = threading.get_native_id()
        for _ in range(4):
            park()
            assert threading.get_native_id() == native
    park()


@scenario()
def goroutines_of_goroutines(park, i, rng):
    def child(k):
        park_once()
        return k

    gs = [go(child, k) for k in range(5)]
    park()
    assert [g.join() for g in gs] == list(range(5))
    assert golib.run(lambda: park() or i) == i


def park_once():
    golib.gosched()
