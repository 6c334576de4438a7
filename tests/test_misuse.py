"""Wrong use raises (or works), and never crashes or hangs: finalizers, signal handlers, odd callers."""

from __future__ import annotations

import copy
import gc
import pickle

import golib
import pytest
from golib import Chan, Select, go, recv, send
from golib.sync import Mutex, WaitGroup

from support import eventually, in_goroutine, parked, run_ok, run_script

# -- finalizers --------------------------------------------------------------------------------

IN_A_FINALIZER = {
    "try_send": lambda: Chan(1).try_send(1),
    "try_recv": lambda: Chan(1).try_recv(),
    "close": lambda: Chan().close(),
    "go": lambda: go(int).done(),
    "gosched": lambda: golib.gosched(),
    "sleep": lambda: golib.sleep(0.001),
    "timed recv": lambda: Chan().recv(0.001),
    "select": lambda: golib.select(Chan(), default=True),
    "timed select": lambda: golib.select(Chan(), timeout=0.001),
    "run": lambda: golib.run(int),
    "join": lambda: go(int).join(),
    "num_goroutine": lambda: golib.num_goroutine(),
    "dump": lambda: golib.runtime.stack(all=True),
    "mutex": lambda: Mutex().lock(),
    "wait": lambda: WaitGroup().wait(),
}


@pytest.mark.parametrize("how", ["counting", "collector"])
@pytest.mark.parametrize("name", list(IN_A_FINALIZER))
def test_golib_calls_in_a_finalizer_work_or_raise(name, how, place):
    seen = []

    class Last:
        def __del__(self):
            try:
                IN_A_FINALIZER[name]()
            except Exception as error:
                seen.append(error)
            else:
                seen.append(None)

    def body():
        last = Last()
        if how == "collector":
            last.me = last
        del last
        gc.collect()

    place(body)
    eventually(lambda: len(seen) == 1)
    assert not isinstance(seen[0], AttributeError | NameError | SystemError), seen
    seen.clear()


def test_a_finalizer_that_runs_inside_a_receive_may_use_the_channel():
    ch, deaths = Chan(4), []

    class Last:
        def __del__(self):
            deaths.append(ch.try_send("from del"))

    for _ in range(4):
        ch.send(Last())
    for _ in range(4):
        ch.recv()  # the value dies at once and sends
    assert deaths == [True] * 4
    assert [ch.recv() for _ in range(4)] == ["from del"] * 4


# -- signal handlers ---------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["golib.run(main)", "main()"], ids=["run", "main thread"])
@pytest.mark.parametrize(
    "call",
    [
        "ch.try_send(1)",
        "ch.try_recv()",
        "golib.go(int)",
        "golib.gosched()",
        "golib.sleep(0.001)",
        "golib.Chan().recv(0.001)",
        "golib.select(golib.Chan(), timeout=0.001)",
        "golib.run(int)",
        "golib.go(int).join()",
        "golib.runtime.stack(all=True)",
        "golib.sync.Mutex().lock()",
    ],
)
def test_golib_calls_in_a_signal_handler_work_or_raise(call, start):
    out = run_ok(
        f"""
        import golib, signal
        ch = golib.Chan(100)
        seen = []
        def handler(signum, frame):
            try:
                {call}
            except (TimeoutError, RuntimeError):
                pass
            seen.append(1)
        def main():
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            busy = golib.Chan()
            g = golib.go(lambda: [busy.send(i) for i in range(200)] and None)
            for i in range(200):
                assert busy.recv(60) == i
                golib.sleep(0.0005)
            while len(seen) < 3:
                golib.sleep(0.001)
            signal.setitimer(signal.ITIMER_REAL, 0)
            g.join()
            print("ok")
        {start}
        """
    )
    assert out == "ok\n"


# -- pickling and copying ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        Chan,
        lambda: Chan(1).sender,
        lambda: Chan(1).receiver,
        lambda: golib.channel()[0],
        lambda: golib.channel()[1],
        Mutex,
        WaitGroup,
        lambda: Select(recv(Chan())),
    ],
)
def test_live_objects_can_be_neither_pickled_nor_copied(make):
    for attempt in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(make())


def test_a_handle_cannot_be_pickled():
    g = go(int)
    with pytest.raises(TypeError):
        pickle.dumps(g)
    g.join()


def test_results_and_exceptions_can_be_pickled():
    for value in (golib.Selected(0, 1, True), golib.Recv(1, True), golib.ChanClosed("x")):
        again = pickle.loads(pickle.dumps(value))
        assert type(again) is type(value)
        assert repr(again) == repr(value)


# -- odd callers -------------------------------------------------------------------------------


def test_new_without_init_is_an_error_or_a_usable_object():
    for cls in (Chan, Mutex, WaitGroup):
        obj = cls.__new__(cls)
        assert repr(obj)
        del obj


def test_methods_called_on_a_wrong_object_are_type_errors():
    ch = Chan(1)
    for method in (Chan.send, Chan.recv, Chan.try_send, Mutex.lock, WaitGroup.wait):
        with pytest.raises(TypeError):
            method(1)
        with pytest.raises(TypeError):
            method()
    assert len(ch) == 0


def test_attributes_cannot_be_deleted_or_invented():
    ch = Chan()
    with pytest.raises(AttributeError):
        del ch.cap
    with pytest.raises(AttributeError):
        ch.nonsense = 1


def test_a_goroutine_that_joins_itself_does_not_hang():
    mine = Chan(1)
    g = go(lambda: mine.recv().join(0.05))
    mine.send(g)
    assert isinstance(g.exception(), TimeoutError | RuntimeError)


def test_an_equality_that_parks_is_allowed():
    class Slow:
        def __eq__(self, other):
            golib.gosched()
            return True

        __hash__ = None

    assert in_goroutine(lambda: [Slow()] == [Slow()] and Slow() in [1]) is True


def test_a_channel_as_its_own_case_value():
    ch = Chan(1)
    golib.select(send(ch, ch))
    assert ch.recv() is ch


def test_huge_numbers_of_arguments_are_passed():
    assert go(lambda *a: len(a), *range(10_000)).join() == 10_000


def test_a_goroutine_that_deletes_its_own_handle_runs_on():
    handles, ch = [], Chan(1)

    def task():
        handles.clear()
        gc.collect()
        golib.gosched()
        ch.send("alive")

    handles.append(go(task))
    assert ch.recv() == "alive"


def test_a_panic_handler_may_be_swapped_while_goroutines_fail():
    seen = []
    for i in range(50):
        golib.set_panic_handler(lambda g, e, i=i: seen.append(i))
        go(lambda: 1 / 0)
        if i % 7 == 0:
            golib.gosched()
    eventually(lambda: len(seen) == 50)


@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("before", ["pass", "import golib; golib.go(int).join()"])
def test_import_in_a_subinterpreter_is_refused_in_words(kind, before):
    result = run_script(
        f"""
        import sys
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            import _interpreters as interpreters
        {before}
        if sys.version_info >= (3, 13):
            other = interpreters.create({kind!r})
        else:
            other = interpreters.create(isolated={kind!r} == "isolated")
        try:
            error = interpreters.run_string(other, "import golib")
            print(getattr(error, "formatted", error))
        except interpreters.RunFailedError as error:
            print(error)
        interpreters.destroy(other)
        import golib
        print(golib.go(str, "alive").join())
        """
    )
    assert result.rc == 0, result
    said, alive = result.out.splitlines()
    assert alive == "alive", result
    assert "ImportError" in said, result
    assert "interpreter" in said, result


def test_reloading_the_module_keeps_it_working():
    out = run_ok(
        """
        import importlib, golib
        ch = golib.Chan(1)
        importlib.reload(golib)
        golib.go(ch.send, 1).join()
        print(ch.recv())
        """
    )
    assert out == "1\n"


def test_closing_stdin_stdout_and_stderr_is_survived():
    result = run_script(
        """
        import golib, os
        os.close(0), os.close(1), os.close(2)
        golib.go(int).join()
        golib.run(lambda: golib.sleep(0.01))
        os._exit(0)
        """
    )
    assert result.rc == 0


def test_a_deep_recursion_of_joins_is_fine():
    def nest(n):
        return 0 if n == 0 else go(nest, n - 1).join() + 1

    assert nest(300) == 300


def test_a_parked_goroutine_in_a_finalizer_keeps_the_others_going():
    gate, seen = Chan(), []

    class Last:
        def __del__(self):
            seen.append(gate.recv())

    def task():
        Last()
        return "ended"

    g = parked(go(task))
    assert in_goroutine(lambda: "others go on") == "others go on"
    gate.send("x")
    assert g.join() == "ended"
    assert seen == ["x"]
