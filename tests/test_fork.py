"""fork: only the forking goroutine continues in the child, where the runtime starts afresh."""

from __future__ import annotations

import pytest

from support import SLACK, run_ok, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

CHILD = """
    import golib, os, sys, threading
    from golib import Chan, go

    def wait(pid):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """


def script(body: str) -> str:
    import textwrap

    return textwrap.dedent(CHILD) + textwrap.dedent(body)


def test_fork_on_the_bare_main_thread_is_an_ordinary_fork():
    out = run_ok(
        script(
            """
            g = go(Chan().recv)
            golib.gosched()
            pid = os.fork()
            if pid == 0:
                ch = Chan()
                h = go(ch.send, 1)
                assert ch.recv() == 1
                assert golib.run(lambda: 5) == 5
                print("child", golib.num_goroutine(), flush=True)
                sys.exit(3)
            print("parent", wait(pid), golib.num_goroutine())
            """
        )
    )
    assert out == "child 0\nparent 3 1\n"


def test_only_the_forking_goroutine_lives_in_the_child():
    out = run_ok(
        script(
            """
            def main():
                for _ in range(50):
                    go(Chan().recv)
                golib.sleep(0.02)
                pid = os.fork()
                if pid == 0:
                    print("child", golib.num_goroutine(), len(golib.runtime.goroutines()), flush=True)
                    os._exit(0)
                print("parent", wait(pid), golib.num_goroutine())
            golib.run(main)
            """
        )
    )
    assert out == "child 1 1\nparent 0 51\n"


def test_channels_made_before_hold_no_waiters_of_the_parent():
    out = run_ok(
        script(
            """
            a, b, c = Chan(), Chan(), Chan(2)
            c.send("buffered")
            gs = [go(a.recv), go(b.send, 1), go(golib.select, a, golib.send(b, 2))]
            golib.sleep(0.02)
            pid = os.fork()
            if pid == 0:
                print(a.try_send(1), b.try_recv(), c.try_recv(), flush=True)
                g = go(a.send, "new")
                print(a.recv(), flush=True)
                os._exit(0)
            print(wait(pid))
            print(a.try_send(1), b.recv())
            """
        )
    )
    assert out.splitlines()[:3] == ["False None Recv(value='buffered', ok=True)", "new", "0"]
    assert out.splitlines()[3].startswith("True ")


def test_when_the_forking_goroutine_ends_the_child_ends():
    for body, rc in (("return 1", 0), ("sys.exit(9)", 9), ("sys.exit()", 0)):
        out = run_ok(
            script(
                f"""
                def child():
                    {body}
                def task(results):
                    pid = os.fork()
                    if pid == 0:
                        return child()
                    results.send(wait(pid))
                results = Chan(1)
                golib.run(lambda: go(task, results).join())
                print(results.recv())
                """
            )
        )
        assert out == f"{rc}\n"


def test_an_exception_ends_the_child_with_status_1_after_a_traceback():
    result = run_script(
        script(
            """
            def main():
                pid = os.fork()
                if pid == 0:
                    raise ValueError("in the child")
                print(wait(pid))
            golib.run(main)
            """
        )
    )
    assert (result.rc, result.out) == (0, "1\n")
    assert "ValueError: in the child" in result.err


def test_run_never_returns_in_the_child():
    out = run_ok(
        script(
            """
            def main():
                return os.fork()
            pid = golib.run(main)
            if pid == 0:
                print("returned in the child", flush=True)
                os._exit(1)
            print(wait(pid))
            """
        )
    )
    assert out == "0\n"


def test_the_child_runs_its_exit_handlers():
    out = run_ok(
        script(
            """
            import atexit
            me = os.getpid()
            atexit.register(lambda: print("exit", os.getpid() == me, flush=True))
            def main():
                pid = os.fork()
                if pid:
                    print(wait(pid), flush=True)
            golib.run(main)
            """
        )
    )
    assert out == "exit False\n0\nexit True\n"


def test_the_child_can_use_everything():
    out = run_ok(
        script(
            """
            import time
            def use():
                ch = Chan()
                gs = [go(ch.send, i) for i in range(100)]
                total = sum(ch.recv() for _ in range(100))
                wg = golib.sync.WaitGroup()
                for _ in range(10):
                    wg.go(time.sleep, 0.05)
                wg.wait()
                golib.sleep(0.01)
                try:
                    ch.recv(0.01)
                except TimeoutError:
                    total += 1
                return total
            def main():
                use()
                pid = os.fork()
                if pid == 0:
                    print("child", use(), flush=True)
                    return
                print("parent", wait(pid), use())
            golib.run(main)
            """
        )
    )
    assert out == "child 4951\nparent 0 4951\n"


def test_fork_in_a_storm_leaves_both_sides_usable():
    out = run_ok(
        script(
            """
            import time
            stop = []
            def churn(k):
                ch = Chan(1)
                while not stop:
                    g = go(ch.send, k)
                    ch.recv()
                    g.join()
                    if k % 5 == 0:
                        time.sleep(0.0005)
            def use():
                ch = Chan()
                gs = [go(ch.send, i) for i in range(20)]
                return sum(ch.recv() for _ in range(20))
            def main():
                gs = [go(churn, k) for k in range(20)]
                codes = []
                for i in range(15):
                    pid = os.fork()
                    if pid == 0:
                        sys.exit(0 if use() == 190 else 1)
                    golib.gosched()
                    codes.append(golib.blocking(wait, pid))
                stop.append(1)
                for g in gs:
                    g.join()
                print(set(codes), use())
            golib.run(main)
            """
        ),
        timeout=120,
    )
    assert out == "{0} 190\n"


def test_a_fork_from_another_thread_leaves_a_usable_child():
    out = run_ok(
        script(
            """
            def body():
                go(Chan().recv)
                golib.gosched()
                pid = os.fork()
                if pid == 0:
                    ch = Chan()
                    g = go(ch.send, "child")
                    print(ch.recv(), flush=True)
                    os._exit(0)
                print(wait(pid))
            t = threading.Thread(target=body)
            t.start()
            t.join()
            """
        )
    )
    assert out == "child\n0\n"


@pytest.mark.parametrize("start", ["golib.run(main)", "go(main).join()", "main()"])
def test_a_goroutine_that_stayed_in_the_parent_does_not_end_in_the_child(start):
    out = run_ok(
        script(
            f"""
            import time
            def main():
                gate = Chan()
                g, ended = go(gate.recv), go(str, "before")
                while g.status() != "chan receive" or not ended.done():
                    golib.sleep(0.001)
                pid = os.fork()
                if pid == 0:
                    print(ended.join(), gate.try_send("to nobody"), flush=True)
                    print(g.id in [other.id for other in golib.runtime.goroutines()], flush=True)
                    began = time.monotonic()
                    try:
                        g.join(0.2)
                    except TimeoutError:
                        print(time.monotonic() - began >= 0.2, g.done(), flush=True)
                    os._exit(0)
                print(wait(pid))
                gate.send("in the parent")
                print(g.join())
            {start}
            """
        )
    )
    assert out == "before False\nFalse\nTrue False\n0\nin the parent\n"


@pytest.mark.parametrize("start", ["main()", "golib.run(main)", "go(main).join()"])
def test_joining_a_goroutine_that_stayed_in_the_parent_is_a_deadlock(start):
    out = run_ok(
        script(
            f"""
            import signal
            def main():
                g = go(Chan().recv)
                golib.gosched()
                pid = os.fork()
                if pid == 0:
                    signal.alarm({1 + round(SLACK)})  # ends the child if it hangs
                    try:
                        g.join()
                    except golib.Deadlock as error:
                        print(error, flush=True)
                    os._exit(0)
                print(golib.blocking(wait, pid))
            {start}
            """
        )
    )
    assert out == "all goroutines are asleep - deadlock!\n0\n"


def test_multiprocessing_works_from_goroutines():
    out = run_ok(
        script(
            """
            import multiprocessing
            def work(x):
                return golib.run(lambda: x + go(int, "1").join())
            def main():
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    return pool.map(work, range(4))
            if __name__ == "__main__":
                print(golib.run(main))
            """
        ),
        timeout=60,
    )
    assert out == "[1, 2, 3, 4]\n"


def test_subprocesses_can_be_started_from_many_goroutines():
    out = run_ok(
        script(
            """
            import subprocess
            def task(i):
                return subprocess.run(["echo", str(i)], capture_output=True, text=True).stdout.strip()
            print([g.join() for g in [go(task, i) for i in range(8)]])
            """
        )
    )
    assert out == str([str(i) for i in range(8)]) + "\n"


def test_threads_of_the_child_have_right_identities():
    out = run_ok(
        script(
            """
            def main():
                before = threading.get_ident()
                pid = os.fork()
                if pid == 0:
                    ok = threading.current_thread() is threading.main_thread()
                    print(ok, before == threading.get_ident(), flush=True)
                    os._exit(0)
                wait(pid)
            golib.run(main)
            """
        )
    )
    assert out == "True True\n"
