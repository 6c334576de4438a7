"""golib.sync.RWMutex: exclusion, turns, timeouts, misuse."""

from __future__ import annotations

import gc
import weakref

import golib
import pytest
from golib import Chan, go
from golib.sync import RWMutex

from support import PLACES, Boom, parked


def test_readers_share_and_a_writer_is_alone(place):
    def check():
        rw = RWMutex()
        rw.rlock()
        with rw.read():
            assert rw.try_rlock()
            assert not rw.try_lock()
            rw.runlock()
        rw.runlock()
        with rw as entered:
            assert entered is rw
            assert not rw.try_lock()
            assert not rw.try_rlock()
        assert rw.try_lock()
        rw.unlock()

    place(check)


@pytest.mark.parametrize("method", ["lock", "rlock"])
@pytest.mark.parametrize("timeout", [0, -1, 0.002])
def test_a_timeout_raises_and_leaves_nothing(place, method, timeout):
    def check():
        rw = RWMutex()
        with rw, pytest.raises(TimeoutError):
            getattr(rw, method)(timeout)
        assert rw.try_lock()

    place(check)


@pytest.mark.parametrize("waiter", list(PLACES))
def test_a_waiting_writer_stops_new_readers_and_goes_first(waiter):
    rw, order = RWMutex(), []
    rw.rlock()

    def write():
        with rw:
            order.append("writer")

    def read():
        with rw.read():
            order.append("reader")

    writer = parked(go(write), "sync.RWMutex.Lock")
    assert not rw.try_rlock()
    reader = parked(go(PLACES[waiter], read) if waiter == "run" else go(read), "sync.RWMutex.RLock")
    rw.runlock()
    writer.join()
    reader.join()
    assert order == ["writer", "reader"]


def test_a_writer_that_ends_lets_in_all_waiting_readers_before_the_next_writer():
    rw, order = RWMutex(), []
    rw.lock()

    def write():
        with rw:
            order.append("writer")

    def read():
        with rw.read():
            order.append("reader")

    gs = [parked(go(write)), parked(go(read)), parked(go(write)), parked(go(read))]
    rw.unlock()
    for g in gs:
        g.join()
    assert sorted(order[:2]) == ["reader", "reader"]
    assert order[2:] == ["writer", "writer"]


def test_a_writer_that_gives_up_lets_the_readers_behind_it_go_on():
    rw = RWMutex()
    with rw.read():
        writer = parked(go(rw.lock, 0.05))
        reader = parked(go(rw.rlock))
        assert isinstance(writer.exception(), TimeoutError)
        reader.join()
    rw.runlock()
    assert rw.try_lock()


def test_unlocking_what_is_not_held_raises_and_changes_nothing(place):
    def check():
        rw = RWMutex()
        with pytest.raises(RuntimeError, match="sync: Unlock of unlocked RWMutex"):
            rw.unlock()
        with pytest.raises(RuntimeError, match="sync: RUnlock of unlocked RWMutex"):
            rw.runlock()
        with rw.read(), pytest.raises(RuntimeError):
            rw.unlock()
        with rw, pytest.raises(RuntimeError):
            rw.runlock()
        assert rw.try_lock()

    place(check)


def test_an_exception_in_the_block_unlocks():
    rw = RWMutex()
    for block in (rw, rw.read()):
        with pytest.raises(Boom), block:
            raise Boom
        assert rw.try_lock()
        rw.unlock()


@pytest.mark.parametrize(
    "call", ["RWMutex(1)", "RWMutex().lock('x')", "RWMutex().rlock(timeout='x')"]
)
def test_a_wrong_argument_is_a_type_error(call):
    with pytest.raises(TypeError):
        eval(call, {"RWMutex": RWMutex})
    with pytest.raises(ValueError, match="nan"):
        RWMutex().lock(float("nan"))


def test_it_can_be_subclassed_weakly_referenced_and_dies():
    class Mine(RWMutex):
        pass

    rw = Mine()
    reference = weakref.ref(rw)
    with rw.read():
        pass
    del rw
    gc.collect()
    assert reference() is None
    assert repr(RWMutex()).startswith("<golib.sync.RWMutex object")


def test_a_storm_of_readers_and_writers_with_timeouts(rng):
    rw, inside, wrote = RWMutex(), {"readers": 0, "writers": 0}, [0]

    def task(seed):
        random = type(rng)(seed)
        for _ in range(60):
            timeout = random.choice([None, 0, 0.0001, 0.001])
            try:
                if random.random() < 0.3:
                    rw.lock(timeout)
                    inside["writers"] += 1
                    assert inside == {"readers": 0, "writers": 1}
                    golib.gosched()
                    wrote[0] += 1
                    inside["writers"] -= 1
                    rw.unlock()
                else:
                    rw.rlock(timeout)
                    inside["readers"] += 1
                    assert not inside["writers"]
                    golib.gosched()
                    inside["readers"] -= 1
                    rw.runlock()
            except TimeoutError:
                pass

    def main():
        for g in [go(task, rng.getrandbits(32)) for _ in range(30)]:
            g.join()

    golib.run(main)
    assert rw.try_lock()
    assert wrote[0] > 0


def test_a_waiter_shows_in_the_dump():
    rw, gate = RWMutex(), Chan()
    rw.lock()
    g = parked(go(lambda: (rw.rlock(), gate.send(1))), "sync.RWMutex.RLock")
    assert f"goroutine {g.id} [sync.RWMutex.RLock]" in golib.runtime.stack(all=True)
    rw.unlock()
    gate.recv()
    g.join()
