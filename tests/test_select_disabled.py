"""select with cases that cannot be chosen: None, nil, a channel that is not there."""

from __future__ import annotations

import golib
import pytest
from golib import Chan, Select, nil, recv, select, send

from support import full, run_script

# -- nothing, None, nil ------------------------------------------------------------------------


def test_select_of_nothing_with_a_timeout_raises_timeout_error(place):
    with pytest.raises(TimeoutError):
        place(lambda: select(timeout=0.002))


def test_select_of_nothing_with_default_returns_it():
    assert select(default=True) == (-1, None, False)


def test_select_of_only_disabled_cases_times_out():
    with pytest.raises(TimeoutError):
        select(None, nil, send(nil, 1), timeout=0.002)


def test_a_disabled_case_keeps_its_index():
    assert select(None, nil, full("x")) == (2, "x", True)


def test_select_of_nothing_blocks_for_ever():
    result = run_script(
        """
        from golib import go, select, nil
        from support import parked
        print(parked(go(select)).status())
        parked(go(select, None, nil))
        """
    )
    assert result == (0, "select (no cases)\n", "")


def test_select_of_nothing_in_main_is_a_deadlock():
    result = run_script("import golib; golib.run(golib.select)")
    assert result.rc == 1
    assert "all goroutines are asleep - deadlock!" in result.err


# -- channels that are not there -----------------------------------------------------------------


@pytest.mark.parametrize("missing", [None, recv(None), send(None, 1), golib.nil], ids=repr)
def test_a_case_without_a_channel_is_disabled(missing, place):
    def check():
        ch = Chan(1)
        ch.send("x")
        assert select(missing, ch) == (1, "x", True)
        assert select(missing, default=True) == (-1, None, False)
        assert select(missing, send(ch, 1), biased=True).index == 1
        with pytest.raises(TimeoutError):
            select(missing, timeout=0.001)
        s = Select(missing, ch)
        assert s.wait() == (1, 1, True)
        s[1] = missing
        with pytest.raises(TimeoutError):
            s.wait(timeout=0.001)
        s[0] = send(ch, 2)
        assert s.wait().index == 0

    place(check)


def test_the_idiom_of_gos_nil_channels():
    """A fan-in that drops each drained channel, and offers a send only while it has a value."""
    a, b, out = Chan(), Chan(), Chan(10)

    def produce(ch, values):
        with ch:
            for value in values:
                ch.send(value)

    golib.go(produce, a, range(5)), golib.go(produce, b, range(5, 10))
    ins, pending = [a, b], []
    while ins[0] or ins[1] or pending:
        index, value, ok = select(
            recv(ins[0]), recv(ins[1]), send(out if pending else None, pending and pending[0])
        )
        if index == 2:
            pending.pop(0)
        elif ok:
            pending.append(value)
        else:
            ins[index] = None
    out.close()
    assert sorted(out) == list(range(10))


def test_a_disabled_case_says_what_it_is():
    assert repr(recv(None)) == "golib.recv(None)"
    assert repr(send(None, 1)) == "golib.send(None, 1)"
    for wrong in (lambda: recv(1), lambda: send("x", 1), lambda: send()):
        with pytest.raises(TypeError):
            wrong()
