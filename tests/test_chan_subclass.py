"""Subclasses of Chan: arguments of their own, slots, generics, other bases."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref

import golib
import pytest
from golib import Chan, go

from support import Tracked, parked


class Named(Chan):
    def __init__(self, name, *, size=8):
        super().__init__(size)
        self.name = name


class Typed(Chan[int]):
    __slots__ = ("name",)

    def __init__(self, name):
        super().__init__(2)
        self.name = name


class Late(Chan):
    """Leaves the capacity to the default."""

    def __init__(self, *args, **kwargs):
        self.args = args


class New(Chan):
    def __new__(cls, name):
        self = super().__new__(cls, 3)
        self.name = name
        return self


class Both(Chan):
    def __new__(cls, name):
        return super().__new__(cls, 3)

    def __init__(self, name):
        super().__init__(capacity=4)
        self.name = name


class Kept(Chan):
    def __new__(cls, name):
        return super().__new__(cls, 3)

    def __init__(self, name):
        self.name = name


class Mixin:
    def __init__(self, name, capacity):
        super().__init__(capacity)
        self.name = name


class Mixed(Mixin, Chan):
    pass


@dataclasses.dataclass(eq=False)
class Data(Chan):
    name: str


class Plain(Chan):
    pass


MADE = {
    "named": (lambda: Named("x"), 8),
    "keyword": (lambda: Named("x", size=0), 0),
    "an int that is no capacity": (lambda: Named(10**30), 8),
    "a negative int": (lambda: Named(-1), 8),
    "generic, slots": (lambda: Typed("x"), 2),
    "a generic alias": (lambda: Named[int]("x"), 8),
    "without super": (lambda: Late("x", y=1), 0),
    "new": (lambda: New("x"), 3),
    "both": (lambda: Both("x"), 4),
    "both, kept": (lambda: Kept("x"), 3),
    "mixin": (lambda: Mixed("x", 5), 5),
    "dataclass": (lambda: Data("x"), 0),
    "plain": (lambda: Plain(6), 6),
    "plain keyword": (lambda: Plain(capacity=7), 7),
}


@pytest.mark.parametrize("how", list(MADE))
def test_a_subclass_has_arguments_of_its_own(how, place):
    make, capacity = MADE[how]

    def check():
        ch = make()
        assert (ch.cap, len(ch), ch.closed) == (capacity, 0, False)
        g = go(lambda: [ch.send(i) for i in range(20)] and ch.close())
        assert list(ch) == list(range(20))
        g.join()

    place(check)


@pytest.mark.parametrize("cls", [Named, Both, Mixed, Plain])
def test_wrong_capacities_are_refused_as_by_chan(cls):
    class Given(cls):
        def __init__(self, capacity):
            Chan.__init__(self, capacity)

    class Made(Plain):
        def __init__(self, capacity):
            Chan.__init__(self, capacity)

    kind = Made if cls in (Both, Mixed) else Given
    for capacity, error in ((-1, ValueError), ("x", TypeError), (10**30, MemoryError)):
        with pytest.raises(error):
            kind(capacity)
    with pytest.raises(TypeError):
        Plain("x")
    with pytest.raises(TypeError):
        Plain(1, 2)


def test_a_channel_in_use_keeps_its_capacity():
    ch = Named("x", size=1)
    ch.send(1)
    with pytest.raises(RuntimeError, match="in use"):
        ch.__init__("x", size=2)
    ch.__init__("y", size=1)
    assert (ch.cap, ch.recv(), ch.name) == (1, 1, "y")
    ch.__init__("x", size=0)
    g = parked(go(ch.recv))
    with pytest.raises(RuntimeError, match="in use"):
        ch.__init__("x", size=2)
    ch.send(3)
    assert g.join() == 3
    ch.close()
    with pytest.raises(RuntimeError, match="in use"):
        ch.__init__("x")


def test_views_and_cases_made_before_see_the_new_capacity():
    class Early(Chan):
        def __init__(self):
            self.out, self.case = self.sender, golib.send(self, 1)
            super().__init__(2)

    ch = Early()
    ch.out.send(0)
    assert golib.select(ch.case).index == 0
    assert [ch.recv(), ch.recv()] == [0, 1]
    gc.collect()


def test_init_of_a_plain_channel_changes_nothing():
    for ch in (Chan(2), Plain(2), New("x")):
        before = ch.cap
        Chan.__init__(ch, 5)
        assert ch.cap == before


def test_a_subclass_is_shown_by_its_name_and_cannot_be_copied():
    ch = Named("x")
    assert repr(ch).startswith("<Named 0/8 at 0x")
    assert repr(Chan(1)).startswith("<golib.Chan 0/1 at 0x")
    for refused in (copy.copy, copy.deepcopy, pickle.dumps):
        for channel in (ch, Typed("x"), Plain(), Chan()):
            with pytest.raises(TypeError):
                refused(channel)


def test_a_subclass_is_collected_with_what_it_holds():
    ch = Named("x")
    ch.me, ref = ch, weakref.ref(ch)
    ch.send(Tracked())
    ch.send(ch)
    del ch
    gc.collect()
    assert ref() is None
    assert Tracked.alive == 0
