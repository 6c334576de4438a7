"""Thread identity follows the goroutine: get_ident, RLock, current_thread, faulthandler, import locks."""

from __future__ import annotations

import _thread
import logging
import signal
import sys
import textwrap
import threading
import time

import golib
import pytest
from golib import Chan, go, gosched

from support import Thread, eventually, parked, run_ok, run_script


def test_get_ident_is_unique_among_live_goroutines():
    ch, idents = Chan(), Chan(50)

    def task():
        idents.send(threading.get_ident())
        ch.recv()

    gs = [go(task) for _ in range(50)]
    seen = {idents.recv() for _ in range(50)}
    ch.close()
    for g in gs:
        g.exception()
    assert len(seen) == 50
    assert threading.get_ident() not in seen
    assert 0 not in seen


def test_get_ident_is_stable_across_parks():
    def task():
        first = threading.get_ident()
        for _ in range(50):
            gosched()
            if threading.get_ident() != first or _thread.get_ident() != first:
                return False
        golib.sleep(0.001)
        time.sleep(0.001)
        return threading.get_ident() == first

    assert all(g.join() for g in [go(task) for _ in range(20)])


def test_the_main_threads_ident_never_changes():
    before = threading.get_ident()
    go(lambda: 1).join()
    assert threading.get_ident() == before == threading.main_thread().ident
    assert golib.run(threading.get_ident) == before


def test_an_ordinary_thread_keeps_its_ident():
    def body():
        before = threading.get_ident()
        go(int).join()
        gosched()
        return before == threading.get_ident() == threading.current_thread().ident

    assert Thread(body).join() is True


def test_current_thread_is_the_goroutines_own_and_stable():
    def task():
        first = threading.current_thread()
        for _ in range(10):
            gosched()
        return threading.current_thread() is first and first.ident == threading.get_ident()

    assert all(g.join() for g in [go(task) for _ in range(10)])


def test_a_finished_goroutine_leaves_no_dummy_thread():
    before = threading.active_count()
    for g in [go(threading.current_thread) for _ in range(20)]:
        g.join()
    eventually(lambda: threading.active_count() == before)
    assert len(threading.enumerate()) == before


def test_a_reused_ident_does_not_find_its_predecessors_thread():
    def task(i):
        thread = threading.current_thread()
        assert not hasattr(thread, "mark")
        thread.mark = i
        return True

    for i in range(200):
        assert go(task, i).join()


# -- RLock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [threading.RLock, threading._PyRLock], ids=["C", "Python"])
def test_an_rlock_excludes_goroutines_from_one_another(kind):
    lock, inside, most = kind(), 0, 0

    def task():
        nonlocal inside, most
        for _ in range(20):
            with lock, lock:
                inside += 1
                most = max(most, inside)
                gosched()
                inside -= 1

    for g in [go(task) for _ in range(10)]:
        g.join()
    assert most == 1


def test_an_rlock_excludes_goroutines_and_threads():
    lock, inside, most = threading.RLock(), 0, 0

    def task():
        nonlocal inside, most
        for _ in range(50):
            with lock:
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    tasks = [go(task) for _ in range(5)] + [Thread(task) for _ in range(3)]
    for t in tasks:
        t.join()
    assert most == 1


def test_an_rlock_is_recursive_in_its_goroutine_across_parks():
    lock = threading.RLock()

    def task():
        with lock:
            gosched()
            with lock:
                golib.sleep(0.001)
            gosched()
            return lock._is_owned()

    assert all(g.join() for g in [go(task) for _ in range(10)])
    assert lock._is_owned() is False


def test_another_goroutine_cannot_release_an_rlock():
    lock, gate = threading.RLock(), Chan()

    def hold():
        with lock:
            gate.recv()

    g = parked(go(hold))
    assert isinstance(go(lock.release).exception(), RuntimeError)
    assert go(lock.acquire, False).join() is False
    gate.send(1)
    g.join()


def test_condition_over_its_rlock_works_between_goroutines():
    condition, items, got = threading.Condition(), [], []

    def consume():
        with condition:
            while not items:
                condition.wait(20)
            got.append(items.pop())

    consumers = [go(consume) for _ in range(5)]

    def produce():
        for i in range(5):
            with condition:
                items.append(i)
                condition.notify()
            gosched()

    go(produce).join()
    for g in consumers:
        g.join()
    assert sorted(got) == list(range(5))


def test_logging_from_many_goroutines_keeps_lines_whole():
    class Memory(logging.Handler):
        def __init__(self):
            super().__init__()
            self.depth = self.most = 0
            self.lines = []

        def emit(self, record):
            self.depth += 1
            self.most = max(self.most, self.depth)
            gosched()  # parks while it holds the handler's lock
            self.lines.append(self.format(record))
            self.depth -= 1

    logger, handler = logging.Logger("golib-test"), Memory()
    logger.addHandler(handler)

    def task(i):
        for j in range(5):
            logger.warning("%d %d", i, j)

    for g in [go(task, i) for i in range(20)]:
        g.join()
    assert handler.most == 1
    assert sorted(handler.lines) == sorted(f"{i} {j}" for i in range(20) for j in range(5))
    logging._handlers.pop(handler.name, None)
    logging._handlerList[:] = [r for r in logging._handlerList if r() is not handler]


def test_a_plain_lock_held_by_one_goroutine_is_waited_for_by_others():
    lock, order = threading.Lock(), []

    def task(i):
        with lock:
            order.append(i)
            golib.sleep(0.001)
            order.append(i)

    for g in [go(task, i) for i in range(10)]:
        g.join()
    assert order[::2] == order[1::2]


def test_queue_and_event_and_semaphore_of_the_standard_library_work():
    import queue

    q, ready, slots = queue.Queue(maxsize=2), threading.Event(), threading.Semaphore(2)

    def produce():
        ready.wait()
        for i in range(20):
            q.put(i)
        q.put(None)

    def consume():
        with slots:
            return list(iter(q.get, None))

    producer, consumer = go(produce), go(consume)
    ready.set()
    assert consumer.join() == list(range(20))
    producer.join()


# -- imports -----------------------------------------------------------------------------------


def test_many_goroutines_may_import_one_module(tmp_path, monkeypatch):
    (tmp_path / "golib_slow_module.py").write_text(
        textwrap.dedent(
            """
            import golib
            half = True
            golib.sleep(0.01)
            whole = True
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def task():
        import golib_slow_module

        return golib_slow_module.whole

    try:
        assert all(g.join() for g in [go(task) for _ in range(30)])
    finally:
        sys.modules.pop("golib_slow_module", None)


def test_goroutines_may_import_each_others_modules_in_a_circle(tmp_path, monkeypatch):
    for a, b in (("golib_ring_a", "golib_ring_b"), ("golib_ring_b", "golib_ring_a")):
        (tmp_path / f"{a}.py").write_text(
            f"import golib\ngolib.sleep(0.005)\nimport {b}\ndone = 1\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))

    def task(name):
        return __import__(name).done

    try:
        gs = [go(task, n) for n in ("golib_ring_a", "golib_ring_b")]
        assert [g.join() for g in gs] == [1, 1]
    finally:
        for name in ("golib_ring_a", "golib_ring_b"):
            sys.modules.pop(name, None)


def test_an_extension_module_that_cannot_be_loaded_says_why(tmp_path, monkeypatch):
    (tmp_path / "golib_broken.so").write_text("no ELF")
    monkeypatch.syspath_prepend(str(tmp_path))
    go(int).join()  # from now on golib sees extension modules come
    with pytest.raises(ImportError, match=r"golib_broken\.so"):
        import golib_broken  # noqa: F401


# -- others who look at threads ----------------------------------------------------------------


def test_current_frames_shows_goroutines_under_their_idents():
    idents, gate = Chan(), Chan()

    def parked_in_here():
        idents.send(threading.get_ident())
        gate.recv()

    g = go(parked_in_here)
    ident = idents.recv()
    parked(g, "chan receive")
    assert sys._current_frames()[ident].f_code.co_name == "parked_in_here"
    gate.send(1)
    g.join()


def test_faulthandler_shows_goroutines():
    # In a process of its own: faulthandler prints a hundred threads at most, and idle goroutines'
    # states, kept for the next ones, count.
    result = run_script(
        """
        import faulthandler, sys
        from golib import Chan, go
        from support import parked
        gate = Chan()
        def parked_in_here():
            gate.recv()
        g = parked(go(parked_in_here))
        faulthandler.dump_traceback(sys.stdout, all_threads=True)
        gate.send(1)
        g.join()
        """
    )
    assert "parked_in_here" in result.out, result


@pytest.mark.parametrize("enabled", ["first", "later"])
def test_a_segmentation_fault_in_a_goroutine_reaches_faulthandler(enabled):
    """golib's handler is for stacks that overflow; what faults elsewhere is none of its business."""
    result = run_script(
        f"""
        import ctypes, faulthandler, golib
        if {enabled == "later"}:
            golib.go(int).join()
        faulthandler.enable()
        def crash_here():
            ctypes.string_at(0)
        golib.go(crash_here).join()
        """
    )
    assert (result.rc, result.out) == (-signal.SIGSEGV, ""), result
    assert result.err.startswith("Fatal Python error: Segmentation fault\n"), result
    assert "in crash_here" in result.err, result


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_setprofile_all_threads_shows_the_calls_of_goroutines():
    out = run_ok(
        """
        import threading
        from golib import Chan, go
        from support import parked
        seen = []
        def profile(frame, event, arg):
            if frame.f_code.co_name == "called":
                seen.append((event, threading.get_ident()))
        def called():
            return threading.get_ident()
        def task(ch):
            ch.recv()
            return called()
        ch = Chan()
        gs = [parked(go(task, ch), "chan receive") for _ in range(3)]
        threading.setprofile_all_threads(profile)
        for _ in gs:
            ch.send(1)
        idents = [g.join() for g in gs]
        threading.setprofile_all_threads(None)
        print({(e, i) for e, i in seen if e in ("call", "return")}
              == {(e, i) for e in ("call", "return") for i in idents}, len(set(idents)))
        """
    )
    assert out == "True 3\n"


def test_an_asynchronous_exception_reaches_the_goroutine():
    import ctypes

    idents, ch = Chan(1), Chan()

    class Stop(Exception):
        pass

    def task():
        idents.send(threading.get_ident())
        ch.recv()
        while True:
            gosched()

    g = go(task)
    ident = idents.recv()
    set_async_exc = ctypes.pythonapi.PyThreadState_SetAsyncExc
    assert set_async_exc(ctypes.c_ulong(ident), ctypes.py_object(Stop)) == 1
    ch.send(1)
    assert isinstance(g.exception(20), Stop)


def test_pthread_kill_of_a_running_goroutines_ident_reaches_its_thread():
    out = run_ok(
        """
        import golib, signal, threading
        from support import eventually
        def main():
            seen = []
            signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
            def task():
                signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            golib.go(task).join()
            eventually(lambda: seen)
            print(seen)
        golib.run(main)
        """
    )
    assert out == "[1]\n"


def test_pthread_kill_of_a_parked_or_dead_goroutine_is_a_process_lookup_error():
    idents, gate = Chan(), Chan()

    def task():
        idents.send(threading.get_ident())
        gate.recv()

    g = go(task)
    ident = idents.recv()
    parked(g, "chan receive")
    try:
        with pytest.raises(ProcessLookupError):
            signal.pthread_kill(ident, 0)
    finally:
        gate.send(1)
        g.join()


def test_pthread_getcpuclockid_of_a_goroutine_does_not_crash():
    result = run_script(
        """
        import golib, threading, time
        def task():
            clock = time.pthread_getcpuclockid(threading.get_ident())
            return time.clock_gettime(clock) >= 0
        print(golib.go(task).join(), time.pthread_getcpuclockid(threading.get_ident()) != 0)
        """
    )
    assert result == (0, "True True\n", "")


def test_pthread_kill_of_the_main_thread_is_unchanged():
    golib.go(int).join()
    assert signal.pthread_kill(threading.get_ident(), 0) is None


def test_pthread_sigmask_in_a_goroutine_does_no_harm_to_others():
    def task():
        return signal.pthread_sigmask(signal.SIG_BLOCK, []) is not None

    assert all(g.join() for g in [go(task) for _ in range(5)])


def test_threads_can_be_started_and_joined_by_goroutines():
    def task(i):
        seen = []
        thread = threading.Thread(target=seen.append, args=(i,))
        thread.start()
        thread.join()
        return seen == [i]

    assert all(g.join() for g in [go(task, i) for i in range(10)])


def test_a_thread_pool_works_inside_goroutines():
    from concurrent.futures import ThreadPoolExecutor

    def task(i):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(abs, range(-i, 0)))

    assert [g.join() for g in [go(task, i) for i in range(5)]] == [0, 1, 3, 6, 10]


def test_a_warning_filter_and_a_redirected_stdout_survive_parks(capsys):
    import contextlib
    import io

    def task():
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            print("inside")
        return out.getvalue()

    assert go(task).join() == "inside\n"
