"""Trace and profile functions: new goroutines get threading's, run()'s main goroutine its caller's."""

import sys
import threading

import golib
import pytest
from golib import Chan, go

from support import Boom, parked, run_ok

KINDS = {
    "trace": (threading.settrace, sys.settrace, sys.gettrace),
    "profile": (threading.setprofile, sys.setprofile, sys.getprofile),
}


@pytest.fixture(params=list(KINDS))
def kind(request):
    """The functions of one kind; the fixture undoes whatever a test sets."""
    for_threads, set_mine, mine = KINDS[request.param]
    before = mine()
    yield KINDS[request.param]
    set_mine(before)
    for_threads(None)


class Calls:
    """A function that records the names of the functions that are called."""

    def __init__(self):
        self.names = []

    def __call__(self, frame, event, arg):
        if event == "call":
            self.names.append(frame.f_code.co_name)
        return self


def leaf():
    return 1


def work():
    return leaf()


def test_a_new_goroutine_gets_the_functions_of_new_threads(kind):
    for_threads, _, mine = kind
    calls = Calls()
    for_threads(calls)
    assert go(lambda: mine() is calls).join()
    assert go(work).join() == 1
    assert calls.names[-2:] == ["work", "leaf"]


def test_so_does_one_that_a_goroutine_starts_or_a_scope(kind):
    for_threads, _, mine = kind
    calls = Calls()
    for_threads(calls)
    assert go(lambda: go(lambda: mine() is calls).join()).join()
    with golib.scope() as s:
        g = s.go(lambda: mine() is calls)
    assert g.join()
    with golib.aio.Executor(1) as executor:
        assert executor.submit(lambda: mine() is calls).result(20)


def test_none_gets_them_after_they_were_taken_back(kind):
    for_threads, _, mine = kind
    for _ in range(3):
        for_threads(Calls())
        assert go(mine).join() is not None
        for_threads(None)
        assert [go(mine).join() for _ in range(3)] == [None] * 3


def test_one_that_runs_keeps_its_own(kind):
    for_threads, _, mine = kind
    gate = Chan()
    g = parked(go(lambda: (gate.recv(), mine())[1]))
    for_threads(Calls())
    gate.send(None)
    assert g.join() is None


def test_a_goroutine_does_not_leave_its_functions_to_the_next(kind):
    _, set_mine, mine = kind
    assert go(lambda: set_mine(Calls())).join() is None
    assert [go(mine).join() for _ in range(3)] == [None] * 3


def test_the_main_goroutine_goes_on_with_those_of_its_caller(kind):
    _, set_mine, mine = kind
    calls = Calls()
    set_mine(calls)
    inside = golib.run(lambda: (mine() is calls, work()))
    after = mine() is calls
    set_mine(None)
    assert (inside, after) == ((True, 1), True)
    assert calls.names[-3:] == ["<lambda>", "work", "leaf"]


def test_on_any_thread(kind):
    _, set_mine, mine = kind
    seen = []

    def thread():
        calls = Calls()
        set_mine(calls)
        seen.append(golib.run(lambda: mine() is calls))
        seen.append(mine() is calls)
        set_mine(None)

    t = threading.Thread(target=thread)
    t.start()
    t.join()
    assert seen == [True, True]


def test_the_main_goroutine_does_not_get_those_of_threads(kind):
    for_threads, _, mine = kind
    for_threads(Calls())
    before = mine()
    assert golib.run(mine) is before


def test_what_main_sets_stays_with_its_caller(kind):
    _, set_mine, mine = kind
    first, second = Calls(), Calls()
    before = mine()
    set_mine(first)
    golib.run(set_mine, second)
    assert mine() is second
    golib.run(set_mine, None)
    assert mine() is None
    golib.run(set_mine, second)
    assert mine() is second
    set_mine(before)


def test_also_if_main_fails(kind):
    _, set_mine, mine = kind
    calls = Calls()

    def main():
        set_mine(calls)
        raise Boom

    with pytest.raises(Boom):
        golib.run(main)
    assert mine() is calls


def test_other_goroutines_do_not_inherit_from_main(kind):
    _, set_mine, mine = kind
    set_mine(Calls())
    assert golib.run(lambda: go(mine).join()) is None


def test_run_in_a_trace_function_is_not_traced():
    calls, seen = Calls(), []

    def tracer(frame, event, arg):
        if event == "call" and frame.f_code.co_name == "leaf":
            seen.append(golib.run(sys.gettrace))
        return

    before = sys.gettrace()
    sys.settrace(tracer)
    leaf()
    sys.settrace(before)
    assert seen == [None]
    assert calls.names == []


def test_the_thread_is_in_threadings_table_when_the_function_is_first_called(kind):
    # Debuggers look themselves up there.
    for_threads, _, _ = kind
    seen = []

    def note(frame, event, arg):
        seen.append(threading.get_ident() in threading._active)

    for_threads(note)
    go(leaf).join()
    assert seen
    assert all(seen)


def test_golibs_own_goroutines_do_not_show():
    out = run_ok(
        """
        import golib, threading
        threading.settrace(lambda frame, event, arg: None)
        ran = golib.Chan(1)
        golib.time.after_func(0.001, ran.send, "ran")
        with golib.timeout(0.01, raises=False):
            golib.sleep(60)
        golib.go(ran.send, "also").join() if ran.recv() == "ran" else None
        print(len(threading.enumerate()), threading.enumerate()[0].name)
        """
    )
    assert out == "1 MainThread\n"


def test_a_function_that_raises_is_reported_and_the_goroutine_runs():
    out = run_ok(
        """
        import sys, threading, golib
        real = sys.settrace
        def broken(function):
            raise ValueError("broken")
        threading.settrace(print)
        sys.settrace = broken
        sys.unraisablehook = lambda args: print(args.exc_value)
        print(golib.go(int, 7).join() if False else golib.go(lambda: 7).join())
        """
    )
    assert out == "broken\n7\n"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
@pytest.mark.parametrize("name", ["settrace", "setprofile"])
def test_all_threads_means_goroutines_too(name):
    # In a script: it reaches all that the test session has, too.
    out = run_ok(
        f"""
        import sys, threading, golib
        get = sys.get{name.removeprefix("set")}
        set_all = threading.{name}_all_threads
        gate, seen = golib.Chan(), []
        for_all = lambda frame, event, arg: None
        def parked():
            gate.recv()
            return get() is for_all
        for _ in range(5):
            golib.go(int).join()     # states for the pool
        g = golib.go(parked)
        golib.gosched()
        set_all(for_all)
        gate.send(None)
        print(g.join(), golib.go(lambda: get() is for_all).join())
        set_all(None)
        print(golib.go(get).join(), get())
        getattr(sys, "_{name}allthreads")(for_all)   # reaches states in the pool
        sys.{name}(None)
        print([golib.go(get).join() for _ in range(6)])
        """
    )
    assert out == f"True True\nNone None\n{[None] * 6}\n"


def test_functions_in_c_are_inherited_too():
    # cProfile's before 3.12; from then on it needs no function.
    out = run_ok(
        """
        import cProfile, pstats, golib
        def leaf(): pass
        def main():
            for _ in range(3):
                leaf()
                golib.sleep(0.001)
        profile = cProfile.Profile()
        profile.enable()
        golib.run(main)
        profile.disable()
        calls = {name: row[0] for (_, _, name), row in pstats.Stats(profile).stats.items()}
        print(calls["main"], calls["leaf"])
        """
    )
    assert out == "1 3\n"


def test_a_forked_child_goes_on_with_its_functions():
    out = run_ok(
        """
        import os, sys, golib
        def tracer(frame, event, arg): return None
        def main():
            pid = os.fork()
            ok = sys.gettrace() is tracer and golib.go(sys.gettrace).join() is None
            if pid:
                return ok and os.waitpid(pid, 0)[1] == 0
            raise SystemExit(0 if ok else 1)
        sys.settrace(tracer)
        print(golib.run(main))
        """
    )
    assert out == "True\n"
