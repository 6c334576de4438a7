"""Interpreter exit with goroutines in any state: the status is kept, nothing is printed, nothing hangs."""

from __future__ import annotations

import os

import pytest

from support import SLACK, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

#: How often each state is tried in the default run; the slow test does it 500 times in all.
ROUNDS = int(os.environ.get("GOLIB_EXIT_ROUNDS", "3"))

#: Activities of a goroutine while the interpreter exits.
STATES = {
    "receiving": "Chan().recv()",
    "sending": "Chan().send(object())",
    "selecting": "golib.select(Chan(), golib.send(Chan(), 1), timeout=3600)",
    "sleeping": "golib.sleep(3600)",
    "on a mutex": "m = golib.sync.Mutex(); m.lock(); m.lock()",
    "on a wait group": "w = golib.sync.WaitGroup(); w.add(1); w.wait()",
    "joining": "go(Chan().recv).join()",
    "yielding": "exec('while True: golib.gosched()')",
    "computing": "exec('while True: pass')",
    "in a C call": "time.sleep(3600)",
    "in short C calls": "exec('while True: time.sleep(0.0001)')",
    "hashing": "exec('while True: hashlib.sha256(bytes(100000)).digest()')",
    "waiting for a plain lock": "lock.acquire()",
    "holding a plain lock": "lock2.acquire(); Chan().recv()",
    "holding logging's lock": "handler.acquire(); Chan().recv()",
    "holding an rlock": "rlock.acquire(); Chan().recv()",
    "in a generator": "list(x for x in iter(Chan().recv, 0))",
    "under a sort key": "sorted([2, 1], key=lambda x: Chan().recv())",
    "in an async function": "import asyncio; asyncio.run(asyncio.sleep(3600))",
    "locked to its thread": "golib.runtime.lock_os_thread().__enter__(); Chan().recv()",
    "spawning": "exec('while True: go(int); golib.gosched()')",
    "in finally": "exec('try:\\n Chan().recv()\\nfinally:\\n Chan().recv()')",
}

PROGRAM = """
    import hashlib, logging, sys, threading, time
    import golib
    from golib import Chan, go
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)
    lock, lock2, rlock = threading.Lock(), threading.Lock(), threading.RLock()
    lock.acquire()

    def task(i):
        {state}

    def main():
        for i in range({count}):
            go(task, i)
        golib.sleep(0.02)

    {start}
    {end}
    """

ENDS = {
    "exit status": ("sys.exit(7)", 7, ""),
    "the end of the file": ("", 0, ""),
    "an exception": ("raise SystemExit('text')", 1, "text\n"),
}


def check_exit(state, start="golib.run(main)", end="exit status", count=5):
    code, rc, err = ENDS[end]
    result = run_script(
        PROGRAM.format(state=STATES[state], start=start, end=code, count=count), timeout=60
    )
    assert result == (rc, "", err), (state, start, end)


@pytest.mark.parametrize("state", list(STATES))
def test_exit_keeps_the_status_and_says_nothing(state):
    for i in range(ROUNDS):
        end = list(ENDS)[i % len(ENDS)]
        check_exit(state, ("golib.run(main)", "main()")[i % 2], end)


#: Where the interpreter's end lets five goroutines out of their C calls: `let_go` is called there.
MOMENTS = {
    "while threads are waited for": "threading.Thread(target=let_go).start()",
    "in the first exit handler": "atexit.register(let_go)",
    "in the last exit handler": "",  # registered before golib was imported
    "while modules are torn down": "sys.last_value = Last()",  # the first that CPython drops
}

C_CALLS = {
    "os.read": "os.read(r, 1)",
    "ctypes": "libc.read(r, ctypes.create_string_buffer(1), 1)",
}

RETURNS = """
    import array, atexit, ctypes, fcntl, os, sys, termios, threading, time
    libc = ctypes.CDLL(None)
    r, w = os.pipe()

    def let_go():
        os.write(w, b"x" * 5)
        left, end = array.array("i", [5]), time.monotonic() + 20
        while left[0] == 5 and time.monotonic() < end:
            time.sleep(0.01)
            fcntl.ioctl(r, termios.FIONREAD, left)
        time.sleep(0.05)  # those that came back ask for the interpreter
        os.write(1, b"returned\\n" if left[0] < 5 else b"still blocked\\n")

    class Last:
        def __del__(self):
            let_go()

    if {early}:
        atexit.register(let_go)
    import golib
    ready = golib.Chan()

    def task():
        ready.send(None)
        {call}
        while True:
            golib.gosched()

    def main():
        for _ in range(5):
            golib.go(task)
        for _ in range(5):
            ready.recv()
        golib.sleep(0.05)

    {start}
    {moment}
    {end}
    """


@pytest.mark.parametrize("call", list(C_CALLS))
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_c_call_that_returns_while_the_interpreter_ends_does_no_harm(moment, call):
    first = list(MOMENTS).index(moment) + list(C_CALLS).index(call)  # even few rounds see all ends
    for i in range(first, first + ROUNDS):
        end, rc, err = list(ENDS.values())[i % len(ENDS)]
        code = RETURNS.format(
            early=moment == "in the last exit handler",
            call=C_CALLS[call],
            start=("golib.run(main)", "main()")[i % 2],
            moment=MOMENTS[moment],
            end=end,
        )
        assert run_script(code) == (rc, "returned\n", err), end


#: Loops of daemon threads that are always about to return from a wait.
WAITS_OF_THREADS = {
    "sleep": "golib.sleep(0.0003)",
    "recv": "ch.try_recv() or select(ch, timeout=0.0003)",
    "sync": "event.wait(0.0003)",
    "timeout": "ch.recv()",
}


@pytest.mark.parametrize("goroutines", [0, 1])
@pytest.mark.parametrize("wait", list(WAITS_OF_THREADS))
def test_daemon_threads_that_wait_in_golib_do_not_harm_the_end(wait, goroutines):
    for _ in range(ROUNDS):
        result = run_script(
            f"""
            import golib, threading, time
            from golib import select
            ch, event = golib.Chan(), golib.sync.Event()
            def work():
                while True:
                    try:
                        with golib.timeout(0.0003) if {wait == "timeout"} else threading.Lock():
                            {WAITS_OF_THREADS[wait]}
                    except TimeoutError:
                        pass
            for _ in range({goroutines}):
                golib.go(int).join()
            for _ in range(30):
                threading.Thread(target=work, daemon=True).start()
            time.sleep(0.02)
            """
        )
        assert result == (0, "", "")


@pytest.mark.slow
@pytest.mark.hang(3600)
def test_exit_five_hundred_times():
    states = list(STATES)
    for i in range(500):
        check_exit(
            states[i % len(states)],
            ("golib.run(main)", "main()")[i // 2 % 2],
            list(ENDS)[i % len(ENDS)],
            1 + i % 7,
        )


def test_exit_inside_run_keeps_the_status():
    result = run_script(
        """
        import golib, sys
        def main():
            golib.go(golib.Chan().recv)
            golib.sleep(0.01)
            sys.exit(5)
        golib.run(main)
        """
    )
    assert result == (5, "", "")


def test_os_exit_in_a_goroutine_ends_the_process():
    result = run_script("import golib, os; golib.go(os._exit, 6); golib.sleep(30)")
    assert result == (6, "", "")


def test_exit_without_a_single_goroutine_is_clean():
    assert run_script("import golib; golib.Chan(1).send(1)") == (0, "", "")


def test_exit_with_ten_thousand_parked_goroutines_is_quick_and_silent():
    result = run_script(
        """
        import golib
        ch = golib.Chan()
        gs = [golib.go(ch.recv) for _ in range(10_000)]
        golib.sleep(0.1)
        """,
        timeout=60,
    )
    assert result == (0, "", "")


def test_goroutines_may_be_used_in_atexit_functions():
    result = run_script(
        """
        import atexit, golib
        def late():
            ch = golib.Chan()
            g = golib.go(ch.send, "late")
            print(ch.recv(20), g.join(20))
        atexit.register(late)
        """
    )
    assert result == (0, "late None\n", "")


def test_destructors_of_values_in_channels_run_at_exit_without_noise():
    result = run_script(
        """
        import golib
        class Last:
            def __del__(self):
                print("gone")
        ch = golib.Chan(1)
        ch.send(Last())
        """
    )
    assert result == (0, "gone\n", "")


def test_golib_calls_in_destructors_at_exit_do_no_harm():
    result = run_script(
        """
        import golib
        class Last:
            def __init__(self, ch):
                self.ch = ch
            def __del__(self):
                try:
                    self.ch.try_send(1)
                    self.ch.try_recv()
                    golib.go(int)
                    golib.gosched()
                except BaseException:
                    pass
        kept = Last(golib.Chan(1))
        golib.go(golib.Chan().recv)
        golib.gosched()
        """
    )
    assert result == (0, "", "")


def test_exceptions_at_exit_are_reported_and_do_not_hang():
    result = run_script(
        """
        import atexit, golib
        class Bad:
            def __del__(self):
                raise ValueError("in del")
        atexit.register(lambda: 1 / 0)
        ch = golib.Chan(1)
        ch.send(Bad())
        golib.go(golib.Chan().recv)
        golib.gosched()
        """
    )
    assert result.rc == 0
    assert "ZeroDivisionError" in result.err
    assert "in del" in result.err


def test_daemon_threads_inside_golib_calls_do_not_disturb_exit():
    result = run_script(
        """
        import golib, sys, threading, time
        for call in (golib.Chan().recv, golib.select, lambda: golib.sleep(3600),
                     golib.sync.Mutex().lock):
            threading.Thread(target=call, daemon=True).start()
        def churn():
            while True:
                golib.go(int).join()
        threading.Thread(target=churn, daemon=True).start()
        time.sleep(0.05)
        sys.exit(4)
        """
    )
    assert result == (4, "", "")


def test_ordinary_threads_are_still_waited_for_at_exit():
    result = run_script(
        """
        import golib, threading
        ch = golib.Chan()
        golib.go(lambda: (golib.sleep(0.1), ch.send("sent")) and None)
        threading.Thread(target=lambda: print(ch.recv())).start()
        """
    )
    assert result == (0, "sent\n", "")


def test_buffered_output_of_goroutines_is_flushed_at_exit():
    result = run_script(
        "import golib, sys; golib.go(sys.stdout.write, 'text').join()",
        env={"PYTHONUNBUFFERED": ""},
    )
    assert result == (0, "text", "")
