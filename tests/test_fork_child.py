"""A forked child: the parent's goroutines do not run in it; it begins, gets signals and ends like a thread's child."""

from __future__ import annotations

import textwrap

import pytest

from support import FORK_SCRIPT, SLACK, run_ok, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

#: Ways to call `program()`, which forks.
STARTS = {
    "main": "program()",
    "run": "golib.run(program)",
    "goroutine": "go(program).join()",
    "executor": "golib.aio.Executor(1).submit(program).result()",
    "thread": "t = threading.Thread(target=program); t.start(); t.join()",
}
IN_GOROUTINES = ["run", "goroutine", "executor"]

HEAD = (
    """
import atexit, ctypes, golib, logging, multiprocessing, os, pty, signal, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from golib import Chan, go

parent = os.getpid()
"""
    + FORK_SCRIPT
    + """
def others():
    "Goroutines of the parent, which say so if they run in a child."
    def other():
        while True:
            golib.sleep(0.0005)
            if os.getpid() != parent:
                say("a goroutine of the parent runs in the child")
    for _ in range(5):
        go(other)
    golib.sleep(0.01)

def use():
    "What needs the whole runtime."
    ch = Chan()
    go(ch.send, 1)
    assert ch.recv(timeout=TIMEOUT) == 1
    golib.sleep(0.002)
    try:
        Chan().recv(timeout=0.01)
    except TimeoutError:
        return "works"
"""
)


def script(body: str, start: str) -> str:
    head = HEAD.replace("TIMEOUT", str(10 * SLACK))
    return f"{head}{textwrap.dedent(body)}\n{STARTS[start]}\n"


# -- before anything of Python runs in the child ------------------------------------------------------


@pytest.mark.parametrize("start", ["main", "run", "goroutine"])
@pytest.mark.parametrize(
    "use",
    [
        "go(int).join()",
        "golib.sleep(0.01)",
        "ch.send(1)",
        "golib.select(ch, golib.send(Chan(1), 1), timeout=9)",
        "use()",
        "golib.run(use)",
    ],
)
def test_a_hook_registered_before_golibs_finds_a_fresh_runtime(use, start):
    body = f"""
        ch = Chan(10)
        os.register_at_fork(after_in_child=lambda: {use})
        def program():
            others()
            pid = os.fork()
            if pid == 0:
                say("child", use())
                os._exit(0)
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "child works\nstatus 0\n"


@pytest.mark.parametrize("start", ["main", "run", "goroutine"])
def test_finalizers_run_by_cpythons_clean_up_find_a_fresh_runtime(start):
    body = """
        class Last:
            def __del__(self):
                if os.getpid() != parent:
                    say("finalizer", use())
        local, ready = threading.local(), golib.Chan()
        def other():
            local.value = Last()
            ready.send(None)
            while True:
                golib.sleep(0.0005)
                if os.getpid() != parent:
                    say("a goroutine of the parent runs in the child")
        def program():
            for _ in range(3):
                go(other)
                ready.recv()
            pid = os.fork()
            if pid == 0:
                say("child", use())
                os._exit(0)
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "finalizer works\n" * 3 + "child works\nstatus 0\n"


def test_the_threads_hook_and_ours_come_before_the_programs():
    body = """
        seen = []
        def hook():
            main = threading.main_thread()
            seen.append((main is threading.current_thread(), main.is_alive(), main.name))
        os.register_at_fork(after_in_child=hook)
        def program():
            pid = os.fork()
            if pid == 0:
                say(*seen)
                os._exit(0)
            say("status", wait(pid))
        """
    for start in IN_GOROUTINES:
        assert run_ok(script(body, start)) == "(True, True, 'MainThread')\nstatus 0\n"


@pytest.mark.parametrize("start", ["main", "run", "goroutine"])
@pytest.mark.parametrize(
    "fork",
    [
        "os.fork()",
        "os.forkpty()[0]",
        "pty.fork()[0]",
        "ctypes.PyDLL(None).fork()",
        "ctypes.CDLL(None).fork()",
    ],
)
def test_every_way_to_fork_leaves_a_fresh_runtime(fork, start):
    body = f"""
        def program():
            others()
            out, into = os.pipe()
            pid = {fork}
            if pid == 0:
                os.write(into, use().encode())
                os._exit(3)
            os.close(into)
            say("status", wait(pid), os.read(out, 100).decode())
        """
    if "ctypes" in fork:
        # CPython does not remake the GIL in such a child: no thread may be about to take it, with golib or without.
        body = body.replace("others()", "go(Chan().recv)\n            golib.sleep(0.01)")
    assert run_ok(script(body, start)) == "status 3 works\n"


@pytest.mark.parametrize("start", list(STARTS))
def test_a_preexec_function_may_use_golib(start):
    body = """
        def program():
            others()
            print(subprocess.run(["echo", "ran"], preexec_fn=use, stdout=subprocess.PIPE, text=True).stdout, end="")
        """
    assert run_ok(script(body, start)) == "ran\n"


@pytest.mark.parametrize("start", ["run", "goroutine"])
def test_hooks_before_a_fork_may_wait(start):
    body = """
        os.register_at_fork(before=lambda: golib.sleep(0.005), after_in_parent=lambda: golib.sleep(0.005))
        def program():
            others()
            os.register_at_fork(before=use, after_in_parent=use)
            pid = os.fork()
            if pid == 0:
                say("child", use())
                return
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "child works\nstatus 0\n"


def test_a_child_keeps_the_parents_limits():
    body = """
        def program():
            golib.gomaxprocs(3)
            golib.runtime.set_max_threads(77)
            pid = os.fork()
            if pid == 0:
                say(golib.gomaxprocs(), golib.runtime.set_max_threads(77), golib.num_goroutine())
                return
            say("status", wait(pid))
        """
    assert run_ok(script(body, "run")) == "3 77 1\nstatus 0\n"


# -- the child's main thread --------------------------------------------------------------------------


@pytest.mark.parametrize("start", IN_GOROUTINES)
def test_the_forking_goroutine_is_the_childs_main_thread(start):
    body = """
        def check(before):
            me = threading.current_thread()
            assert threading.get_ident() == before == me.ident, "ident"
            assert me is threading.main_thread() and me.is_alive() and not me.daemon, me
            assert threading.enumerate() == [me] and golib.num_goroutine() == 1
            assert go(threading.current_thread).join() is not me
            signal.signal(signal.SIGUSR1, lambda *_: say("handler", threading.current_thread() is me))
            os.kill(os.getpid(), signal.SIGUSR1)
            say("checked")
        def program():
            for named in (False, True):
                before = threading.current_thread().ident if named else threading.get_ident()
                pid = os.fork()
                if pid == 0:
                    return check(before)
                say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "handler True\nchecked\nstatus 0\n" * 2


@pytest.mark.parametrize("start", IN_GOROUTINES)
@pytest.mark.parametrize("wait", ["Chan().recv()", "golib.sleep(9)", "time.sleep(9)", "spin()"])
def test_a_signal_reaches_the_child_wherever_it_waits(wait, start):
    body = f"""
        def spin():
            while True:
                time.monotonic()
        def child():
            got = []
            signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
            def send():
                for number in (signal.SIGUSR1, signal.SIGINT):
                    time.sleep(0.02)
                    os.kill(os.getpid(), number)
            began = time.monotonic()
            threading.Thread(target=send).start()
            try:
                {wait}
            except KeyboardInterrupt:
                say("interrupted", got, time.monotonic() - began < {3 * SLACK})
        def program():
            pid = os.fork()
            if pid == 0:
                return child()
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "interrupted [1] True\nstatus 0\n"


@pytest.mark.parametrize("start", IN_GOROUTINES)
def test_golibs_signals_work_in_the_child(start):
    body = """
        def child():
            signals = Chan(1)
            golib.signal.notify(signals, signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGUSR2)
            say(signals.recv(timeout=5) == signal.SIGUSR2)
            go(golib.signal.ignore, signal.SIGUSR2).join()
            os.kill(os.getpid(), signal.SIGUSR2)
        def program():
            pid = os.fork()
            if pid == 0:
                return child()
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "True\nstatus 0\n"


# -- the child's end ----------------------------------------------------------------------------------

ENDS = {
    "return": 0,
    "sys.exit(3)": 3,
    "sys.exit('text')": 1,
    "1 / 0": 1,
    "golib.goexit()": 0,
    "os._exit(7)": 7,
}


# An executor's future holds what its call raises.
@pytest.mark.parametrize("start", ["run", "goroutine"])
@pytest.mark.parametrize("end", list(ENDS))
def test_a_child_waits_for_its_threads_and_runs_its_exit_handlers(end, start):
    body = f"""
        gate = threading.Event()
        def late(what):
            gate.wait()
            say(what)
        def child():
            atexit.register(say, "exit handler")
            threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
            threading.Thread(target=late, args=("thread",)).start()
            ThreadPoolExecutor(1).submit(late, "pool")
            golib.aio.Executor(1).submit(late, "executor")
            threading.Timer(0.05, gate.set).start()
            {end}
        def program():
            pid = os.fork()
            if pid == 0:
                return child()
            say("status", wait(pid))
        """
    result = run_script(script(body, start))
    assert result.rc == 0
    *lines, status = result.out.splitlines()
    assert status == f"status {ENDS[end]}"
    if end == "os._exit(7)":
        assert lines == []
    else:
        assert sorted(lines[:3]) == ["executor", "pool", "thread"]
        assert lines[3:] == ["exit handler"]
    assert ("ZeroDivisionError" in result.err) == (end == "1 / 0")
    assert ("text\n" in result.err) == ("text" in end)


@pytest.mark.parametrize("start", IN_GOROUTINES)
def test_children_of_children_end_so_too(start):
    body = """
        def grandchild():
            main = threading.main_thread()
            say("grandchild", main is threading.current_thread(), main.is_alive())
            threading.Thread(target=lambda: (time.sleep(0.05), say("its thread"))).start()
        def fork(body):
            pid = os.fork()
            if pid == 0:
                return body()
            say("status", wait(pid))
        def child():
            fork(grandchild)
            if os.getppid() == parent:
                g = go(fork, grandchild)
                g.join()
        def program():
            fork(child)
        """
    expected = "grandchild True True\nits thread\nstatus 0\n" * 2 + "status 0\n"
    assert run_ok(script(body, start)) == expected


@pytest.mark.parametrize("start", list(STARTS))
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing_keeps_a_childs_threads_and_status(method, start, tmp_path):
    program = tmp_path / "program.py"
    head = HEAD.replace("TIMEOUT", str(20 * SLACK))
    program.write_text(
        f"""{head}
def child():
    threading.Thread(target=lambda: (time.sleep(0.05), say("thread"))).start()
    pool = ThreadPoolExecutor(1)
    assert pool.submit(use).result() == "works" and golib.run(use) == "works"
    pool.submit(lambda: (time.sleep(0.1), say("pool")))
    sys.exit(5)
def program():
    process = multiprocessing.get_context("{method}").Process(target=child)
    process.start()
    process.join({20 * SLACK})
    say("status", process.exitcode)
    process.kill()
if __name__ == "__main__":
    {STARTS[start]}
    os._exit(0)  # not ThreadPoolExecutor's own trouble with forks
"""
    )
    out = run_ok(
        f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", timeout=120
    )
    assert out == "thread\npool\nstatus 5\n"


@pytest.mark.parametrize("start", IN_GOROUTINES)
def test_process_pools_work(start):
    body = """
        from concurrent.futures import ProcessPoolExecutor
        def program():
            with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:
                say(*pool.map(abs, [-1, -2, -3]))
        """
    assert run_ok(script(body, start), timeout=60) == "1 2 3\n"


def test_a_child_of_an_executors_call_may_use_that_executor():
    body = """
        executor = golib.aio.Executor(2)
        def child():
            say(executor.submit(abs, -4).result(), *executor.map(abs, [-5, -6]))
            with golib.aio.Executor(1) as another:
                say(another.submit(abs, -7).result())
        def call():
            pid = os.fork()
            if pid == 0:
                return child()
            say("status", wait(pid))
        def program():
            executor.submit(call).result()
        """
    assert run_ok(script(body, "goroutine")) == "4 5 6\n7\nstatus 0\n"


# -- blocks in which a goroutine forks ----------------------------------------------------------------


@pytest.mark.parametrize("start", ["main", "run", "goroutine"])
def test_a_scope_left_in_the_child_waits_for_nobody_of_the_parents(start):
    body = """
        def program():
            gate = Chan()
            with golib.scope(limit=2) as scope:
                for _ in range(2):
                    scope.go(gate.recv_ok)
                pid = os.fork()
                if pid == 0:
                    scope.go(say, "member")
                else:
                    say("status", wait(pid))
                    gate.close()
            if pid == 0:
                say("left")
                sys.exit(0)
        """
    assert run_ok(script(body, start)) == "member\nleft\nstatus 0\n"


@pytest.mark.parametrize("start", ["main", "run", "goroutine"])
def test_a_timeout_block_ends_in_the_child_too(start):
    body = """
        def program():
            pid = None
            try:
                with golib.timeout(0.05):
                    pid = os.fork()
                    if pid == 0:
                        Chan().recv()
            except TimeoutError:
                say("timed out")
            if pid == 0:
                sys.exit(0)
            say("status", wait(pid))
        """
    assert run_ok(script(body, start)) == "timed out\nstatus 0\n"


@pytest.mark.parametrize("start", IN_GOROUTINES)
@pytest.mark.parametrize("wait", ["wg.wait()", "Chan().recv()", "g.join()"])
def test_waiting_for_what_stayed_in_the_parent_is_a_deadlock(wait, start):
    body = f"""
        def program():
            gate, wg = Chan(), golib.sync.WaitGroup()
            g = go(gate.recv_ok)
            wg.go(g.join)
            golib.sleep(0.005)
            pid = os.fork()
            if pid == 0:
                try:
                    {wait}
                except golib.Deadlock:
                    say("deadlock")
                return
            say("status", wait(pid))
            gate.close()
        """
    assert run_ok(script(body, start)) == "deadlock\nstatus 0\n"
