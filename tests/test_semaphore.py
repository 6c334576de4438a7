"""golib.sync.Semaphore: counting, order, weights, timeouts, misuse."""

from __future__ import annotations

import golib
import pytest
from golib import go
from golib.sync import Semaphore

from support import Boom, parked


def test_so_many_permits_are_taken_and_no_more(place):
    def check():
        s = Semaphore(3)
        s.acquire(2)
        assert (s.n, s.free) == (3, 1)
        assert not s.try_acquire(2)
        assert s.try_acquire()
        with pytest.raises(TimeoutError):
            s.acquire(timeout=0.002)
        with pytest.raises(TimeoutError):
            s.acquire(1, 0)
        s.release(3)
        with s as entered:
            assert entered is s
            assert s.free == 2
        assert s.free == 3

    place(check)


def test_waiters_are_served_in_the_order_of_coming():
    s, order = Semaphore(1), []
    s.acquire()

    def task(i):
        with s:
            order.append(i)

    gs = [parked(go(task, i), "semacquire") for i in range(6)]
    s.release()
    for g in gs:
        g.join()
    assert order == list(range(6))


def test_a_large_wish_is_not_overtaken_by_small_ones():
    s, order = Semaphore(3), []
    s.acquire()

    def task(n):
        s.acquire(n)
        order.append(n)
        s.release(n)

    large = parked(go(task, 3))
    assert not s.try_acquire()  # though two are free
    small = parked(go(task, 1))
    s.release()
    large.join()
    small.join()
    assert order == [3, 1]


def test_one_that_gives_up_lets_those_behind_it_go_on():
    s = Semaphore(2)
    s.acquire()
    large = parked(go(s.acquire, 2, 0.05))
    small = parked(go(s.acquire))
    assert isinstance(large.exception(), TimeoutError)
    small.join()
    assert s.free == 0


def test_a_release_serves_several_waiters():
    s = Semaphore(4)
    s.acquire(4)
    gs = [parked(go(s.acquire, n)) for n in (1, 2, 3)]
    s.release(4)
    gs[0].join()
    gs[1].join()
    parked(gs[2])
    assert s.free == 1
    s.release(2)
    gs[2].join()


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("Semaphore()", TypeError),
        ("Semaphore('x')", TypeError),
        ("Semaphore(1.5)", TypeError),
        ("Semaphore(-1)", ValueError),
        ("Semaphore(-10**30)", ValueError),
        ("Semaphore(2).acquire(0)", ValueError),
        ("Semaphore(2).acquire(-1)", ValueError),
        ("Semaphore(2).acquire(3)", ValueError),
        ("Semaphore(2).acquire(10**30)", ValueError),
        ("Semaphore(2).acquire('x')", TypeError),
        ("Semaphore(2).acquire(timeout='x')", TypeError),
        ("Semaphore(2).acquire(timeout=float('nan'))", ValueError),
        ("Semaphore(2).try_acquire(0)", ValueError),
        ("Semaphore(2).release()", ValueError),
        ("Semaphore(2).release(0)", ValueError),
        ("Semaphore(2).release(-10**30)", ValueError),
        ("Semaphore(2).release(10**30)", ValueError),
        ("Semaphore(2).__exit__(None, None, None)", ValueError),
    ],
)
def test_misuse_raises(call, error):
    with pytest.raises(error):
        eval(call, {"Semaphore": Semaphore})


def test_misuse_changes_nothing():
    s = Semaphore(3)
    s.acquire(2)
    with pytest.raises(ValueError, match="semaphore: released more than held"):
        s.release(3)
    with pytest.raises(ValueError, match="semaphore: 4 of 3 permits wished"):
        s.acquire(4)
    assert s.free == 1
    assert not s.try_acquire(10**30)
    assert Semaphore(10**30).try_acquire(10**18)
    assert not Semaphore(0).try_acquire()


def test_an_exception_in_the_block_gives_the_permit_back():
    s = Semaphore(1)
    with pytest.raises(Boom), s:
        raise Boom
    assert s.free == 1


def test_a_storm_with_weights_and_timeouts_loses_no_permit(rng):
    size = 5
    s, held = Semaphore(size), [0]

    def task(seed):
        random = type(rng)(seed)
        for _ in range(60):
            n = random.randint(1, size)
            try:
                s.acquire(n, random.choice([None, 0, 0.0001, 0.001]))
            except TimeoutError:
                continue
            held[0] += n
            assert held[0] <= size
            golib.gosched()
            held[0] -= n
            s.release(n)

    def main():
        for g in [go(task, rng.getrandbits(32)) for _ in range(30)]:
            g.join()

    golib.run(main)
    assert s.free == size
