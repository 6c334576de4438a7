"""golib.patch: switching it on and off, and time.sleep, its smallest group."""

from __future__ import annotations

import sys
import threading
import time

import golib
import pytest

from measures import threads
from support import Boom, eventually, on_thread, parked, run_ok, under_run

original_sleep = time.sleep


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    golib.unpatch()


def test_nothing_is_patched_before_it_is_asked_for():
    assert golib.patched() == frozenset()


def test_groups_add_up_and_unpatch_takes_all_back():
    golib.patch("time")
    golib.patch("time")
    assert golib.patched() == {"time"}
    golib.unpatch()
    golib.unpatch()
    assert golib.patched() == frozenset()


@pytest.mark.parametrize("wrong", ["sockets", "", "thread", "TIME"])
def test_an_unknown_group_is_a_value_error_and_changes_nothing(wrong):
    with pytest.raises(ValueError, match="unknown group"):
        golib.patch("time", wrong)
    assert golib.patched() == frozenset()


def test_what_was_bound_before_parks_too():
    golib.patch("time")
    g = golib.go(original_sleep, 60)
    parked(g, "sleep")
    g.cancel()
    with pytest.raises(golib.Cancelled):
        g.join()


def test_many_sleepers_need_no_threads():
    golib.patch("time")
    before, ms = threading.active_count(), threads()
    with golib.scope() as s:
        for _ in range(500):
            s.go(time.sleep, 0.05)
        assert threads() < ms + 60
    assert threading.active_count() == before


def test_timeout_leaves_a_sleep_at_once():
    golib.patch("time")

    def body():
        began = time.monotonic()
        with pytest.raises(TimeoutError), golib.timeout(0.01):
            time.sleep(60)
        return time.monotonic() - began

    assert golib.go(body).join() < 5
    assert under_run(body) < 5


def test_a_sleep_lasts_as_long_as_it_was_told():
    golib.patch("time")

    def body(seconds):
        began = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - began

    for seconds in (0.01, 1e-6, 0.001):
        assert golib.go(body, seconds).join() >= seconds


class Index:
    def __init__(self) -> None:
        self.asked = 0

    def __index__(self):
        self.asked += 1
        return 0


class Fails:
    def __index__(self):
        raise Boom


@pytest.mark.parametrize(
    "argument",
    [
        -1,
        -0.5,
        float("nan"),
        float("inf"),
        10**30,
        -(10**30),
        1e300,
        "1",
        None,
        [],
        True,
        0,
        0.0,
        Fails(),
        9.3e9,
    ],
    ids=repr,
)
def test_every_argument_has_the_same_outcome_as_without(argument):
    def outcome():
        try:
            return time.sleep(argument) if argument is not True else time.sleep(False)
        except Exception as error:
            return type(error), str(error)

    def with_events():
        events: list[object] = []
        hooks.append(events)
        try:
            return outcome(), events
        finally:
            hooks.remove(events)

    plain = on_thread(with_events)
    golib.patch("time")
    assert golib.go(with_events).join() == plain
    assert on_thread(with_events) == plain


hooks: list[list[object]] = []
sys.addaudithook(
    lambda name, args: [h.append((name, args)) for h in hooks] if name == "time.sleep" else None
)


def test_an_object_is_converted_once():
    golib.patch("time")
    index = Index()
    golib.go(time.sleep, index).join()
    assert index.asked == 1


def test_a_goroutine_parked_in_a_patched_call_finishes_it_after_unpatch():
    golib.patch("time")
    gs = [golib.go(time.sleep, 0.3) for _ in range(20)]
    for g in gs:
        parked(g, "sleep")
    golib.unpatch()
    for g in gs:
        assert g.join() is None


def test_patch_and_unpatch_from_many_threads_while_goroutines_sleep():
    stop = threading.Event()

    def toggles():
        while not stop.is_set():
            golib.patch("time")
            golib.unpatch()

    threads = [threading.Thread(target=toggles) for _ in range(3)]
    for thread in threads:
        thread.start()
    with golib.scope() as s:
        for _ in range(50):
            s.go(lambda: [time.sleep(0.0001) for _ in range(20)])
    stop.set()
    for thread in threads:
        thread.join()


def test_ctrl_c_leaves_a_sleep_of_main():
    out = run_ok("""
        import os, signal, threading, time, golib
        golib.patch("time")
        def main():
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                print("left")
        golib.run(main)
    """)
    assert out == "left\n"


def test_the_interpreter_ends_with_goroutines_parked_in_patched_calls():
    run_ok("""
        import time, golib
        golib.patch()
        gs = [golib.go(time.sleep, 60) for _ in range(10)]
        golib.sleep(0.05)
    """)


def test_a_forked_child_sleeps_on():
    out = run_ok("""
        import os, time, golib
        golib.patch("time")
        def main():
            pid = os.fork()
            time.sleep(0.01)
            if pid:
                print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        golib.run(main)
    """)
    assert out == "0\n"


def test_in_a_subinterpreter_the_original_runs():
    pytest.importorskip("_testcapi")
    import _testcapi

    golib.patch("time")
    assert golib.go(_testcapi.run_in_subinterp, "import time; time.sleep(0.01)").join() == 0


def test_the_call_is_made_where_a_migrating_goroutine_resumes():
    golib.patch("time")

    def body():
        for _ in range(50):
            time.sleep(0.0005)
        return True

    gs = [golib.go(body) for _ in range(20)]
    eventually(lambda: all(g.done() for g in gs))
    assert all(g.join() for g in gs)
