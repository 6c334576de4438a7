"""The handle of a goroutine: identity, name, status, stack, and what it keeps alive."""

from __future__ import annotations

import gc
import traceback
import weakref

import golib
import pytest
from golib import Chan, Goroutine, go

from support import Boom, Tracked, eventually, parked

# -- the handle --------------------------------------------------------------------------------


def test_the_handle_is_a_goroutine():
    g = go(int)
    assert isinstance(g, Goroutine)
    g.join()


def test_a_handle_cannot_be_made_by_hand():
    with pytest.raises(TypeError):
        Goroutine()


def test_ids_are_positive_and_never_repeat():
    ids = []
    for _ in range(3):
        batch = [go(int) for _ in range(100)]
        ids += [g.id for g in batch]
        for g in batch:
            g.join()
    assert len(set(ids)) == 300
    assert all(isinstance(i, int) and i > 0 for i in ids)


def crawl(ch):
    return ch.recv()


def test_the_name_is_that_of_the_function():
    ch = Chan(1)
    ch.send(1)
    g = go(crawl, ch)
    assert g.name == "crawl"
    g.join()


def test_a_callable_without_a_name_has_one_anyway():
    import functools

    g = go(functools.partial(int, "7"))
    assert isinstance(g.name, str)
    assert g.name
    assert g.join() == 7


def test_the_repr_shows_id_status_and_name():
    ch = Chan()
    g = parked(go(crawl, ch))
    assert repr(g) == f"<goroutine {g.id} [chan receive] crawl>"
    ch.send(1)
    g.join()
    assert repr(g) == f"<goroutine {g.id} [dead] crawl>"


def test_done_tells_whether_it_ended(place):
    ch = Chan()
    g = parked(go(ch.recv))
    assert place(g.done) is False
    ch.send(1)
    g.join()
    assert place(g.done) is True


def test_a_goroutine_that_raised_is_done():
    def fail():
        raise Boom

    g = go(fail)
    g.exception()
    assert g.done()


STATUSES = {
    "chan receive": lambda ch: ch.recv(),
    "chan send": lambda ch: ch.send(1),
    "select": lambda ch: golib.select(ch, Chan()),
    "sleep": lambda ch: golib.sleep(0.2),
}


@pytest.mark.parametrize("status", list(STATUSES))
def test_the_status_is_gos_wait_reason(status, place):
    ch = Chan()
    g = parked(go(STATUSES[status], ch), status)
    assert place(g.status) == status
    if status == "chan send":
        ch.recv()
    elif status != "sleep":
        ch.send(1)
    g.join()
    assert g.status() == "dead"


def test_a_new_goroutine_is_runnable():
    def main():
        seen = set()
        for _ in range(20):
            g = go(int)
            seen.add(g.status())
            g.join()
        return seen

    assert "runnable" in golib.run(main)


def test_a_goroutine_sees_itself_running():
    mine = Chan(1)
    g = go(lambda: mine.recv().status())
    mine.send(g)
    assert g.join() == "running"


def test_the_stack_of_a_parked_goroutine_names_its_functions():
    ch = Chan()

    def deep():
        return ch.recv()

    def middle():
        return deep()

    g = parked(go(middle))
    stack = g.stack()
    assert isinstance(stack, traceback.StackSummary)
    assert [f.name for f in stack] == ["middle", "deep"]
    assert stack[-1].filename == __file__
    assert "return ch.recv()" in stack[-1].line
    ch.send(1)
    g.join()


def test_the_stack_of_an_ended_goroutine_is_empty():
    g = go(int)
    g.join()
    assert list(g.stack()) == []


def test_the_stack_of_the_caller_is_its_own():
    mine = Chan(1)

    def look():
        return [f.name for f in mine.recv().stack()]

    g = go(look)
    mine.send(g)
    assert "look" in g.join()


def test_handles_are_equal_to_themselves_and_hashable():
    a, b = go(int), go(int)
    assert a == a
    assert a != b
    assert len({a, b, a}) == 2
    a.join(), b.join()


def test_handles_can_be_referenced_weakly():
    g = go(int)
    ref = weakref.ref(g)
    assert ref() is g
    g.join()
    del g
    gc.collect()
    assert ref() is None


# -- life time ---------------------------------------------------------------------------------


def test_the_arguments_die_with_the_goroutine():
    g = go(lambda t: None, Tracked())
    g.join()
    eventually(lambda: Tracked.alive == 0)


def test_the_value_dies_with_the_handle():
    g = go(Tracked)
    g.join()
    assert Tracked.alive == 1
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_value_that_holds_its_own_handle_is_collected():
    g = go(Tracked)
    g.join().tag = g
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_an_exception_that_holds_its_own_handle_is_collected():
    def fail():
        error = Boom()
        error.tracked = Tracked()
        raise error

    g = go(fail)
    g.exception().g = g
    del g
    gc.collect()
    assert Tracked.alive == 0


def test_a_goroutine_goes_on_without_its_handle():
    ch = Chan(1)
    go(lambda: ch.send("still here"))
    gc.collect()
    assert ch.recv() == "still here"


def test_the_function_itself_is_released():
    def make():
        kept = Tracked()
        return lambda: kept and None

    go(make()).join()
    gc.collect()
    eventually(lambda: Tracked.alive == 0)


def test_the_frames_of_a_failed_goroutine_die_with_its_exception():
    def fail():
        kept = Tracked()
        raise Boom(kept.tag)

    g = go(fail)
    g.exception()
    del g
    gc.collect()
    assert Tracked.alive == 0
