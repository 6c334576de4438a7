"""Storms over patched locks and queues: goroutines that are cancelled and timed out beside threads; nothing lost or doubled."""

from __future__ import annotations

import pytest

from support import MIGRATE, run_ok

STORM = """
    import queue, random, sys, threading, time
    import golib
    golib.patch("lock", "queue", "time")
    seed, rounds = int(sys.argv[1]), int(sys.argv[2])

    lock, rlock, condition = threading.Lock(), threading.RLock(), threading.Condition(threading.Lock())
    counts = dict.fromkeys(("lock", "rlock", "condition"), 0)
    wanted = dict.fromkeys(counts, 0)
    semaphore = threading.Semaphore(3)
    inside = [0, 0]
    items, simple = queue.Queue(3), queue.SimpleQueue()
    got, got_simple, put, put_simple = [], [], [], []
    cancels = [0]

    def count(name, take):
        with take:
            wanted[name] += 1
            value = counts[name]
            if random.random() < 0.3:
                with golib.shield():
                    golib.gosched()
            counts[name] = value + 1

    def semaphores():
        with semaphore:
            inside[0] += 1
            inside[1] = max(inside)
            try:
                golib.gosched()
            finally:
                inside[0] -= 1

    def conditions():
        with condition:
            condition.notify()
            condition.wait(random.random() * 0.002)
            wanted["condition"] += 1
            value = counts["condition"]
            with golib.shield():
                golib.gosched()
            counts["condition"] = value + 1

    number = iter(range(10**9))

    def puts():
        n = next(number)
        items.put(n); put.append(n)
        simple.put(n); put_simple.append(n)

    def gets():
        got.append(items.get(timeout=random.random() * 0.01 + 0.001))
        got_simple.append(simple.get(timeout=random.random() * 0.01 + 0.001))

    steps = [lambda: count("lock", lock), lambda: count("rlock", rlock), semaphores, conditions, puts, gets]

    def goroutine(i):
        rng = random.Random(seed * 1000 + i)
        for _ in range(rounds):
            try:
                with golib.timeout(rng.choice([None, 0, 0.0005, 0.002]), raises=False):
                    rng.choice(steps)()
            except queue.Empty:
                pass

    def victim(i):
        rng = random.Random(seed * 2000 + i)
        while True:
            try:
                rng.choice(steps)()
            except queue.Empty:
                pass

    def killer():
        rng = random.Random(seed)
        for i in range(rounds):
            g = golib.go(victim, i)
            golib.sleep(rng.random() * 0.001)
            g.cancel()
            cancels[0] += 1
            assert isinstance(g.exception(), golib.Cancelled), g.exception()

    def drain():
        while not stop:
            try: got.append(items.get(timeout=0.001))
            except queue.Empty: pass

    stop = []
    def main():
        drains = [golib.go(drain)]
        gs = [golib.go(goroutine, i) for i in range(30)] + [golib.go(killer) for _ in range(5)]
        ts = [threading.Thread(target=goroutine_on_thread, args=(i,)) for i in range(3)]
        for t in ts: t.start()
        for g in gs: g.join()
        for t in ts: t.join()
        stop.append(1)
        for g in drains: g.join()

    def goroutine_on_thread(i):
        rng = random.Random(seed * 3000 + i)
        for _ in range(rounds):
            try: rng.choice(steps)()
            except queue.Empty: pass

    golib.run(main)
    while not items.empty(): got.append(items.get())
    while not simple.empty(): got_simple.append(simple.get())
    assert counts == wanted, (counts, wanted)
    assert inside[0] == 0 and inside[1] <= 3, inside
    assert not condition._waiters and not items.not_empty._waiters and not items.not_full._waiters
    for one in (lock, rlock, condition, items.mutex):
        assert one.acquire(timeout=5); one.release()
    # What was put has been got once. A cancelled put() may have put without having said so.
    assert len(got) == len(set(got)) and set(put) <= set(got), (len(got), len(put))
    assert len(got_simple) == len(set(got_simple)) and set(put_simple) <= set(got_simple)
    print("ok")
"""


@pytest.mark.parametrize("env", [{}, MIGRATE], ids=["", "migrate"])
def test_nothing_is_lost_or_doubled_in_a_storm_of_cancellations(env, rng, request):
    rounds = 20_000 if request.config.getoption("--slow") else 150
    out = run_ok(STORM, str(rng.randrange(10**6)), str(rounds), env=env, timeout=240)
    assert out == "ok\n"
