"""Thread identity follows the goroutine: get_ident, RLock, current_thread, import locks."""

from __future__ import annotations

import _thread
import logging
import sys
import textwrap
import threading
import time

import golib
import pytest
from golib import Chan, go, gosched

from measures import most_inside
from support import Thread, eventually, parked


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
    assert most_inside(kind(), depth=2) == 1


def test_an_rlock_excludes_goroutines_and_threads():
    assert most_inside(threading.RLock(), 5, 50, threads=3) == 1


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
    go(int).join()  # from now on golib notices imports of extension modules
    with pytest.raises(ImportError, match=r"golib_broken\.so"):
        import golib_broken  # noqa: F401
