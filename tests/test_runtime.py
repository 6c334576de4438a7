"""golib.runtime: the dump, the list, locking to a thread, statistics, the thread limit, SIGQUIT."""

from __future__ import annotations

import io
import re
import signal
import sys
import threading

import golib
import pytest
from golib import Chan, go, gosched, runtime

from support import eventually, finish, in_goroutine, parked, run_script, start_script, wait_line


def held_here(ch):
    return ch.recv()


def test_goroutines_lists_the_live_ones(place):
    ch = Chan()
    gs = [parked(go(held_here, ch)) for _ in range(3)]
    listed = {g.id: g for g in place(runtime.goroutines)}
    for g in gs:
        assert listed[g.id].name == "held_here"
        assert listed[g.id].status() == "chan receive"
    ch.close()
    for g in gs:
        g.exception()
    ids = {g.id for g in gs}
    del listed
    eventually(lambda: not ids & {g.id for g in runtime.goroutines()})


def test_goroutines_are_as_many_as_num_goroutine():
    ch = Chan()
    gs = [parked(go(held_here, ch)) for _ in range(5)]
    assert len(runtime.goroutines()) == golib.num_goroutine()
    ch.close()
    for g in gs:
        g.exception()


def test_stack_may_be_a_goroutines_own_function():
    assert "goroutine" in go(runtime.stack).join()


HEADER = r"^goroutine (\d+) \[[^\]]+\]:"


def test_print_stacks_writes_all_goroutines_in_gos_format(place):
    ch = Chan()
    g = parked(go(held_here, ch))
    out = io.StringIO()
    place(runtime.print_stacks, out)
    text = out.getvalue()
    assert str(g.id) in re.findall(HEADER, text, re.MULTILINE)
    assert f"goroutine {g.id} [chan receive" in text
    assert "held_here" in text
    assert __file__ in text
    assert "created by test_print_stacks_writes_all_goroutines_in_gos_format" in text
    ch.send(1)
    g.join()


def test_print_stacks_goes_to_stderr_by_default(capsys):
    in_goroutine(runtime.print_stacks)
    assert re.search(HEADER, capsys.readouterr().err, re.MULTILINE)


def test_print_stacks_lets_the_errors_of_the_file_through():
    class Broken:
        def write(self, text):
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        runtime.print_stacks(Broken())


def test_stack_is_the_callers_own():
    def look():
        return runtime.stack()

    text = go(look).join()
    assert "look" in text
    assert len(re.findall(HEADER, text, re.MULTILINE)) == 1


def test_stack_of_all_shows_all():
    ch = Chan()
    gs = [parked(go(held_here, ch)) for _ in range(3)]
    found = set(map(int, re.findall(HEADER, runtime.stack(all=True), re.MULTILINE)))
    assert found >= {g.id for g in gs}
    ch.close()
    for g in gs:
        g.exception()


def test_the_dump_is_safe_while_goroutines_run_and_end():
    stop = []

    def churn():
        while not stop:
            go(gosched).join()

    churners = [go(churn) for _ in range(5)]
    for _ in range(30):
        assert "goroutine" in runtime.stack(all=True)
        gosched()
    stop.append(1)
    for g in churners:
        g.join()


def test_a_locked_goroutine_stays_on_its_thread():
    def task():
        with runtime.lock_os_thread():
            ids = set()
            for _ in range(100):
                ids.add(threading.get_native_id())
                gosched()
            return len(ids)

    tasks = [go(task) for _ in range(10)]
    assert [g.join() for g in tasks] == [1] * 10


def test_locks_to_a_thread_nest():
    def task():
        with runtime.lock_os_thread():
            with runtime.lock_os_thread():
                golib.sleep(0.001)
            first = threading.get_native_id()
            for _ in range(50):
                golib.sleep(0)
            return threading.get_native_id() == first

    assert [g.join() for g in [go(task) for _ in range(10)]] == [True] * 10


def test_two_locked_goroutines_have_different_threads():
    ch = Chan()

    def one():
        with runtime.lock_os_thread():
            ch.send(threading.get_native_id())
            return threading.get_native_id()

    def two():
        with runtime.lock_os_thread():
            return ch.recv(), threading.get_native_id()

    a, b = go(one), go(two)
    other, mine = b.join()
    assert a.join() == other != mine


def test_a_goroutine_that_ends_locked_does_no_harm():
    def task():
        runtime.lock_os_thread().__enter__()

    for _ in range(5):
        go(task).join()
    assert go(lambda: 1).join() == 1


def test_lock_os_thread_works_on_an_ordinary_thread():
    with runtime.lock_os_thread():
        ch = Chan()
        g = go(ch.send, 1)
        assert ch.recv() == 1
        g.join()


def test_stats_are_named_numbers(place):
    stats = place(runtime.stats)
    assert stats
    assert all(isinstance(k, str) for k in stats)
    assert all(isinstance(v, int | float) for v in stats.values())


def test_set_max_threads_returns_the_previous_value():
    before = runtime.set_max_threads(5000)
    assert isinstance(before, int)
    assert runtime.set_max_threads(before) == 5000


@pytest.mark.parametrize("bad", [0, -1, -(10**30)])
def test_a_thread_limit_below_one_is_a_value_error(bad):
    with pytest.raises(ValueError):
        runtime.set_max_threads(bad)


def test_a_thread_limit_of_a_wrong_type_is_a_type_error():
    with pytest.raises(TypeError):
        runtime.set_max_threads("10")


def test_the_thread_limit_is_a_clear_error():
    result = run_script(
        """
        import golib, time
        from golib import runtime
        runtime.set_max_threads(12)
        try:
            gs = [golib.go(time.sleep, 1) for _ in range(60)]
            errors = [e for e in (g.exception() for g in gs) if e]
        except BaseException as error:
            errors = [error]
        print(*errors)
        """
    )
    assert result.rc in (0, 2), result
    assert "thread" in result.out + result.err, result
    assert "limit" in result.out + result.err or "12" in result.out + result.err, result


SIGQUIT = """
    import golib, sys
    from support import parked
    def bystander(ch):
        return ch.recv()
    def main():
        ch = golib.Chan()
        g = parked(golib.go(bystander, ch))
        print("ready", flush=True)
        {wait}
        ch.send("x")
        print(g.join(), flush=True)
    {start}
    """


@pytest.mark.parametrize(
    "wait", ["golib.sleep(0.7)", "golib.blocking(__import__('time').sleep, .7)"]
)
@pytest.mark.parametrize("start", ["golib.run(main)", "main()"])
def test_sigquit_prints_all_goroutines_and_the_process_goes_on(wait, start):
    process = start_script(SIGQUIT.format(wait=wait, start=start))
    wait_line(process, "ready")
    process.send_signal(signal.SIGQUIT)
    result = finish(process)
    assert (result.rc, result.out) == (0, "x\n")
    assert re.search(r"^goroutine \d+ \[chan receive.*\]:", result.err, re.MULTILINE), result.err
    assert "bystander" in result.err


def test_sigquit_works_while_main_is_busy():
    process = start_script(
        """
        import golib, time
        def bystander(ch):
            ch.recv()
        def main():
            golib.go(bystander, golib.Chan())
            golib.sleep(0.01)
            print("ready", flush=True)
            end = time.monotonic() + 0.7
            while time.monotonic() < end:
                pass
        golib.run(main)
        """
    )
    wait_line(process, "ready")
    process.send_signal(signal.SIGQUIT)
    result = finish(process)
    assert result.rc == 0
    assert "bystander" in result.err


def test_importing_golib_starts_no_thread_and_patches_nothing():
    result = run_script(
        """
        import os, sys, threading, _thread, signal
        before = threading.get_ident, _thread.get_ident, threading.RLock, signal.pthread_kill
        quit_before = signal.getsignal(signal.SIGQUIT)
        import golib, golib.sync, golib.runtime
        after = threading.get_ident, _thread.get_ident, threading.RLock, signal.pthread_kill
        print(len(os.listdir("/proc/self/task")), before == after)
        """
    )
    assert result == (0, "1 True\n", "")


def test_the_dump_of_a_thousand_goroutines_has_a_thousand_headers():
    ch = Chan()
    gs = [go(held_here, ch) for _ in range(1000)]
    parked(gs[-1])
    text = runtime.stack(all=True)
    assert len(re.findall(HEADER, text, re.MULTILINE)) >= 1000
    ch.close()
    for g in gs:
        g.exception()


def test_sys_current_frames_shows_parked_goroutines():
    ch = Chan()
    g = parked(go(held_here, ch))
    names = set()
    for frame in sys._current_frames().values():
        names.add(frame.f_code.co_name)
    assert "held_here" in names
    ch.send(1)
    g.join()
