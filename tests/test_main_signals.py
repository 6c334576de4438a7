"""Signals while run's main goroutine is in a C call, computes or waits: each program behaves as without golib."""

from __future__ import annotations

import signal
import textwrap
import time

import pytest

from support import MUSL, SLACK, finish, run_ok, run_script, signal_at, start_script

STARTS = {"run": "golib.run(main)", "plain": "main()"}

#: Statements that block in C until a signal comes.
CALLS = {
    "time.sleep": "time.sleep(60)",
    "select": "select.select([], [], [], 60)",
    "poll": "select.poll().poll(60_000)",
    "epoll": "select.epoll().poll(60)",
    "socket.recv": "a, b = socket.socketpair(); a.recv(1)",
    "socket.recv with a timeout": "a, b = socket.socketpair(); a.settimeout(60); a.recv(1)",
    "accept": "s = socket.create_server(('127.0.0.1', 0)); s.accept()",
    "os.read": "r, w = os.pipe(); os.read(r, 1)",
    "a buffered file": "r, w = os.pipe(); open(r, 'rb').read()",
    "input": "sys.stdin = open(os.pipe()[0]); input()",
    "lock": "l = threading.Lock(); l.acquire(); l.acquire()",
    "lock with a timeout": "l = threading.Lock(); l.acquire(); l.acquire(timeout=60)",
    "RLock": "thread_with(rlock); rlock.acquire()",
    "Thread.join": "t = threading.Thread(target=time.sleep, args=(60,), daemon=True); t.start(); t.join()",
    "Event.wait": "threading.Event().wait()",
    "Condition.wait": "c = threading.Condition(); c.acquire(); c.wait()",
    "queue.get": "queue.Queue().get()",
    "SimpleQueue.get": "queue.SimpleQueue().get()",
    "Future.result": "concurrent.futures.Future().result()",
    "subprocess.wait": "subprocess.Popen(['sleep', '60'], **quiet).wait()",
    "subprocess.run": "subprocess.run(['sleep', '60'], **quiet)",
    "os.waitpid": "p = subprocess.Popen(['sleep', '60'], **quiet); os.waitpid(p.pid, 0)",
    "signal.pause": "signal.pause()",
    "sigtimedwait": "signal.sigtimedwait([signal.SIGUSR2], 60)",
    "asyncio.run": "asyncio.run(asyncio.sleep(60))",
    "an event loop": "asyncio.new_event_loop().run_forever()",
    "golib": "golib.Chan().recv(60)",
    "a goroutine's call": "golib.go(time.sleep, 60).join()",
    "code": "sum(iter(lambda: 1, 0))",
}

PROGRAM = textwrap.dedent("""
    import asyncio, concurrent.futures, os, queue, select, signal, socket, subprocess, sys, threading, time
    import golib

    rlock = threading.RLock()
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def thread_with(lock):
        held = threading.Event()
        threading.Thread(target=lambda: (lock.acquire(), held.set(), time.sleep(60)), daemon=True).start()
        held.wait()

    others = []

    def bystander(wait):
        try:
            wait()
        except BaseException as error:
            others.append(repr(error))

    def main():
        for wait in (golib.Chan().recv, lambda: golib.sleep(3600), lambda: time.sleep(3600)):
            golib.go(bystander, wait)
        print("ready", flush=True)
        try:
            try:
                {call}
            finally:
                print("finally", threading.current_thread() is threading.main_thread(), others)
        except KeyboardInterrupt as error:
            code = [f.f_code.co_name for f, _ in __import__("traceback").walk_tb(error.__traceback__)]
            print("interrupted", code[0])
        time.sleep(0.01)
        print("once", others, flush=True)
        os._exit(0)
    {start}
    """)


@pytest.mark.parametrize("call", list(CALLS))
def test_ctrl_c_interrupts_the_call_and_what_encloses_it_is_left_in_order(call):
    if call == "sigtimedwait" and MUSL:
        pytest.skip("musl's sigtimedwait goes on after a signal, so CPython's does as well")
    process = start_script(PROGRAM.format(call=CALLS[call], start=STARTS["run"]))
    sent = signal_at(process, "ready")
    result = finish(process, 20)
    assert result == (0, "finally True []\ninterrupted main\nonce []\n", "")
    assert time.monotonic() - sent < 0.6 * SLACK


HANDLERS = textwrap.dedent("""
    import os, signal, socket, sys, threading, time
    import golib

    seen = []

    def handler(number, frame):
        names = []
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        seen.append((number, "main" in names, threading.current_thread() is threading.main_thread()))
        {handler}

    def waits():
        {wait}

    def main():
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        start = time.monotonic()
        try:
            print(waits())
        except KeyError as error:
            print("raised", error)
        print(seen, 0.04 < time.monotonic() - start < 10)
    {start}
    """)

WAITS = {
    "time.sleep": "return time.sleep(0.3)",
    "recv": "return golib.Chan(1).recv_ok.__self__ and golib.sleep(0.3)",
    "lock": "l = threading.Lock(); l.acquire(); return l.acquire(timeout=0.3)",
    "socket": "a, b = socket.socketpair(); a.settimeout(0.3)\n"
    "    try: a.recv(1)\n    except TimeoutError: return 'late'",
    "code": "end = time.monotonic() + 0.3\n    while time.monotonic() < end: pass",
    "gosched": "end = time.monotonic() + 0.3\n    while time.monotonic() < end: golib.gosched()",
}


@pytest.mark.parametrize("does", ["pass", "raise KeyError('up')"], ids=["returns", "raises"])
@pytest.mark.parametrize("wait", list(WAITS))
def test_a_handler_runs_in_main_once_and_the_call_goes_on_or_raises(wait, does):
    programs = [HANDLERS.format(handler=does, wait=WAITS[wait], start=s) for s in STARTS.values()]
    run, plain = (run_script(program) for program in programs)
    assert run == plain
    assert run.rc == 0
    assert f"[({int(signal.SIGALRM)}, True, True)] True" in run.out


def test_a_handler_may_use_golib_in_the_middle_of_mains_waits():
    out = run_ok(
        """
        import golib, signal, time
        inner = []
        def handler(number, frame):
            ch = golib.Chan()
            golib.go(ch.send, number)
            inner.append(ch.recv())
            golib.sleep(0.001)
        def main():
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            ch = golib.Chan()
            golib.go(lambda: [(golib.sleep(0.001), ch.send(i)) for i in range(200)])
            got = [ch.recv() for _ in range(200)]
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(got == list(range(200)), len(inner) > 3)
        golib.run(main)
        """
    )
    assert out == "True True\n"


def test_signals_reach_main_alone_while_it_moves_from_thread_to_thread():
    out = run_ok(
        """
        import golib, os, signal, threading, time
        golib._golib._set_debug_migrate(True)
        wrong, seen = [], []
        def handler(number, frame):
            if threading.current_thread() is not threading.main_thread():
                wrong.append(threading.current_thread())
            seen.append(number)
        def other(ch, back):
            for value in ch:
                back.send(value)
        def spin():
            while True:
                time.sleep(0)
                golib.gosched()
        def main():
            signal.signal(signal.SIGUSR1, handler)
            ch, back = golib.Chan(), golib.Chan()
            golib.go(other, ch, back)
            for _ in range(3): golib.go(spin)
            sent = 0
            for i in range(3000):
                ch.send(i)
                assert back.recv() == i
                if i % 10 == 0:
                    golib.go(signal.raise_signal, signal.SIGUSR1).join()
                    sent += 1
                    while len(seen) < sent: pass
            print(wrong, len(seen) == sent)
        golib.run(main)
        """
    )
    assert out == "[] True\n"


@pytest.mark.parametrize("who", ["golib.go(send)", "threading.Thread(target=send).start()"])
@pytest.mark.parametrize("how", ["signal.raise_signal(signal.SIGINT)", "_thread.interrupt_main()"])
@pytest.mark.parametrize(
    "wait", ["golib.Chan().recv(30)", "time.sleep(30)", "sum(iter(lambda: 1, 0))", "lock.acquire()"]
)
def test_what_others_raise_for_main_is_seen_at_once(wait, how, who):
    out = run_ok(
        f"""
        import _thread, golib, os, signal, threading, time
        lock = threading.Lock()
        lock.acquire()
        sent = []
        def send():
            time.sleep(0.05)
            sent.append(time.monotonic())
            {how}
        def main():
            {who}
            try:
                {wait}
            except KeyboardInterrupt:
                print(time.monotonic() - sent[0] < 0.4 * {SLACK})
        golib.run(main)
        """
    )
    assert out == "True\n"


@pytest.mark.parametrize("how", ["signal.raise_signal(signal.SIGINT)", "_thread.interrupt_main()"])
def test_what_a_goroutine_raises_is_seen_by_a_bare_main_thread_that_waits_in_golib(how):
    out = run_ok(
        f"""
        import _thread, golib, signal, time
        sent = []
        def send():
            golib.sleep(0.05)
            sent.append(time.monotonic())
            {how}
        golib.go(send)
        try:
            golib.Chan().recv(30)
        except KeyboardInterrupt:
            print(time.monotonic() - sent[0] < 0.4 * {SLACK})
        """
    )
    assert out == "True\n"


SENDS = {
    "kill": "os.kill(os.getpid(), signal.SIGUSR1)",
    "killpg": "os.killpg(os.getpgid(0), signal.SIGUSR1)",
    "pthread_kill": "signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)",
    "raise_signal": "signal.raise_signal(signal.SIGUSR1)",
}


@pytest.mark.parametrize("send", list(SENDS))
def test_a_signal_that_main_sends_itself_has_been_handled_when_the_call_returns(send):
    out = run_ok(
        f"""
        import golib, os, signal, threading
        seen = []
        def main():
            signal.signal(signal.SIGUSR1, lambda n, frame: seen.append(frame.f_code.co_name))
            for i in range(200):
                {SENDS[send]}
                assert len(seen) == i + 1, (i, seen)
            def up(*_): raise KeyError("up")
            signal.signal(signal.SIGUSR1, up)
            try:
                {SENDS[send]}
            except KeyError as error:
                print(set(seen), error.__traceback__.tb_next.tb_frame.f_code.co_name)
        golib.run(main)
        """
    )
    assert out == "{'main'} up\n"


def test_ctrl_c_is_not_lost_while_main_sets_handlers():
    out = run_ok(
        """
        import golib, os, signal, socket, subprocess, sys, time
        caught = 0
        a, b = socket.socketpair()
        a.setblocking(False)
        def once():
            child = subprocess.Popen(["sh", "-c", f"sleep 0.00{os.getpid() % 10}; kill -INT {os.getpid()}"])
            end = time.monotonic() + 30
            try:
                while time.monotonic() < end:
                    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
                    signal.set_wakeup_fd(a.fileno())
                    signal.set_wakeup_fd(-1)
            finally:
                child.wait()
        for _ in range(40):
            try:
                golib.run(once)
            except KeyboardInterrupt:
                caught += 1
        print(caught)
        """,
        timeout=120,
    )
    assert out == "40\n"


def test_asyncio_run_in_main_takes_ctrl_c_at_any_moment():
    # asyncio itself complains on stderr of a loop that was interrupted in its making.
    result = run_script(
        """
        import asyncio, golib, os, signal, subprocess, time
        async def work():
            await asyncio.sleep(30)
        outcomes = set()
        for i in range(30):
            kill = f"read go; sleep 0.0{i:02}; kill -INT {os.getpid()}"
            child = subprocess.Popen(["sh", "-c", kill], stdin=subprocess.PIPE)
            try:
                child.stdin.close()
                golib.run(asyncio.run, work())
            except BaseException as error:
                outcomes.add(type(error).__name__)
            child.wait()
        print(outcomes)
        """,
        timeout=120,
    )
    assert (result.rc, result.out) == (0, "{'KeyboardInterrupt'}\n")


def test_a_handler_runs_within_a_second_in_spite_of_a_call_that_nothing_interrupts():
    out = run_ok(
        """
        import ctypes, golib, os, signal, time
        mutex = ctypes.create_string_buffer(64)
        c = ctypes.CDLL(None)
        def handler(number, frame):
            c.pthread_mutex_unlock(mutex)
            time.sleep(0.1)  # main goes on before it has its part back
        def main():
            signal.signal(signal.SIGALRM, handler)
            c.pthread_mutex_lock(mutex)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            c.pthread_mutex_lock(mutex)
            c.pthread_mutex_unlock(mutex)
            seen = []
            signal.signal(signal.SIGALRM, lambda n, frame: seen.append(frame.f_code.co_name))
            signal.raise_signal(signal.SIGALRM)
            print("main again", seen)
        golib.run(main)
        """
    )
    assert out == "main again ['main']\n"


def test_pending_calls_run_in_main_wherever_it_waits():
    out = run_ok(
        """
        import golib, threading, time
        def main():
            ran = golib.Chan(1)
            def call(): ran.send(threading.current_thread() is threading.main_thread())
            golib.go(lambda: (time.sleep(0.02), golib._golib._call_soon(call)))
            print(ran.recv())
            golib.go(lambda: (time.sleep(0.02), golib._golib._call_soon(call)))
            end = time.monotonic() + 20
            while not len(ran) and time.monotonic() < end: pass
            print(ran.recv())
        golib.run(main)
        """
    )
    assert out == "True\nTrue\n"


def test_faulthandler_counts_down_in_main():
    result = run_script(
        """
        import faulthandler, golib, sys, time
        def main():
            faulthandler.dump_traceback_later(0.1, file=sys.stdout)
            time.sleep(0.3)
        golib.run(main)
        """
    )
    assert result.rc == 0
    assert "Timeout" in result.out
    assert "in main" in result.out


def test_a_program_that_has_plans_with_sigurg_keeps_them():
    out = run_ok(
        """
        import golib, os, signal, time
        seen = []
        signal.signal(signal.SIGURG, lambda n, f: seen.append(n))
        def main():
            handler = signal.getsignal(signal.SIGURG)
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            time.sleep(0.1)  # interrupted once
            print(seen, signal.getsignal(signal.SIGURG) is handler)
            os.kill(os.getpid(), signal.SIGURG)
            print(seen == [signal.SIGURG])
        golib.run(main)
        """
    )
    assert out == "[] True\nTrue\n"


def test_what_main_blocks_stays_pending_for_the_process():
    out = run_ok(
        """
        import golib, os, signal, threading, time
        seen = []
        def wait(*numbers):
            ch = golib.Chan()
            for _ in range(3):  # main moves, and others block in C
                golib.go(lambda: (time.sleep(0.01), ch.send(None)))
                ch.recv()
            return signal.sigwait(numbers).name
        def main():
            golib.go(time.sleep, 60)
            golib.sleep(0.01)
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
                print(number in signal.sigpending(), wait(signal.SIGUSR1, signal.SIGTERM, signal.SIGINT))
            golib.go(lambda: (golib.sleep(0.05), os.kill(os.getpid(), signal.SIGTERM)))
            print(wait(signal.SIGTERM))
            os.kill(os.getpid(), signal.SIGINT)
            golib.sleep(0.01)
            try:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            except KeyboardInterrupt:
                blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
                print("interrupted", sorted(blocked) == [signal.SIGUSR1, signal.SIGTERM])
            signal.signal(signal.SIGUSR1, lambda n, f: seen.append(n))
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.kill(os.getpid(), signal.SIGUSR1)
            print(seen == [signal.SIGUSR1])
        golib.run(main)
        """
    )
    assert out == "True SIGUSR1\nTrue SIGTERM\nTrue SIGINT\nSIGTERM\ninterrupted True\nTrue\n"
