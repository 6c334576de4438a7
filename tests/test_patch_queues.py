"""golib.patch("lock", "queue"): what threading and queue make of locks, on goroutines, beside ordinary threads."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor

import golib
import pytest

from support import Thread, eventually, on_thread, parked

WAITING = "sync.Mutex.Lock"


@pytest.fixture(autouse=True)
def patched():
    golib.patch("lock", "queue")
    yield
    golib.unpatch()


def test_event_semaphore_barrier_and_queues_park():
    event, semaphore, barrier = threading.Event(), threading.Semaphore(0), threading.Barrier(3)
    fifo, full, simple = queue.Queue(), queue.Queue(1), queue.SimpleQueue()
    full.put(0)
    waits = [
        event.wait,
        semaphore.acquire,
        barrier.wait,
        barrier.wait,
        fifo.get,
        lambda: full.put(1),
        simple.get,
    ]
    gs = [golib.go(wait) for wait in waits]
    for g in gs:
        parked(g)
        assert g.status() in (WAITING, "chan receive", "semacquire"), g
    event.set()
    semaphore.release()
    golib.go(barrier.wait).join()
    fifo.put(2)
    assert full.get() == 0 and full.get() == 1
    simple.put(3)
    assert [g.join() for g in gs][4:] == [2, None, 3]


@pytest.mark.parametrize("make", [queue.Queue, queue.SimpleQueue, queue.LifoQueue])
def test_goroutines_and_threads_share_a_queue(make):
    q, got = make(), []

    def consume():
        while (value := q.get()) is not None:
            got.append(value)

    consumers = [golib.go(consume) for _ in range(5)] + [Thread(consume) for _ in range(3)]
    producers = [golib.go(lambda i=i: [q.put(i * 1000 + k) for k in range(200)]) for i in range(5)]
    producers += [
        Thread(lambda i=i: [q.put(i * 1000 + k) for k in range(200)]) for i in range(5, 8)
    ]
    for p in producers:
        p.join()
    eventually(q.empty)
    for _ in consumers:
        q.put(None)
    for c in consumers:
        c.join()
    assert sorted(got) == [i * 1000 + k for i in range(8) for k in range(200)]


@pytest.mark.parametrize("timeout", [0, 0.001, 0.01])
def test_a_queue_that_stays_empty_raises_empty(timeout):
    for q in (queue.Queue(), queue.SimpleQueue()):
        g = golib.go(q.get, True, timeout)
        assert isinstance(g.exception(), queue.Empty)


@pytest.mark.parametrize(
    "call",
    [
        lambda q: q.get(True, -1),
        lambda q: q.get(False),
        lambda q: q.get(timeout="x"),
        lambda q: q.get(1, 2, 3),
        lambda q: q.get(wrong=1),
        lambda q: q.get_nowait(),
    ],
)
def test_wrong_calls_of_a_queue_raise_what_they_raise_on_a_thread(call):
    def outcome():
        try:
            return call(queue.SimpleQueue())
        except Exception as error:
            return type(error), str(error)

    assert golib.go(outcome).join() == on_thread(outcome)


def test_a_pool_of_threads_serves_goroutines():
    with ThreadPoolExecutor(4) as pool:
        gs = [golib.go(lambda i=i: pool.submit(pow, i, 2).result()) for i in range(100)]
        assert [g.join() for g in gs] == [i * i for i in range(100)]


def test_a_goroutine_joins_a_thread():
    go_on = golib.sync.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    g = parked(golib.go(thread.join), WAITING, "event wait")
    go_on.set()
    g.join(timeout=20)
    assert not thread.is_alive()


def test_a_join_that_is_cancelled_leaves_the_thread_alive():
    go_on = golib.sync.Event()
    thread = threading.Thread(target=go_on.wait)
    thread.start()

    def work():
        with pytest.raises(TimeoutError), golib.timeout(0.01):
            thread.join()

    golib.go(work).join()
    assert thread.is_alive()
    go_on.set()
    thread.join()
