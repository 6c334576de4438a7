"""golib.sync.ErrGroup: Go's errgroup."""

from __future__ import annotations

import gc
import weakref

import golib
import pytest
from golib import Cancelled, Chan, go, shield, timeout
from golib.context import background, cause, current, with_value
from golib.sync import ErrGroup

from support import Boom, Thread, Tracked, eventually, fail, parked, run_ok


def test_wait_waits_for_all(place):
    def check():
        eg, ended = ErrGroup(), []
        for i in range(10):
            eg.go(lambda i=i: (golib.sleep(0.0005 * (i % 3)), ended.append(i)))
        assert eg.wait() is None
        assert sorted(ended) == list(range(10))
        assert eg.ctx.is_done

    place(check)


def test_wait_on_an_empty_group_returns_at_once(place):
    assert place(ErrGroup().wait) is None


def test_go_gives_a_handle():
    eg = ErrGroup()
    g = eg.go(lambda *a, **k: (a, k), 1, x=2)
    assert isinstance(g, golib.Goroutine)
    eg.wait()
    assert g.join() == ((1,), {"x": 2})


def test_the_first_failure_is_raised_by_wait_and_cancels_the_others(place):
    def check():
        eg, error = ErrGroup(), Boom("first")
        gs = [eg.go(Chan().recv) for _ in range(5)]
        eg.go(fail, error)
        with pytest.raises(Boom) as raised:
            eg.wait()
        assert raised.value is error
        assert cause(eg.ctx) is error
        assert all(isinstance(g.exception(), Cancelled) for g in gs)
        with pytest.raises(Boom) as raised:
            eg.wait()
        assert raised.value is error

    place(check)


def test_the_first_to_end_is_the_first_failure(panics):
    eg, gates = ErrGroup(), [Chan(), Chan()]

    def task(i):
        with shield():
            gates[i].recv()
        raise Boom(i)

    gs = [eg.go(task, i) for i in range(2)]
    gates[1].send(1)
    gs[1].exception()
    gates[0].send(1)
    with pytest.raises(Boom, match=r"^1$"):
        eg.wait()
    del eg, gs
    gc.collect()
    assert panics == []


def test_the_caller_is_not_cancelled_by_a_failure():
    eg = ErrGroup()
    eg.go(fail).exception()
    golib.gosched()
    assert eg.ctx.is_done
    with pytest.raises(Boom):
        eg.wait()


def test_a_cancelled_member_is_no_failure():
    eg = ErrGroup()
    g = parked(eg.go(Chan().recv))
    g.cancel()
    assert eg.wait() is None


def test_goexit_is_no_failure():
    eg = ErrGroup()
    eg.go(golib.goexit)
    assert eg.wait() is None


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_any_exception_is_a_failure(error):
    eg = ErrGroup()
    eg.go(fail, error("x"))
    with pytest.raises(error, match=r"^x$"):
        eg.wait()


def test_members_run_under_its_context_and_the_values_of_who_made_it():
    with with_value(background(), "k", "v"):
        eg = ErrGroup()
    assert not eg.ctx.is_done
    g = eg.go(lambda: (current().value("k"), current().is_done))
    eg.wait()
    assert g.join() == ("v", False)


def test_a_group_made_under_a_timeout_ends_with_it(place):
    def check():
        with pytest.raises(TimeoutError):
            with timeout(0.003):
                eg = ErrGroup()
                gs = [eg.go(Chan().recv) for _ in range(3)]
                eg.wait()
        assert all(isinstance(g.exception(), Cancelled) for g in gs)

    place(check)


def test_a_cancelled_wait_can_be_repeated():
    eg, gate = ErrGroup(), Chan()
    g = eg.go(gate.recv)
    waiter = parked(go(eg.wait))
    waiter.cancel()
    assert isinstance(waiter.exception(), Cancelled)
    assert not g.done()
    gate.send(1)
    assert eg.wait() is None
    assert g.join() == 1


def test_a_group_goes_on_after_its_maker_has_ended():
    gate = Chan()

    def maker():
        eg = ErrGroup()
        eg.go(gate.recv)
        return eg

    eg = go(maker).join()
    gate.send(1)
    assert eg.wait() is None


def test_a_group_of_a_cancelled_goroutine_is_cancelled():
    ch = Chan()

    def maker():
        eg = ErrGroup()
        ch.send((eg, eg.go(Chan().recv)))
        Chan().recv()

    g = go(maker)
    _, member = ch.recv()
    parked(g).cancel()
    assert isinstance(member.exception(), Cancelled)
    assert isinstance(g.exception(), Cancelled)


def test_after_wait_what_is_started_is_cancelled():
    eg = ErrGroup()
    eg.wait()
    g = eg.go(Chan().recv)
    assert eg.wait() is None
    assert isinstance(g.exception(), Cancelled)


def test_the_limit_holds(place):
    def check():
        eg, running, most = ErrGroup(limit=2), [0], [0]

        def task():
            running[0] += 1
            most[0] = max(most[0], running[0])
            golib.sleep(0.0005)
            running[0] -= 1

        for _ in range(12):
            eg.go(task)
        eg.wait()
        assert most[0] <= 2

    place(check)


def test_try_go_is_none_at_the_limit():
    eg, gate = ErrGroup(1), Chan()
    g = eg.try_go(gate.recv)
    assert eg.try_go(int) is None
    gate.send(1)
    assert g.join() == 1
    assert eventually(lambda: eg.try_go(int)).join() == 0
    eg.wait()


def test_failures_free_their_slots():
    eg = ErrGroup(limit=1)
    for _ in range(50):
        eg.go(fail)
    with pytest.raises(Boom):
        eg.wait()


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (-(10**30), ValueError),
        ("1", TypeError),
        (1.5, TypeError),
    ],
)
def test_a_wrong_limit_raises(limit, error):
    with pytest.raises(error):
        ErrGroup(limit)


@pytest.mark.parametrize("bad", [(), (None,), (1,)])
def test_what_cannot_be_a_goroutine_is_a_type_error(bad):
    eg = ErrGroup(limit=1)
    for name in ("go", "try_go"):
        with pytest.raises(TypeError):
            getattr(eg, name)(*bad)
    assert eg.try_go(int) is not None
    eg.wait()


def test_a_group_dropped_unread_is_reported_once_for_each_failure(panics):
    def drop():
        eg = ErrGroup()
        for _ in range(3):
            eg.go(fail).done()

    drop()
    eventually(lambda: gc.collect() is not None and len(panics) == 3)
    golib.gosched()
    assert [type(e) for _, e in panics] == [Boom] * 3


def test_a_group_dropped_while_it_runs_goes_on(panics):
    gate, ended = Chan(), []

    def drop():
        eg = ErrGroup()
        eg.go(lambda: (gate.recv(), ended.append(1)))

    drop()
    gc.collect()
    gate.send(1)
    eventually(lambda: ended)
    assert panics == []


def test_a_group_in_a_cycle_is_collected():
    class Mine(ErrGroup):
        pass

    eg = Mine()
    eg.me, eg.value = eg, Tracked()
    eg.go(int)
    eg.wait()
    ref = weakref.ref(eg)
    del eg
    gc.collect()
    assert ref() is None
    assert Tracked.alive == 0


def test_threads_and_goroutines_share_a_group():
    eg, ended = ErrGroup(limit=4), []
    adders = [Thread(lambda: [eg.go(ended.append, i) for i in range(20)]) for _ in range(3)]
    adders += [go(lambda: [eg.go(ended.append, i) for i in range(20)]) for _ in range(3)]
    for a in adders:
        a.join()
    waiters = [Thread(eg.wait), go(eg.wait)]
    eg.wait()
    for w in waiters:
        w.join()
    assert len(ended) == 120


def test_the_interpreter_ends_with_groups_in_every_state():
    run_ok(
        """
        import golib
        from golib.sync import ErrGroup
        kept = [ErrGroup(), ErrGroup(limit=1), ErrGroup()]
        kept[0].go(golib.Chan().recv)
        kept[1].go(golib.Chan().recv)
        golib.go(kept[1].go, int)
        golib.go(kept[0].wait)
        golib.sleep(0.01)
        """,
        env={"PYTHONDEVMODE": "1"},
    )
