"""A storm of cancellations against everything that waits: nothing is lost, doubled, kept or forgotten."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import golib
import pytest
from golib import Cancelled, Chan, go, shield, timeout
from golib.context import background, with_cancel
from golib.sync import Cond, Mutex, RWMutex, Semaphore

from support import SLACK, Thread, eventually

PERMITS = 4


def is_an_end(error: BaseException) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(TimeoutError)[1] is None
    return isinstance(error, (Cancelled, TimeoutError))


class World:
    """The objects that the workers share, and their records of the operations."""

    def __init__(self, rng: random.Random, ends_wanted: int) -> None:
        self.rng = rng
        self.ends_wanted = ends_wanted
        #: Waits that ended by a cancellation or a timeout.
        self.ends = 0
        #: Operations that came to their end.
        self.done = 0
        self.values = iter(range(10**9))
        self.sent: list[int] = []
        self.got: list[int] = []
        self.put: list[int] = []
        self.taken: list[int] = []
        self.channels = [Chan(cap) for cap in (0, 0, 1, 3)]
        self.mutex, self.owners = Mutex(), 0
        self.rw, self.readers, self.writers = RWMutex(), 0, 0
        self.semaphore, self.held = Semaphore(PERMITS), 0
        self.cond, self.items = Cond(), []
        self.targets: list[Any] = []
        #: How workers that are goroutines can be cancelled from outside.
        self.cancels: dict[int, Callable[[], Any]] = {}

    @property
    def over(self) -> bool:
        return self.ends >= self.ends_wanted

    # -- the operations: one that returned has happened, one that raised has not

    def send(self, r: random.Random) -> None:
        value = next(self.values)
        r.choice(self.channels).send(value)
        self.sent.append(value)

    def recv(self, r: random.Random) -> None:
        self.got.append(r.choice(self.channels).recv())

    def select(self, r: random.Random) -> None:
        value = next(self.values)
        a, b = r.sample(self.channels, 2)
        index, got, _ = golib.select(golib.send(a, value), b, None)
        self.sent.append(value) if index == 0 else self.got.append(got)

    def prepared(self, r: random.Random) -> None:
        self.got.append(golib.Select(*self.channels).wait().value)

    def lock(self, r: random.Random) -> None:
        self.mutex.lock()
        self.owners += 1
        try:
            assert self.owners == 1
            golib.gosched()
        finally:
            self.owners -= 1
            self.mutex.unlock()

    def write(self, r: random.Random) -> None:
        with self.rw:
            self.writers += 1
            try:
                assert (self.writers, self.readers) == (1, 0)
                golib.gosched()
            finally:
                self.writers -= 1

    def read(self, r: random.Random) -> None:
        with self.rw.read():
            self.readers += 1
            try:
                assert self.writers == 0
                golib.gosched()
            finally:
                self.readers -= 1

    def acquire(self, r: random.Random) -> None:
        n = r.randint(1, PERMITS)
        self.semaphore.acquire(n)
        self.held += n
        try:
            assert self.held <= PERMITS
            golib.gosched()
        finally:
            self.held -= n
            self.semaphore.release(n)

    def add(self, r: random.Random) -> None:
        value = next(self.values)
        with self.cond:
            self.items.append(value)
            self.put.append(value)
            self.cond.notify()

    def take(self, r: random.Random) -> None:
        with self.cond:
            self.cond.wait_for(lambda: self.items or self.over)
            assert self.cond.lock.locked()
            if self.items:
                self.taken.append(self.items.pop())

    def join(self, r: random.Random) -> None:
        if not self.targets or r.random() < 0.05:
            new, seconds = next(self.values), r.random() * 0.002
            self.targets.append((go(lambda: (golib.sleep(seconds), new)[1]), new))
            del self.targets[:-20]
        g, value = r.choice(self.targets)
        assert g.join() == value

    def nest(self, r: random.Random) -> None:
        with golib.scope(limit=2) as s:
            for _ in range(r.randint(1, 3)):
                s.go(self.one, random.Random(r.random()), False)

    OPERATIONS = (send, recv, select, prepared, lock, write, read, acquire, add, take, join)

    # -- the workers

    def one(self, r: random.Random, nest: bool = True) -> None:
        operation = World.nest if nest and r.random() < 0.05 else r.choice(World.OPERATIONS)
        if r.random() < 0.1:
            with shield(), timeout(0.001):
                operation(self, r)
        else:
            operation(self, r)
        self.done += 1

    def step(self, r: random.Random) -> None:
        """One operation in a block that may end it."""
        seconds = r.choice([0, 0.00002, 0.0001, 0.0005, 0.002])
        how = r.randrange(4)
        try:
            if how == 0:
                with timeout(seconds):
                    self.one(r)
            elif how == 1:
                with timeout(0.02), timeout(seconds, raises=False) as ctx:
                    self.one(r)
                self.ends += ctx.err() is not None
            elif how == 2:
                ctx, cancel = with_cancel(background())
                key = id(ctx)
                self.cancels[key] = cancel
                try:
                    with ctx, timeout(0.005):
                        self.one(r)
                finally:
                    self.cancels.pop(key, None)
            else:
                with timeout(0.01):
                    self.one(r)
        except (Cancelled, TimeoutError):
            self.ends += 1
        except ExceptionGroup as group:
            if not is_an_end(group):
                raise
            self.ends += 1

    def worker(self, seed: int) -> None:
        r = random.Random(seed)
        while not self.over:
            self.step(r)

    def mortal(self, seed: int) -> None:
        """A worker that is cancelled as a whole and begins anew as another goroutine."""
        r = random.Random(seed)
        while not self.over:
            g = go(self.life, r.random())
            self.cancels[id(g)] = g.cancel
            error = g.exception()
            self.cancels.pop(id(g), None)
            assert error is None or is_an_end(error), error
            self.ends += error is not None

    def life(self, seed: float) -> None:
        r = random.Random(seed)
        while not self.over:
            with timeout(0.05):
                self.one(r)

    def canceller(self, seed: int) -> None:
        r = random.Random(seed)
        while not self.over:
            for key in r.sample(list(self.cancels), min(3, len(self.cancels))):
                if cancel := self.cancels.get(key):
                    cancel()
            golib.sleep(r.choice([0, 0, 0.00005, 0.0005]))

    def patient(self) -> None:
        """Takes everything that is put; it is never cancelled, so a lost notification would leave it waiting."""
        while True:
            with self.cond:
                self.cond.wait_for(lambda: self.items)
                value = self.items.pop(0)
                if value < 0:
                    return
                self.taken.append(value)

    # -- the whole

    def run(self) -> None:
        # The notifications of `add` and their waiters are counted only if nobody waits for another reason.
        patient = [go(self.patient) for _ in range(2)]
        workers: list[Any] = [go(self.worker, self.rng.getrandbits(32)) for _ in range(24)]
        workers += [go(self.mortal, self.rng.getrandbits(32)) for _ in range(12)]
        workers += [go(self.canceller, self.rng.getrandbits(32)) for _ in range(2)]
        workers += [Thread(self.worker, self.rng.getrandbits(32)) for _ in range(3)]
        for w in workers:
            w.join(None) if not isinstance(w, Thread) else w.join(600)
        eventually(lambda: not self.items, what="what was put is taken: no notification is lost")
        for _ in patient:
            with self.cond:
                self.items.append(-1)
                self.cond.notify()
        for g in patient:
            g.join(20)
        self.check()

    def check(self) -> None:
        for ch in self.channels:
            while (left := ch.try_recv()) is not None:
                self.got.append(left.value)
            if ch.cap == 0:
                assert ch.try_send("nobody") is False
        assert sorted(self.got) == sorted(self.sent)
        assert len(set(self.got)) == len(self.got)
        assert sorted(self.taken) == sorted(self.put)
        assert (self.owners, self.readers, self.writers, self.held) == (0, 0, 0, 0)
        assert self.mutex.try_lock()
        assert self.rw.try_lock()
        assert self.semaphore.free == PERMITS
        assert self.semaphore.try_acquire(PERMITS)
        assert not self.cond.lock.locked()
        assert len(self.cond._waiters) == 0
        for g, value in self.targets:
            assert g.join(20) == value
        for _ in range(3):
            golib.gosched()


@pytest.mark.parametrize("start", ["main", "run"])
def test_a_storm_of_cancellations_breaks_nothing(start, rng):
    world = World(rng, 50_000 if SLACK == 1 else 20_000)
    golib.run(world.run) if start == "run" else world.run()
    print(f"{world.ends} ended, {world.done} done")
    assert world.done > 100


@pytest.mark.slow
@pytest.mark.hang(1800 * SLACK)
def test_a_million_cancellations_break_nothing(rng):
    world = World(rng, 1_000_000)
    world.run()
    print(f"{world.ends} ended, {world.done} done")
