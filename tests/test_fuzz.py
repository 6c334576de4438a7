"""Random programs: against the model where the outcome is determined, against invariants where not."""

from __future__ import annotations

import random
from typing import Any

import golib
import pytest
from golib import Chan, CloseOfClosed, SendOnClosed, go
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import model
from support import PLACES, SLACK, Thread, eventually

# Hypothesis keeps its generator in a threading.local, and warns if the collector knows of no referrer: the frozen
# objects (conftest.py) are not searched, and from 3.14 on no frame holds it meanwhile.
pytestmark = pytest.mark.filterwarnings("ignore:It looks like `register_random`")

PARKED = ("chan send", "chan receive", "select")


class Pair:
    """A real channel and its model."""

    def __init__(self, cap: int | None) -> None:
        self.real = golib.nil if cap is None else Chan(cap)
        self.model = model.ModelChan(cap or 0, nil=cap is None)

    def __repr__(self) -> str:
        return f"<{'nil' if self.model.nil else self.model.cap}>"


class Program(RuleBasedStateMachine):
    """One goroutine drives the others; after each step every outcome must be the model's."""

    channels = Bundle("channels")

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Pair] = []
        self.waiters: list[tuple[Any, model.Waiter]] = []
        self.values = iter(range(10**9))

    # -- the steps

    @rule(target=channels, cap=st.sampled_from([0, 0, 0, 1, 1, 2, 3]))
    def make(self, cap: int) -> Any:
        if len(self.pairs) >= 6:
            return multiple()
        self.pairs.append(Pair(cap))
        return self.pairs[-1]

    @rule(pair=channels)
    def try_send(self, pair: Pair) -> None:
        value = next(self.values)
        expected = model.attempt(model.Case(pair.model, True, value), 0)
        try:
            got = pair.real.try_send(value)
        except SendOnClosed:
            assert expected == ("send on closed", 0)
        else:
            assert got is (expected == ("sent", 0))

    @rule(pair=channels)
    def try_recv(self, pair: Pair) -> None:
        expected = model.attempt(model.Case(pair.model, False), 0)
        got = pair.real.try_recv()
        assert (None if got is None else ("got", 0, got.value, got.ok)) == expected

    @rule(pair=channels, timeout=st.sampled_from([0, -1, 0.0002]))
    def timed_recv(self, pair: Pair, timeout: float) -> None:
        expected = model.attempt(model.Case(pair.model, False), 0)
        try:
            value, ok = pair.real.recv_ok(timeout)
        except TimeoutError:
            assert expected is None
        else:
            assert ("got", 0, value, ok) == expected

    @rule(pair=channels, timeout=st.sampled_from([0, -1, 0.0002]))
    def timed_send(self, pair: Pair, timeout: float) -> None:
        value = next(self.values)
        expected = model.attempt(model.Case(pair.model, True, value), 0)
        try:
            pair.real.send(value, timeout)
        except TimeoutError:
            assert expected is None
        except SendOnClosed:
            assert expected == ("send on closed", 0)
        else:
            assert expected == ("sent", 0)

    @rule(pair=channels)
    def close(self, pair: Pair) -> None:
        expected = model.close(pair.model)
        try:
            pair.real.close()
        except CloseOfClosed:
            assert expected is False
        else:
            assert expected is True

    @rule(pair=channels)
    def go_send(self, pair: Pair) -> None:
        value = next(self.values)
        self.launch([model.Case(pair.model, True, value)], lambda: send(pair.real, value))

    @rule(pair=channels)
    def go_recv(self, pair: Pair) -> None:
        self.launch([model.Case(pair.model, False)], lambda: ("got", 0, *pair.real.recv_ok()))

    @rule(picks=st.lists(st.tuples(st.one_of(channels, st.none()), st.booleans()), max_size=5))
    def go_select(self, picks: list[tuple[Pair | None, bool]]) -> None:
        modelled, real = self.cases(picks)
        if any(case.chan is not None for case in modelled):
            self.launch(modelled, lambda: select(modelled, real))

    @rule(
        picks=st.lists(st.tuples(st.one_of(channels, st.none()), st.booleans()), max_size=5),
        default=st.booleans(),
        prepared=st.booleans(),
    )
    def try_select(self, picks: Any, default: bool, prepared: bool) -> None:
        modelled, real = self.cases(picks)
        if prepared and sum(c.chan is not None for c in modelled) > 1:
            return  # Select.wait chooses at random
        expected = model.try_once(modelled)
        try:
            if prepared:
                got = golib.Select(*real).wait(0)
            elif default:
                got = golib.select(*real, default=True, biased=True)
            else:
                got = golib.select(*real, timeout=0, biased=True)
        except TimeoutError:
            assert expected is None
        except SendOnClosed:
            assert expected is not None
            assert expected[0] == "send on closed"
        else:
            if got.index == -1:
                assert got == (-1, None, False)
                assert expected is None
            elif modelled[got.index].is_send:
                assert got == (got.index, None, True)
                assert expected == ("sent", got.index)
            else:
                assert expected == ("got", *got)

    # -- invariants after each

    @invariant()
    def every_channel_is_as_modelled(self) -> None:
        for pair in self.pairs:
            assert len(pair.real) == len(pair.model.buffer)
            assert pair.real.cap == pair.model.cap
            assert pair.real.closed is pair.model.closed

    @invariant()
    def every_goroutine_is_as_modelled(self) -> None:
        parked = []
        for g, waiter in self.waiters:
            if waiter.outcome is None:
                assert not g.done()
                assert g.status() in PARKED
                parked.append((g, waiter))
            else:
                assert g.join(20) == waiter.outcome
        self.waiters = parked

    def teardown(self) -> None:
        for pair in self.pairs:
            if not pair.model.closed:
                pair.real.close()
        for g, _ in self.waiters:
            g.join(20)
        self.waiters.clear()
        self.pairs.clear()

    # -- how they are done

    def cases(self, picks: list[tuple[Pair | None, bool]]) -> tuple[list[model.Case], list[Any]]:
        modelled, real = [], []
        for pair, is_send in picks:
            value = next(self.values)
            modelled.append(model.Case(pair and pair.model, is_send, value))
            if pair is None:
                real.append(None)
            elif is_send:
                real.append(golib.send(pair.real, value))
            else:
                real.append(golib.recv(pair.real))
        return modelled, real

    def launch(self, cases: list[model.Case], operation: Any) -> None:
        waiter = model.start(cases)
        g = go(operation)
        eventually(lambda: g.done() or g.status() in PARKED)
        self.waiters.append((g, waiter))


def send(ch: Any, value: Any) -> model.Outcome:
    try:
        ch.send(value)
    except SendOnClosed:
        return ("send on closed", 0)
    return ("sent", 0)


def select(modelled: list[model.Case], real: list[Any]) -> model.Outcome:
    try:
        index, value, ok = golib.select(*real, biased=True)
    except SendOnClosed:
        # The exception does not name the case; of several the model says which, the kind is checked.
        return _AnySendOnClosed()
    return ("sent", index) if modelled[index].is_send else ("got", index, value, ok)


class _AnySendOnClosed(tuple):
    """Equal to any ("send on closed", index)."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, tuple) and other[:1] == ("send on closed",)

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("start", ["main", "goroutine"])
def test_random_programs_do_what_the_model_says(start):
    options = settings(
        max_examples=90 if SLACK == 1 else 40,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    PLACES[start](lambda: run_state_machine_as_test(Program, settings=options))


@pytest.mark.slow
@pytest.mark.hang(3600)
def test_ten_thousand_random_programs_do_what_the_model_says():
    options = settings(
        max_examples=10_000,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    run_state_machine_as_test(Program, settings=options)


def sends(r: random.Random, channels: list[Any], c: int, value: Any) -> bool:
    """Sends `value` to channel `c`, or to any of them, by an operation chosen at random; whether it did."""
    how = r.randrange(5)
    try:
        if how == 0:
            channels[c].send(value)
        elif how == 1:
            channels[c].send(value, r.choice([0, 1e-5, 1e-3]))
        elif how == 2:
            return bool(channels[c].try_send(value))
        elif how == 3:
            golib.select(*(golib.send(ch, value) for ch in channels))
        else:
            case = golib.send(channels[c], value)
            golib.select(case, golib.nil, None, timeout=r.choice([0, 1e-4]))
    except TimeoutError:
        return False
    return True


def receive(r: random.Random, channels: list[Any], live: set[int]) -> tuple[int, Any, bool] | None:
    """Receives from one of the `live` channels by an operation chosen at random: (its index, value, ok)."""
    c = r.choice(sorted(live))
    how = r.randrange(5)
    try:
        if how == 0:
            return c, *channels[c].recv_ok(0.01)  # not forever: the senders may all be elsewhere
        if how == 1:
            return c, *channels[c].recv_ok(r.choice([0, 1e-5, 1e-3]))
        if how == 2:
            result = channels[c].try_recv()
            return None if result is None else (c, *result)
        cases = [ch if i in live else None for i, ch in enumerate(channels)]
        if how == 3:
            return golib.select(*cases)
        receives = [None if ch is None else golib.recv(ch) for ch in cases]
        return golib.Select(*receives).wait(r.choice([0, 1e-4, None]))
    except TimeoutError:
        return None


@pytest.mark.parametrize("run", range(12))
def test_random_concurrent_programs_conserve_values_and_order(run, rng):
    """Any number of goroutines and threads, every operation, timeouts and losing cases.

    Each value that was sent is received exactly once; the values of one sender reach one receiver in
    the order in which they were sent on one channel.
    """
    channels = [Chan(rng.choice([0, 0, 1, 2, 5])) for _ in range(rng.randint(1, 4))]
    n_senders, n_receivers = rng.randint(1, 8), rng.randint(1, 8)
    sent: list[list[tuple[int, int]]] = [[] for _ in range(n_senders)]
    got: list[list[tuple[int, tuple[int, int]]]] = [[] for _ in range(n_receivers)]

    def sender(me: int, seed: int) -> None:
        r = random.Random(seed)
        for i in range(60):
            if sends(r, channels, r.randrange(len(channels)), (me, i)):
                sent[me].append((me, i))

    def receiver(me: int, seed: int) -> None:
        r = random.Random(seed)
        live = set(range(len(channels)))
        while live:
            received = receive(r, channels, live)
            if received is None:
                golib.gosched()
                continue
            c, value, ok = received
            if ok:
                got[me].append((c, value))
            else:
                live.remove(c)

    def launch(fn: Any, i: int) -> Any:
        return (Thread if rng.random() < 0.2 else go)(fn, i, rng.getrandbits(32))

    receivers = [launch(receiver, i) for i in range(n_receivers)]
    for s in [launch(sender, i) for i in range(n_senders)]:
        s.join()
    for ch in channels:
        ch.close()
    for r in receivers:
        r.join()
    assert sorted(v for part in got for _, v in part) == sorted(v for part in sent for v in part)
    for part in got:
        seen: dict[tuple[int, int], int] = {}
        for c, (me, i) in part:
            assert seen.get((c, me), -1) < i
            seen[c, me] = i


# -- the model itself --------------------------------------------------------------------------


def test_the_model_hands_over_between_parked_waiters():
    ch = model.ModelChan()
    waiting = model.start([model.Case(ch, False)])
    assert waiting.outcome is None
    assert model.attempt(model.Case(ch, True, "x"), 0) == ("sent", 0)
    assert waiting.outcome == ("got", 0, "x", True)


def test_the_model_refills_the_buffer_from_parked_senders():
    ch = model.ModelChan(1)
    first = model.start([model.Case(ch, True, "a")])
    second = model.start([model.Case(ch, True, "b")])
    assert (first.outcome, second.outcome) == (("sent", 0), None)
    assert model.attempt(model.Case(ch, False), 0) == ("got", 0, "a", True)
    assert second.outcome == ("sent", 0)
    assert list(ch.buffer) == ["b"]


def test_the_model_skips_waiters_that_completed_elsewhere():
    a, b = model.ModelChan(), model.ModelChan()
    chooser = model.start([model.Case(a, False), model.Case(b, False)])
    model.attempt(model.Case(a, True, 1), 0)
    assert chooser.outcome == ("got", 0, 1, True)
    assert model.attempt(model.Case(b, True, 2), 0) is None


def test_the_model_closes_as_go_does():
    ch = model.ModelChan(1)
    model.start([model.Case(ch, True, "a")])
    stuck = model.start([model.Case(ch, True, "b")])
    assert model.close(ch) is True
    assert stuck.outcome == ("send on closed", 0)
    assert model.close(ch) is False
    assert model.attempt(model.Case(ch, False), 0) == ("got", 0, "a", True)
    assert model.attempt(model.Case(ch, False), 0) == ("got", 0, None, False)
