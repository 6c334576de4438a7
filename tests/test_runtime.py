"""golib.runtime: the dump, the list, locking to a thread, statistics, the thread limit, SIGQUIT."""

from __future__ import annotations

import io
import re
import signal
import sys
import threading
import time

import golib
import pytest
from golib import Chan, go, gosched, runtime

from support import (
    MIGRATE,
    eventually,
    finish,
    in_goroutine,
    parked,
    run_ok,
    run_script,
    start_script,
    wait_line,
)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    "rest",
    [
        pytest.param(0, marks=pytest.mark.hang(150), id="at once"),
        pytest.param(90, marks=pytest.mark.hang(240), id="after a rest"),
    ],
)
def test_the_dump_says_for_how_many_minutes_a_goroutine_has_waited(rest):
    time.sleep(rest)  # nothing runs: the runtime looks once a minute
    ch = Chan()
    g = parked(go(held_here, ch))
    assert f"goroutine {g.id} [chan receive]:" in runtime.stack(all=True)
    golib.sleep(60)
    minutes = f"goroutine {g.id} [chan receive, 1 minutes]:"
    eventually(lambda: minutes in runtime.stack(all=True), timeout=30)
    h = parked(go(held_here, ch))
    assert f"goroutine {h.id} [chan receive]:" in runtime.stack(all=True)
    ch.close()
    for waiter in (g, h):
        waiter.exception()


def test_the_dump_says_which_goroutine_is_locked_to_its_thread():
    ch = Chan()

    def locked():
        with runtime.lock_os_thread():
            held_here(ch)

    g, free = parked(go(locked)), parked(go(held_here, ch))
    text = runtime.stack(all=True)
    assert f"goroutine {g.id} [chan receive, locked to thread]:" in text
    assert f"goroutine {free.id} [chan receive]:" in text
    for _ in range(2):
        ch.send(1)
    g.join(), free.join()


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
    text = runtime.stack(all=True)
    found = set(map(int, re.findall(HEADER, text, re.MULTILINE)))
    for more in re.findall(r"^and \d+ more like it: (.*)", text, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", more):
            found |= set(range(int(first), int(last or first) + 1))
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


#: Prints what ten concurrent goroutines that run `task` return; only their locks keep them from moving.
LOCKED = """
    import golib
    from golib import go
    from golib.runtime import lock_os_thread
    from support import moves, stays
    def task():
        {body}
    def main():
        return {{g.join() for g in [go(task) for _ in range(10)]}}
    print(golib.run(main))
    """


def test_a_locked_goroutine_stays_on_its_thread():
    body = """
        before = moves()
        with lock_os_thread():
            stayed = stays()
        return before, stayed, moves()
        """
    assert run_ok(LOCKED.format(body=body.strip()), env=MIGRATE) == "{(True, True, True)}\n"


def test_locks_to_a_thread_nest():
    body = """
        with lock_os_thread():
            with lock_os_thread():
                inside = stays()
            between = stays()
        return inside, between, moves()
        """
    assert run_ok(LOCKED.format(body=body.strip()), env=MIGRATE) == "{(True, True, True)}\n"


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
    with pytest.raises(ValueError, match="the limit must be positive"):
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


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_program_keeps_its_own_sigquit_handler(when):
    result = run_script(
        f"""
        import signal
        import golib
        from support import eventually
        seen = []
        def mine(signum, frame):
            seen.append(signum)
        if {when == "after"}:
            golib.go(int).join()
        signal.signal(signal.SIGQUIT, mine)
        golib.go(int).join()
        golib.run(lambda: golib.go(golib.gosched).join())
        assert signal.getsignal(signal.SIGQUIT) is mine
        signal.raise_signal(signal.SIGQUIT)
        eventually(lambda: seen)
        print(seen == [signal.SIGQUIT])
        """
    )
    assert result == (0, "True\n", "")


def test_an_ignored_sigquit_stays_ignored():
    result = run_script(
        """
        import signal
        import golib
        signal.signal(signal.SIGQUIT, signal.SIG_IGN)
        golib.go(int).join()
        signal.raise_signal(signal.SIGQUIT)
        golib.gosched()
        print(signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN)
        """
    )
    assert result == (0, "True\n", "")


def test_importing_golib_starts_no_thread_and_patches_nothing():
    result = run_script(
        """
        import ctypes, os, signal, sys, threading, _thread
        # The C function of each builtin that other modules offer, and of RLock's methods.
        def functions():
            found = {}
            head, word = object.__basicsize__, ctypes.sizeof(ctypes.c_void_p)
            for name, module in list(sys.modules.items()):
                for key, value in list(vars(module).items()):
                    if isinstance(value, type(len)) and not name.startswith(("golib", "_golib")):
                        found[name, key] = id(value) + head  # PyCFunctionObject.m_ml
            for key, value in vars(_thread.RLock).items():
                if isinstance(value, type(str.upper)):
                    found["RLock", key] = id(value) + head + 3 * word  # PyMethodDescrObject.d_method
            at = lambda address: ctypes.c_void_p.from_address(address).value
            return {key: at(at(m_ml) + word) for key, m_ml in found.items()}
        # The signals with a handler, as the kernel has them and as Python does.
        def caught():
            with open("/proc/self/status") as f:
                mask = next(int(line.split()[1], 16) for line in f if line.startswith("SigCgt"))
            return mask, signal.getsignal(signal.SIGQUIT)
        def patched():
            now = functions()
            return [key for key in before if before[key] != now.get(key)]
        import _imp, logging  # what golib imports or patches
        before, handlers = functions(), caught()
        import golib, golib.aio, golib.context, golib.runtime, golib.signal, golib.sync
        print(len(os.listdir("/proc/self/task")), patched(), caught() == handlers)
        golib.go(int).join()
        print(("_thread", "get_ident") in patched(), ("RLock", "acquire") in patched(),
              caught() == handlers)
        """
    )
    assert result == (0, "1 [] True\nTrue True False\n", "")


def test_the_dump_of_a_thousand_goroutines_counts_a_thousand():
    ch = Chan()
    gs = [go(held_here, ch) for _ in range(1000)]
    parked(gs[-1])
    text = runtime.stack(all=True)
    ch.close()
    for g in gs:
        g.exception()
    alone = len(re.findall(HEADER, text, re.MULTILINE))
    assert alone + sum(map(int, re.findall(r"^and (\d+) more like it", text, re.MULTILINE))) == 1000


def test_sys_current_frames_shows_parked_goroutines():
    ch = Chan()
    g = parked(go(held_here, ch))
    names = set()
    for frame in sys._current_frames().values():
        names.add(frame.f_code.co_name)
    assert "held_here" in names
    ch.send(1)
    g.join()
