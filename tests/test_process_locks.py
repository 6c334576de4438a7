"""Locks of multiprocessing in goroutines: each owner is a goroutine, as it is a thread in plain programs."""

from __future__ import annotations

import multiprocessing
import textwrap

import pytest
from golib import Chan, go, gosched

from measures import most_inside
from support import MIGRATE, Thread, parked, run_ok

#: Its locks have no names and need no tracker process.
FORK = multiprocessing.get_context("fork")
#: multiprocessing keeps the memory of the first of each, and its descriptor.
_KEPT = FORK.Value("i"), FORK.Barrier(2)


KINDS = {
    "RLock": FORK.RLock,
    "Lock": FORK.Lock,
    "Condition": FORK.Condition,
    "Condition over Lock": lambda: FORK.Condition(FORK.Lock()),
    "Value": lambda: FORK.Value("i").get_lock(),
    "Array": lambda: FORK.Array("i", 1).get_lock(),
    "Semaphore": FORK.Semaphore,
    "the builtin": lambda: FORK.RLock()._semlock,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_a_process_lock_excludes_goroutines_from_one_another(make):
    assert most_inside(make()) == 1


def test_a_semaphore_of_two_lets_two_goroutines_in():
    assert most_inside(FORK.Semaphore(2)) == 2


def test_no_increment_of_a_shared_value_is_lost():
    value = FORK.Value("i", 0)

    def task():
        for _ in range(40):
            with value.get_lock():
                before = value.value
                gosched()
                value.value = before + 1

    for g in [go(task) for _ in range(10)]:
        g.join()
    assert value.value == 400


def test_a_process_rlock_excludes_goroutines_and_threads():
    assert most_inside(FORK.RLock(), 5, 50, threads=3) == 1


def test_a_process_rlock_held_by_a_parked_goroutine_is_refused_to_others():
    lock, gate = FORK.RLock(), Chan()

    def hold():
        with lock, lock:
            gate.recv()
            assert lock._semlock._is_mine()
            assert lock._semlock._count() == 2

    def other():
        assert not lock._semlock._is_mine()
        assert lock.acquire(False) is False
        assert lock.acquire(timeout=0.001) is False
        assert lock.acquire(True, 0.001) is False
        with pytest.raises(AssertionError):
            lock.release()
        return True

    g = parked(go(hold))
    assert go(other).join()
    assert Thread(other).join()
    waiter = go(lock.acquire)
    gate.send(1)
    g.join()
    assert waiter.join() is True


def test_a_failed_acquire_of_a_process_rlock_holds_no_thread():
    out = migrating(
        """
        lock = FORK.RLock()
        lock.acquire()  # by the main thread
        def task():
            tried = lock.acquire(False), lock.acquire(timeout=0.001)
            refused = []
            for call in (lambda: lock.acquire(1, 2, 3), lambda: lock.acquire(timeout="x"), lock.release):
                try:
                    call()
                except (TypeError, AssertionError):
                    refused.append(1)
            return tried, len(refused), moves()
        ten(task)
        """
    )
    assert out == "{((False, False), 3, True)}\n"


def test_a_process_rlock_keeps_its_thread_until_it_is_given_back_wholly():
    out = migrating(
        """
        def task():
            lock = FORK.RLock()
            seen = [moves()]
            with lock:
                seen.append(stays())
                lock.acquire()
                lock.acquire(timeout=5)
                lock.release()
                seen.append(stays())
                lock.release()
                seen.append(stays())
            return *seen, moves()
        ten(task)
        """
    )
    assert out == "{(True, True, True, True, True)}\n"


def test_a_process_rlock_of_the_main_thread_is_no_hold_of_the_main_goroutine():
    out = migrating(
        """
        import threading
        lock, other = FORK.RLock(), threading.RLock()
        def main():
            with other:
                try:
                    if lock.acquire(False):  # the main goroutine has the main thread's identity
                        lock.release()
                    lock.release()
                except AssertionError:
                    pass
                kept = stays()
            return kept, moves()
        lock.acquire()
        print(golib.run(main))
        """
    )
    assert out == "(True, True)\n"


def test_a_plain_process_lock_keeps_no_thread_and_knows_its_goroutine():
    out = migrating(
        """
        def task():
            lock, seen = FORK.Lock(), []
            with lock:
                seen.append(moves())
                seen.append(lock._semlock._is_mine())
                seen.append(go(lock._semlock._is_mine).join())
            seen.append(lock._semlock._is_mine())
            lock.acquire()
            go(lock.release).join()  # a thread may do that too
            seen.append(lock.acquire(False))
            return *seen, moves()
        ten(task)
        """
    )
    assert out == "{(True, True, False, False, True, True)}\n"


def test_a_plain_process_lock_taken_by_a_goroutine_and_then_by_a_thread_is_the_threads():
    lock = FORK.Lock()

    def take():
        lock.acquire()
        gosched()
        return lock._semlock._is_mine()

    assert go(take).join() is True
    lock.release()
    assert Thread(take).join() is True
    assert go(lock._semlock._is_mine).join() is False
    assert lock._semlock._is_mine() is False
    lock.release()


@pytest.mark.parametrize("make", [FORK.RLock, FORK.Lock], ids=["RLock", "Lock"])
def test_a_process_condition_works_between_goroutines_that_move(make):
    condition, items, got = FORK.Condition(make()), [], []

    def consume():
        with condition:
            gosched()
            while not items:
                condition.wait(20)
                gosched()
            got.append(items.pop())

    def produce(i):
        with condition:
            gosched()
            items.append(i)
            condition.notify()

    gs = [go(consume) for _ in range(5)] + [go(produce, i) for i in range(5)]
    for g in gs:
        g.join()
    assert sorted(got) == list(range(5))


def test_a_recursively_taken_process_condition_gives_its_thread_back_while_it_waits():
    condition, waiting = FORK.Condition(), Chan()

    def wait():
        with condition, condition:
            waiting.send(1)
            return condition.wait(20) and condition._lock._semlock._count() == 2

    g = go(wait)
    waiting.recv()
    with condition:
        condition.notify()
    assert g.join() is True


def test_event_barrier_and_queues_of_multiprocessing_work_between_goroutines():
    event, barrier, queue = FORK.Event(), FORK.Barrier(3), FORK.SimpleQueue()

    def task(i):
        event.wait()
        gosched()
        barrier.wait(20)
        queue.put(i)

    gs = [go(task, i) for i in range(3)]
    event.set()
    assert sorted(queue.get() for _ in gs) == [0, 1, 2]
    for g in gs:
        g.join()
    queue.close()


def test_a_subclass_of_the_builtin_lock_is_owned_by_goroutines():
    import _multiprocessing

    class Mine(_multiprocessing.SemLock):
        pass

    lock = Mine(0, 1, 1, "/golib-test-subclass", True)
    assert most_inside(lock) == 1


# -- beside processes --------------------------------------------------------------------------

#: Runs `task` in ten goroutines at once and prints what they return.
MIGRATING = """
    import multiprocessing, os, sys
    import golib
    from golib import go, gosched
    from support import moves, stays
    FORK = multiprocessing.get_context("fork")
    def ten(task):
        def main():
            return {g.join() for g in [go(task) for _ in range(10)]}
        print(golib.run(main))
    """


def migrating(body: str) -> str:
    return run_ok(textwrap.dedent(MIGRATING) + textwrap.dedent(body), env=MIGRATE)


def test_a_process_rlock_excludes_goroutines_of_two_processes():
    out = migrating(
        """
        value, raw = FORK.Value("i", 0), FORK.RawValue("i", 0)
        def add():
            for _ in range(20):
                with value.get_lock():
                    before = raw.value
                    gosched()
                    raw.value = before + 1
        def both():
            for g in [go(add) for _ in range(5)]:
                g.join()
        if (child := os.fork()) == 0:
            golib.run(both)
            os._exit(0)
        golib.run(both)
        print(os.waitpid(child, 0)[1], raw.value)
        """
    )
    assert out == "0 200\n"


def test_a_goroutine_that_holds_a_process_rlock_may_fork():
    out = migrating(
        """
        lock = FORK.RLock()
        def task():
            with lock:
                child = os.fork()
                if child == 0:
                    # As after multiprocessing's own fork: this process has nothing of it.
                    lock._semlock._after_fork()
                    os._exit(lock._semlock._is_mine() or lock.acquire(False))
                status = os.waitpid(child, 0)[1]
                return status, lock._semlock._is_mine(), stays()
        print(golib.run(lambda: go(task).join()))
        """
    )
    assert out == "(0, True, True)\n"


def test_a_lock_that_came_to_another_process_is_owned_by_goroutines_there(tmp_path):
    (tmp_path / "golib_spawned.py").write_text(
        textwrap.dedent(
            """
            from measures import most_inside
            def child(lock, value):
                value.value = most_inside(lock, 5, depth=2)
            """
        )
    )
    out = run_ok(
        """
        import multiprocessing, sys
        sys.path.insert(0, sys.argv[1])
        import golib_spawned
        if __name__ == "__main__":
            for method in ("spawn", "forkserver"):
                context = multiprocessing.get_context(method)
                lock, value = context.RLock(), context.Value("i", 0)
                process = context.Process(target=golib_spawned.child, args=(lock, value))
                process.start()
                process.join()
                print(process.exitcode, value.value)
        """,
        str(tmp_path),
    )
    assert out == "0 1\n0 1\n"


def test_locks_of_a_manager_are_owned_by_goroutines():
    out = run_ok(
        """
        import multiprocessing, golib
        from golib import go, gosched
        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Manager() as manager:
                lock, items = manager.RLock(), manager.list()
                inside = most = 0
                def task(i):
                    global inside, most
                    for _ in range(3):
                        with lock, lock:
                            inside += 1
                            most = max(most, inside)
                            gosched()
                            items.append(i)
                            inside -= 1
                def main():
                    for g in [go(task, i) for i in range(5)]:
                        g.join()
                golib.run(main)
                print(most, sorted(items) == sorted(list(range(5)) * 3))
        """
    )
    assert out == "1 True\n"


def test_a_queue_and_its_feeder_thread_serve_goroutines():
    out = migrating(
        """
        def put(queue, i):
            for j in range(10):
                queue.put((i, j))
                gosched()
        def get(queue):
            got = []
            for _ in range(10):
                got.append(queue.get())
                gosched()
                if hasattr(queue, "task_done"):
                    queue.task_done()
            return got
        def main():
            for queue in (FORK.Queue(3), FORK.JoinableQueue(3)):
                putters = [go(put, queue, i) for i in range(5)]
                getters = [go(get, queue) for _ in range(5)]
                got = sorted(item for g in getters for item in g.join())
                for g in putters:
                    g.join()
                if hasattr(queue, "join"):
                    go(queue.join).join()
                queue.close()
                queue.join_thread()
                print(got == [(i, j) for i in range(5) for j in range(10)])
        golib.run(main)
        """
    )
    assert out == "True\nTrue\n"
