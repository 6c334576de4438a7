"""Goroutines as threading shows them: names, current_thread(), enumerate(), excepthook."""

from __future__ import annotations

import _thread
import logging
import re
import threading

import golib
import pytest
from golib import Chan, go

from support import Boom, Tracked, eventually, fail, parked, run_ok, run_script


def thread_name():
    return threading.current_thread().name


def test_the_current_thread_has_the_goroutines_name():
    assert golib.spawn(thread_name, name="crawler").join() == "crawler"
    g = go(thread_name)
    assert g.join() == g.name == "thread_name"
    assert golib.run(thread_name) == "MainThread"


def test_the_name_can_be_set_on_either():
    def task():
        mine = threading.current_thread()
        mine.name = "first"
        names = [golib._golib._current().name]
        golib._golib._current().name = "second"
        names += [mine.name, thread_name()]
        mine.name = 3
        return [*names, golib._golib._current().name]

    g = go(task)
    assert g.join() == ["first", "second", "second", "3"]
    assert g.name == "3"


def test_the_name_can_be_set_by_others():
    gate = Chan()
    g = parked(
        golib.spawn(lambda: (threading.current_thread(), gate.recv(), thread_name())[2], name="a")
    )
    (thread,) = [t for t in threading.enumerate() if t.name == "a"]
    g.name = "b"
    assert thread.name == "b"
    thread.name = "c"
    gate.send(None)
    assert g.join() == g.name == "c"


def test_an_os_threads_name_is_left_alone():
    def task():
        with golib.runtime.lock_os_thread():
            before = os_thread_name()
            threading.current_thread().name = "of a goroutine"
            return before == os_thread_name()

    def os_thread_name():
        with open("/proc/thread-self/comm") as file:
            return file.read()

    assert go(task).join()


def test_log_records_have_the_goroutines_name():
    records = []

    class Handler(logging.Handler):
        def emit(self, record):
            records.append((record.threadName, record.thread == threading.get_ident()))

    logger = logging.Logger("test")
    logger.addHandler(Handler())
    golib.spawn(logger.warning, ("x",), name="crawler").join()
    assert records == [("crawler", True)]


def test_a_goroutine_looks_like_a_started_daemon_thread():
    def task():
        mine = threading.current_thread()
        assert mine is threading.current_thread()
        assert isinstance(mine, threading.Thread)
        assert (mine.ident, mine.native_id) == (threading.get_ident(), threading.get_native_id())
        assert mine.daemon
        assert mine.is_alive()
        assert mine in threading.enumerate()
        assert re.fullmatch(r"<GoroutineThread\(crawler, started daemon \d+\)>", repr(mine))
        with pytest.raises(RuntimeError):
            mine.start()
        with pytest.raises(RuntimeError):
            mine.join()
        with pytest.raises(RuntimeError):
            mine.daemon = False
        mine.anything = 1  # debuggers do
        return mine

    thread = golib.spawn(task, name="crawler").join()
    eventually(lambda: thread not in threading.enumerate())
    assert not thread.is_alive()
    assert re.fullmatch(r"<GoroutineThread\(crawler, stopped daemon \d+\)>", repr(thread))
    thread.join()
    assert thread.name == "crawler"
    thread.name = "x"


def test_it_can_be_joined_as_a_thread(place):
    gate, threads = Chan(), Chan(1)
    g = go(lambda: (threads.send(threading.current_thread()), gate.recv()))
    thread = threads.recv()
    place(thread.join, 0.001)
    assert thread.is_alive()
    gate.send(None)
    place(thread.join)
    assert g.done()
    assert not thread.is_alive()


def test_enumerate_has_those_who_asked_and_no_goroutine_afterwards():
    before = threading.enumerate()
    gate = Chan()
    silent = [parked(go(gate.recv)) for _ in range(5)]
    asked = [
        parked(golib.spawn(lambda: (thread_name(), gate.recv()), name="asked")) for _ in range(5)
    ]
    assert [t.name for t in threading.enumerate()[len(before) :]] == ["asked"] * 5
    assert threading.active_count() == len(before) + 5
    for _ in range(10):
        gate.send(None)
    for g in silent + asked:
        g.join()
    eventually(lambda: threading.enumerate() == before)


def test_what_asks_at_the_goroutines_end_leaves_no_entry_either():
    class Late:
        def __del__(self):
            names.append(thread_name())

    def task(late):
        local.late = late
        threading.current_thread()

    names, local = [], threading.local()
    before = threading.enumerate()
    for i in range(20):
        golib.spawn(task, (Late(),), name=f"late-{i}").join()
        golib.spawn(lambda late: None, (Late(),), name="argument").join()
    eventually(lambda: len(names) == 40)
    assert {f"late-{i}" for i in range(20)} | {"argument"} == set(names)
    eventually(lambda: threading.enumerate() == before)


def test_a_thread_object_does_not_keep_the_goroutines_value():
    def task():
        return threading.current_thread(), Tracked()

    thread = go(task).join()[0]
    eventually(lambda: Tracked.alive == 0)
    assert not thread.is_alive()


def test_an_ordinary_thread_that_threading_does_not_know_is_still_a_dummy():
    names = Chan(1)
    go(int).join()
    _thread.start_new_thread(lambda: names.send(threading.current_thread()), ())
    thread = names.recv()
    assert type(thread) is threading._DummyThread
    assert thread.name.startswith("Dummy-")


def test_a_child_forked_by_a_goroutine_has_a_main_thread():
    out = run_ok(
        """
        import golib, os, threading
        def task():
            threading.current_thread()
            pid = os.fork()
            if pid == 0:
                mine = threading.current_thread()
                ok = mine is threading.main_thread() and mine.name == "MainThread"
                ok = ok and threading.enumerate() == [mine] and not mine.daemon
                t = threading.Thread(target=int)
                t.start()
                t.join()
                os._exit(0 if ok else 1)
            return os.waitpid(pid, 0)[1]
        gate = golib.Chan()
        others = [golib.go(lambda: (threading.current_thread(), gate.recv())) for _ in range(3)]
        print(golib.go(task).join())
        """
    )
    assert out == "0\n"


# -- excepthook --------------------------------------------------------------------------------


@pytest.fixture
def hooked(monkeypatch):
    """The argument that a replaced threading.excepthook was given."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    golib.set_panic_handler(None)
    return seen


def test_a_replaced_excepthook_gets_uncaught_exceptions(hooked):
    def task():
        threads.send(threading.current_thread())
        fail(Boom("x"))

    threads = Chan(1)
    golib.spawn(task, name="crawler")
    thread = threads.recv()
    eventually(lambda: hooked)
    (args,) = hooked
    assert isinstance(args, threading.ExceptHookArgs)
    assert args.exc_type is Boom
    assert str(args.exc_value) == "x"
    assert args.exc_traceback.tb_frame.f_code.co_name == "task"
    assert args.thread is thread


def test_also_of_a_goroutine_that_never_asked_who_it_is(hooked):
    golib.spawn(fail, name="crawler")
    eventually(lambda: hooked)
    assert hooked[0].thread.name == "crawler"
    assert isinstance(hooked[0].thread, threading.Thread)


def test_also_if_the_handle_dies_elsewhere(hooked):
    g = golib.spawn(fail, name="crawler")
    eventually(g.done)
    del g
    eventually(lambda: hooked)
    assert hooked[0].thread.name == "crawler"


def test_a_panic_handler_comes_first(hooked, panics):
    mine = []
    golib.set_panic_handler(lambda g, error: mine.append(g.name))
    golib.spawn(fail, name="crawler")
    eventually(lambda: mine == ["crawler"])
    assert hooked == []


def test_what_was_read_or_is_no_failure_does_not_reach_it(hooked):
    assert isinstance(go(fail).exception(), Boom)
    go(fail, SystemExit(3))
    go(golib.goexit)
    go(Chan().recv).cancel()
    eventually(lambda: golib.num_goroutine() == 0)
    assert hooked == []


def test_a_hook_that_fails_is_reported_with_the_exception():
    result = run_script(
        """
        import golib, threading
        def hook(args):
            raise KeyError("broken hook")
        threading.excepthook = hook
        def task():
            raise ValueError("lost")
        golib.go(task)
        while golib.num_goroutine():
            golib.sleep(0.001)
        """
    )
    assert result.rc == 0
    assert "threading.excepthook failed" in result.err
    assert "broken hook" in result.err
    assert "ValueError: lost" in result.err


def test_the_default_hook_leaves_the_report_to_golib():
    result = run_script(
        """
        import golib, threading
        threading.excepthook = threading.__excepthook__
        def task():
            raise ValueError("lost")
        golib.go(task)
        while golib.num_goroutine():
            golib.sleep(0.001)
        """
    )
    assert result.err.startswith("goroutine ")


def test_pytest_warns_of_an_uncaught_exception(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import golib\n"
        "def fail():\n"
        "    raise ValueError('lost')\n"
        "def test_it():\n"
        "    golib.go(fail)\n"
        "    while golib.num_goroutine():\n"
        "        golib.sleep(0.001)\n"
    )
    result = run_script(
        "import pytest, sys\n"
        f"sys.exit(pytest.main(['-p', 'no:golib', '-p', 'no:cacheprovider', '-q', {str(tmp_path)!r}]))"
    )
    assert result.rc == 0
    assert "PytestUnhandledThreadExceptionWarning: Exception in thread fail" in result.out
