"""golib.patch(thread=True): threads of Python's that are goroutines."""

from __future__ import annotations

import _thread
import contextvars
import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import golib
import pytest

from support import run_ok, run_script


@pytest.fixture(autouse=True)
def patched():
    golib.patch("lock", "queue", "time", thread=True)
    yield
    golib.unpatch()


def run_in_thread(fn):
    got = []
    thread = threading.Thread(target=lambda: got.append(fn()))
    thread.start()
    thread.join()
    return got[0]


def test_a_thread_is_a_goroutine_and_counts():
    before, go_on = golib.num_goroutine(), threading.Event()
    threads = [threading.Thread(target=go_on.wait) for _ in range(3)]
    for t in threads:
        t.start()
    assert golib.num_goroutine() == before + 3
    assert all(t.is_alive() for t in threads) and set(threads) <= set(threading.enumerate())
    go_on.set()
    for t in threads:
        t.join()
    assert not any(t.is_alive() for t in threads) and not set(threads) & set(threading.enumerate())


def test_ten_thousand_threads_need_a_handful_of_the_systems():
    before = golib.runtime.stats()["threads"]  # idle ones of other tests end after a while
    go_on, done = threading.Event(), []
    threads = [
        threading.Thread(target=lambda i=i: (go_on.wait(), done.append(i))) for i in range(10_000)
    ]
    try:
        for t in threads:
            t.start()
        assert golib.runtime.stats()["threads"] < before + 50
    finally:
        go_on.set()
    for t in threads:
        t.join()
    assert len(done) == 10_000


def test_a_thread_made_before_the_patch_is_a_goroutine():
    golib.unpatch()
    results = []
    made_before = threading.Thread(target=lambda: results.append(golib._golib._in_goroutine()))
    golib.patch("lock", thread=True)
    made_before.start()
    made_before.join()
    assert results == [True] and not made_before.is_alive()


def test_who_a_thread_is():
    def who():
        me = threading.current_thread()
        return (
            me.ident == threading.get_ident(),
            me.name,
            me.native_id is not None,
            me.daemon,
            threading.main_thread() is me,
        )

    got = []
    thread = threading.Thread(target=lambda: got.append(who()), name="Worker", daemon=True)
    thread.start()
    thread.join()
    assert got == [(True, "Worker", True, True, False)]
    assert thread.ident is not None


def test_locals_and_context_variables_begin_empty():
    local, var = threading.local(), contextvars.ContextVar("var", default=0)
    local.x = 1
    var.set(1)
    assert run_in_thread(lambda: (hasattr(local, "x"), var.get())) == (False, 0)


def test_start_new_thread_returns_the_ident():
    got = queue.SimpleQueue()
    ident = _thread.start_new_thread(
        lambda a, b: got.put((threading.get_ident(), a, b)), (1,), {"b": 2}
    )
    assert got.get() == (ident, 1, 2)


@pytest.mark.parametrize("arguments", [(1, ()), (print, []), (print, (), 3), (print,), ()])
def test_wrong_arguments_are_refused_as_without_the_patch(arguments):
    with pytest.raises(TypeError) as with_patch:
        _thread.start_new_thread(*arguments)
    golib.unpatch()
    with pytest.raises(TypeError) as without:
        _thread.start_new_thread(*arguments)
    assert str(with_patch.value) == str(without.value)


def test_join_has_a_timeout_and_refuses_itself():
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait)
    with pytest.raises(RuntimeError):
        thread.join()
    thread.start()
    with pytest.raises(RuntimeError):
        thread.start()
    began = time.monotonic()
    thread.join(0.02)
    thread.join(-1)
    assert time.monotonic() - began >= 0.02 and thread.is_alive()
    go_on.set()
    thread.join()
    thread.join()

    def join_me():
        with pytest.raises(RuntimeError, match="join current thread"):
            threading.current_thread().join()
        return True

    assert run_in_thread(join_me)


def test_a_pool_runs_on_goroutines():
    with ThreadPoolExecutor(50) as pool:
        began = time.monotonic()
        list(pool.map(time.sleep, [0.05] * 50))
        assert all(pool.map(lambda _: golib._golib._in_goroutine(), range(100)))
    assert time.monotonic() - began < 2


def test_a_timer_fires():
    fired = threading.Event()
    timer = threading.Timer(0.01, fired.set)
    timer.start()
    assert fired.wait(20)
    timer.join()


def test_exceptions_reach_the_hooks_of_threading():
    seen = []
    old = threading.excepthook
    threading.excepthook = lambda args: seen.append((args.exc_type, args.thread.name))
    try:
        t = threading.Thread(target=lambda: 1 / 0, name="T")
        t.start()
        t.join()
    finally:
        threading.excepthook = old
    assert seen == [(ZeroDivisionError, "T")]


def test_a_stack_size_is_taken():
    old = threading.stack_size(1 << 20)
    try:
        assert run_in_thread(lambda: 5) == 5
    finally:
        threading.stack_size(old)


def test_after_unpatch_threads_are_threads():
    golib.unpatch()
    assert run_in_thread(golib._golib._in_goroutine) is False


PROGRAM = """
    import sys, threading, time, _thread
    if len(sys.argv) > 1:
        import golib; golib.patch(thread=True)
    go_on = threading.Event()
    def late():
        go_on.wait(); print("late", flush=True)
    def bad():
        raise ValueError("bad")
    threading.Thread(target=late).start()
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    t = threading.Thread(target=bad, name="T"); t.start(); t.join()
    t = threading.Thread(target=sys.exit); t.start(); t.join()
    import atexit; atexit.register(print, "handler")
    threading._register_atexit(go_on.set)
    threading._register_atexit(print, "threading's", flush=True)
    print("main ends", flush=True)
"""


def test_a_process_ends_as_with_threads():
    plain, ours = run_script(PROGRAM), run_script(PROGRAM, "golib")
    assert ours == plain


def test_an_exception_below_start_new_thread_is_reported_as_without():
    code = """
        import sys, time, _thread, threading
        if len(sys.argv) > 1:
            import golib; golib.patch(thread=True)
        def bad(): raise ValueError("bad")
        def leave(): sys.exit(3)
        class Named:
            def __call__(self): bad()
            def __repr__(self): return "<named>"
        _thread.start_new_thread(leave, ())
        _thread.start_new_thread(Named(), ())
        time.sleep(0.2)
    """
    assert run_script(code, "golib") == run_script(code)


def test_a_deadlock_among_threads_is_told():
    out = run_ok("""
        import golib, threading
        golib.patch("lock", thread=True)
        def main():
            a = threading.Lock(); a.acquire()
            t = threading.Thread(target=a.acquire, daemon=True); t.start()
            try: t.join()
            except golib.Deadlock: print("told")
        golib.run(main)
    """)
    assert out == "told\n"


def test_a_thread_that_forks_is_the_childs_main_thread():
    out = run_ok("""
        import golib, os, threading
        golib.patch("lock", thread=True)
        def forks():
            pid = os.fork()
            if pid == 0:
                me = threading.current_thread()
                print(me is threading.main_thread(), threading.active_count(), other.is_alive(), flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
        go_on = threading.Event()
        other = threading.Thread(target=go_on.wait); other.start()
        t = threading.Thread(target=forks); t.start(); t.join()
        go_on.set(); other.join()
    """)
    assert out == "True 1 False\n"
