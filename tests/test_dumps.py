"""Dumps of many goroutines: one dump stands for those that are alike."""

from __future__ import annotations

import re

import golib
import pytest

from support import Boom, eventually, parked, run_ok, run_script


def waits(ch):
    ch.recv_ok()


def waits_elsewhere(ch):
    for _ in ch:
        pass


@pytest.fixture
def crowd():
    """Starts goroutines that wait on a channel; they end with the test."""
    ch, started = golib.Chan(), []

    def start(n, fn=waits, **options):
        new = [golib.spawn(fn, (ch,), **options) for _ in range(n)]
        eventually(lambda: all(g.status() == "chan receive" for g in new))
        started.extend(new)
        return new

    yield start
    ch.close()
    for g in started:
        g.join()


def paragraphs(dump, name):
    return [
        part
        for part in dump.split("\n\n")
        if re.match(rf"goroutine \d+ \[[^]]*\]: {name}\n", part + "\n")
    ]


def test_goroutines_that_are_alike_are_one_paragraph(crowd):
    first, *others = crowd(10_000)
    dump = golib.runtime.stack(all=True)
    (paragraph,) = paragraphs(dump, "waits")
    head, *frames, created, more = paragraph.splitlines()
    assert head == f"goroutine {first.id} [chan receive]: waits"
    assert "in waits" in frames[0]
    assert created.startswith("created by ")
    assert more.startswith(f"and {len(others)} more like it: ")
    assert len(dump) < 5000


def test_the_numbers_of_those_alike_are_named_in_runs(crowd):
    gs = sorted(crowd(6), key=lambda g: g.id)
    (paragraph,) = paragraphs(golib.runtime.stack(all=True), "waits")
    numbers = re.search(r"and 5 more like it: (.*)", paragraph)[1]
    named = set()
    for run in numbers.split(", "):
        first, _, last = run.partition(" to ")
        named.update(range(int(first), int(last or first) + 1))
    assert named == {g.id for g in gs[1:]}


@pytest.mark.parametrize("differ", ["name", "place", "state", "creator"])
def test_goroutines_that_differ_have_a_paragraph_each(crowd, differ):
    crowd(2)
    if differ == "name":
        crowd(2, name="other")
        names = ["waits", "other"]
    elif differ == "place":
        crowd(2, fn=waits_elsewhere)
        names = ["waits", "waits_elsewhere"]
    elif differ == "state":
        ch = golib.Chan()
        gs = [parked(golib.spawn(ch.send, (1,), name="waits"), "chan send") for _ in range(2)]
        names = ["waits"]
    else:
        golib.go(crowd, 2).join()
        names = ["waits"]
    dump = golib.runtime.stack(all=True)
    found = [part for name in names for part in paragraphs(dump, name)]
    assert len(found) == 2, dump
    assert all("and 1 more like it" in part for part in found), dump
    if differ == "state":
        for g in gs:
            ch.recv()
            g.join()


def test_sigquit_shows_a_crowd_once():
    result = run_script(
        """
        import golib, os, signal
        ch = golib.Chan()
        def main():
            gs = [golib.go(ch.recv_ok) for _ in range(1000)]
            while any(g.status() != "chan receive" for g in gs):
                golib.gosched()
            os.kill(os.getpid(), signal.SIGQUIT)
            golib.sleep(0.01)
            ch.close()
            for g in gs:
                g.join()
        golib.run(main)
        """
    )
    assert result.rc == 0, result
    assert result.err.count("[chan receive]") == 1
    assert "and 999 more like it: " in result.err


def test_a_deadlock_shows_a_crowd_once():
    out = run_ok(
        """
        import golib
        from golib.sync import WaitGroup
        ch, wg = golib.Chan(), WaitGroup()
        def main():
            for _ in range(1000):
                wg.go(ch.recv)
            wg.wait()
        try:
            golib.run(main)
        except golib.Deadlock as error:
            print(error.dump)
        """
    )
    assert out.count("[chan receive]") == 1
    assert "and 999 more like it: " in out
    assert re.match(r"goroutine \d+ \[sync.WaitGroup.Wait\]: main\n", out)


@pytest.mark.parametrize("place", ["thread", "goroutine"])
def test_a_goroutine_that_fails_during_a_dump_is_not_reported_by_who_makes_it(
    place, panics, monkeypatch
):
    gate, go_on, reporters = golib.Chan(), golib.Chan(), []
    created_by = golib._report.created_by

    def fail():
        gate.recv()
        raise Boom

    def waiting_handler(g, error):
        reporters.append(golib._golib._current())
        go_on.recv()

    def created_by_while_one_fails(g, *args):
        if g.name.endswith("fail"):
            gate.send(None)
            g._wait()
        return created_by(g, *args)

    golib.set_panic_handler(waiting_handler)
    golib.go(fail)
    monkeypatch.setattr(golib._report, "created_by", created_by_while_one_fails)

    def dump():
        return golib.runtime.stack(all=True), golib._golib._current()

    text, me = dump() if place == "thread" else golib.go(dump).join()
    assert "fail" in text
    eventually(lambda: reporters)
    assert reporters[0] is not None and reporters[0] is not me
    go_on.send(None)
    golib.set_panic_handler(None)
