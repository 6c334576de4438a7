"""golib.signal.notify_context."""

from __future__ import annotations

import signal

import golib
import golib.signal
import pytest
from golib import Chan, go
from golib.signal import notify, stop

from support import finish, kill, parked, start_script, wait_line

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2

pytestmark = pytest.mark.usefixtures("same_handlers_after")


def test_notify_context_is_done_with_the_signal_as_its_cause(place):
    def use():
        with golib.signal.notify_context(USR1) as ctx:
            assert not ctx.is_done
            kill(USR1)
            ctx.done().recv_ok(20)
            cause = golib.context.cause(ctx)
            return repr(ctx.err()), cause.signal, str(cause)

    assert place(use) == ("Canceled('context canceled')", USR1, "SIGUSR1 received")


def test_notify_context_is_not_ambient_by_itself():
    with golib.signal.notify_context(USR1) as ctx:
        kill(USR1)
        ctx.done().recv_ok(20)
        assert Chan(1).try_recv() is None
        with pytest.raises(TimeoutError):
            Chan().recv(0.001)
        with pytest.raises(golib.Cancelled), ctx:
            Chan().recv()


def test_notify_context_ends_what_runs_under_it():
    with golib.signal.notify_context(USR1) as ctx:

        def work():
            with ctx:
                Chan().recv()

        gs = [go(work) for _ in range(5)]
        for g in gs:
            parked(g)
        kill(USR1)
        assert all(isinstance(g.exception(20), golib.Cancelled) for g in gs)


def test_leaving_notify_context_cancels_it_and_restores_the_handlers():
    before = signal.getsignal(USR1)
    with golib.signal.notify_context(USR1) as ctx:
        assert signal.getsignal(USR1) is not before
    assert ctx.is_done
    assert signal.getsignal(USR1) is before


def test_notify_context_follows_the_ambient_context():
    with golib.timeout(0.005, raises=False), golib.signal.notify_context(USR1) as ctx:
        ctx.done().recv_ok(20)
    assert ctx.is_done


def test_notify_context_is_entered_once_at_a_time():
    block = golib.signal.notify_context(USR1)
    with block:
        with pytest.raises(RuntimeError), block:
            pass
    with block as ctx:
        assert not ctx.is_done


def test_notify_context_and_notify_share_a_signal():
    ch = Chan(1)
    notify(ch, USR1)
    with golib.signal.notify_context(USR1) as ctx:
        kill(USR1)
        ctx.done().recv_ok(20)
        assert ch.recv(20) == USR1
    kill(USR1)
    assert ch.recv(20) == USR1
    stop(ch)


def test_ctrl_c_under_notify_context_raises_nothing_and_ends_the_context():
    process = start_script(
        """
        import signal, golib
        def main():
            with golib.signal.notify_context(signal.SIGINT, signal.SIGTERM) as ctx:
                print('ready', flush=True)
                golib.select(ctx.done())
                print(golib.context.cause(ctx))
        golib.run(main)
        """
    )
    wait_line(process, "ready")
    process.send_signal(signal.SIGINT)
    result = finish(process)
    assert (result.rc, result.out, result.err) == (0, "SIGINT received\n", "")
