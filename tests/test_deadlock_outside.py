"""No Deadlock while a thread that golib does not know may wake a waiter; Deadlock once it is gone."""

from __future__ import annotations

import signal

import pytest

from support import finish, run_ok, run_script, start_script, wait_line

DEADLOCK = "all goroutines are asleep - deadlock!"

#: Threads of the C library: without a Python state, or with one during a call only.
C_THREADS = """
import ctypes, os, signal, threading, time
import golib
libc = ctypes.CDLL(None, use_errno=True)
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

class sigevent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("signo", ctypes.c_int), ("notify", ctypes.c_int),
                ("function", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("pad", ctypes.c_char * 64)]

class itimerspec(ctypes.Structure):
    _fields_ = [("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2)]

def timer(seconds, notify, signo=0, function=None):
    event, ident = sigevent(None, signo, notify, function, None), ctypes.c_void_p()
    assert libc.timer_create(1, ctypes.byref(event), ctypes.byref(ident)) == 0
    when = itimerspec()
    when.value[1] = int(seconds * 1e9)
    assert libc.timer_settime(ident, 0, ctypes.byref(when), None) == 0
    return ident

def call_later(seconds, fn):
    "fn is called by a thread of the C library (SIGEV_THREAD)."
    global kept
    kept = CALLBACK(lambda _: fn() and None)
    return timer(seconds, 2, function=ctypes.cast(kept, ctypes.c_void_p))

def sleeping_thread(microseconds):
    "A thread that never has a Python state."
    ident = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(ident), None, libc.usleep, ctypes.c_void_p(microseconds)) == 0
"""

WAITS = {
    "main": "print(ch.recv())",
    "run": "print(golib.run(ch.recv))",
    "join": "print(golib.run(lambda: golib.go(ch.recv).join()))",
    "scope": """
def main():
    with golib.scope() as s:
        g = s.go(ch.recv)
    return g.join()
print(golib.run(main))""",
}


@pytest.mark.parametrize("wait", list(WAITS))
def test_a_thread_of_c_that_calls_back_later_is_no_deadlock(wait):
    out = run_ok(
        C_THREADS + "ch = golib.Chan(1)\ncall_later(0.3, lambda: ch.send('from C'))\n" + WAITS[wait]
    )
    assert out == "from C\n"


def test_a_deadlock_appears_when_the_last_thread_of_c_has_ended():
    out = run_ok(
        C_THREADS
        + """
sleeping_thread(300_000)
begin = time.monotonic()
try:
    golib.run(golib.Chan().recv)
except golib.Deadlock as error:
    print(error, time.monotonic() - begin > 0.3)
"""
    )
    assert out == f"{DEADLOCK} True\n"


def test_threads_of_c_are_counted_beside_golibs_own():
    """However many Ms there are, one stranger is seen."""
    out = run_ok(
        C_THREADS
        + """
ch = golib.Chan(1)
def main():
    calls = [golib.go(time.sleep, 0.05) for _ in range(20)]
    for g in calls:
        g.join()
    try:
        golib.Chan().recv()
    except golib.Deadlock:
        print("dead")
    call_later(0.3, lambda: ch.send("from C"))
    return ch.recv()
print(golib.run(main))
"""
    )
    assert out == "dead\nfrom C\n"


HANDLERS = {
    "setitimer": "signal.setitimer(signal.ITIMER_REAL, 0.2)",
    "alarm": "signal.alarm(1)",
    "timer_create": "timer(0.2, 0, signal.SIGALRM)",
    "another process": "os.posix_spawn('/bin/sh', ['sh', '-c', f'sleep 0.2; kill -ALRM {os.getpid()}'], os.environ)",
}


@pytest.mark.parametrize(
    ("cause", "wait"),
    [("setitimer", wait) for wait in WAITS] + [(c, "run") for c in HANDLERS if c != "setitimer"],
)
def test_a_handler_that_could_run_is_no_deadlock(cause, wait):
    out = run_ok(
        C_THREADS
        + "ch = golib.Chan(1)\nsignal.signal(signal.SIGALRM, lambda *_: ch.try_send('woken'))\n"
        + f"{HANDLERS[cause]}\n{WAITS[wait]}"
    )
    assert out == "woken\n"


@pytest.mark.parametrize("handler", ["handle", "Handler()", "Handler().handle", "partial(handle)"])
def test_whatever_python_calls_for_a_signal_is_a_handler(handler):
    out = run_ok(
        f"""
        import signal, golib
        from functools import partial
        ch = golib.Chan(1)
        def handle(number, frame):
            ch.send("woken")
        class Handler:
            def handle(self, number, frame):
                ch.send("woken")
            __call__ = handle
        signal.signal(signal.SIGALRM, {handler})
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        print(golib.run(ch.recv))
        """
    )
    assert out == "woken\n"


NO_HOPE = {
    "none": "",
    "default": "signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    "ignored": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "of Ctrl-C": "signal.signal(signal.SIGTERM, signal.default_int_handler)",
    "set and reset": "signal.signal(signal.SIGTERM, print); signal.signal(signal.SIGTERM, signal.SIG_DFL)",
    "of C": "faulthandler.register(signal.SIGUSR1)",
    "golib's, reset": "golib.signal.notify(golib.Chan(1), signal.SIGTERM); golib.signal.reset()",
    "a wake-up descriptor alone": "r, w = os.pipe(); os.set_blocking(w, False); signal.set_wakeup_fd(w)",
}


@pytest.mark.parametrize("before", list(NO_HOPE))
def test_handlers_that_wake_nobody_leave_a_deadlock_a_deadlock(before):
    result = run_script(
        f"""
        import faulthandler, os, signal, golib
        golib.go(int).join()
        {NO_HOPE[before]}
        golib.run(golib.Chan().recv)
        """
    )
    assert (result.rc, result.out) == (1, ""), result
    assert DEADLOCK in result.err, result


@pytest.mark.parametrize("where", ["asyncio.run(main())", "golib.run(asyncio.run, main())"])
def test_the_handler_of_asyncio_run_wakes_nobody_else(where):
    result = run_script(
        f"""
        import asyncio, golib
        async def main():
            golib.Chan().recv()
        {where}
        """
    )
    assert (result.rc, result.out) == (1, ""), result
    assert DEADLOCK in result.err, result


def test_a_handler_that_the_loop_calls_counts():
    out = run_ok(
        """
        import asyncio, os, signal, golib
        async def main():
            ch = golib.Chan(1)
            asyncio.get_running_loop().add_signal_handler(signal.SIGALRM, ch.send, "woken")
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            print(await ch.arecv())
        golib.run(asyncio.run, main())
        """
    )
    assert out == "woken\n"


def test_a_deadlock_appears_when_the_last_handler_is_gone():
    process = start_script(
        """
        import signal, golib
        def once(*args):
            signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, once)
        print("waits")
        golib.run(golib.Chan().recv)
        """
    )
    wait_line(process, "waits")
    process.send_signal(signal.SIGUSR1)
    result = finish(process)
    assert result.rc == 1, result
    assert DEADLOCK in result.err, result


def test_a_program_that_waits_for_sigterm_ends_by_it():
    process = start_script(
        """
        import signal, golib
        stop = golib.sync.Event()
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        def main():
            golib.go(golib.Chan().recv)
            print("waits")
            stop.wait()
            return "stopped"
        print(golib.run(main))
        """
    )
    wait_line(process, "waits")
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "stopped\n", "")


def test_a_forked_child_knows_its_own_threads_only():
    out = run_ok(
        C_THREADS
        + """
sleeping_thread(60_000_000)  # stays in the parent
def child(fn):
    pid = os.fork()
    if pid == 0:
        print(fn(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
def dead():
    try:
        golib.run(golib.Chan().recv)
    except golib.Deadlock as error:
        return error
def woken():
    ch = golib.Chan(1)
    call_later(0.2, lambda: ch.send("from the child's C"))
    return golib.run(ch.recv)
for g in [golib.go(time.sleep, 0.01) for _ in range(5)]:
    g.join()
child(dead)
child(woken)
os._exit(0)
"""
    )
    assert out == f"{DEADLOCK}\nfrom the child's C\n"


def test_no_finalizer_runs_where_deadlocks_are_looked_for():
    """It might wait there, and nobody would watch over the rest."""
    out = run_ok(
        """
        import asyncio, gc, threading, golib
        golib.aio.run_async(asyncio.sleep(0))  # its loop is asked whether it may wake somebody
        seen, known = set(), {t.native_id for t in threading.enumerate()}
        class Cycle:
            def __init__(self):
                self.me = self
            def __del__(self):
                seen.add(threading.get_native_id())
        def main():
            known.add(threading.get_native_id())
            recv = golib.Chan().recv
            gc.disable()
            for _ in range(100):
                Cycle()
            gc.set_threshold(1)
            gc.enable()  # the next container that is made sets it going
            recv()
        try:
            golib.run(main)
        except golib.Deadlock as error:
            print(error)
        gc.collect()
        print(gc.isenabled(), bool(seen), seen - known)
        """
    )
    assert out == f"{DEADLOCK}\nTrue True set()\n"
