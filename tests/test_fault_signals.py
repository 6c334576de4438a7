"""SIGSEGV and SIGBUS sent by another process, beside the runtime's own handler: programs behave as without golib."""

from __future__ import annotations

import signal

import pytest

from support import run_script

#: With `golib` as its first argument a goroutine is about, so that the runtime's handler is installed.
PROGRAM = """
import faulthandler, os, signal, sys, threading, time

number = int(sys.argv[2])
{before}
if sys.argv[1] == "golib":
    import golib
    golib.go(golib.Chan().recv)
{after}
{send}
while not signal.getsignal(number) in (signal.SIG_DFL, signal.SIG_IGN) and not got:
    time.sleep(0.001)
time.sleep(0.1 if got else {linger})
print("lives", got, flush=True)
os._exit(0)
"""

STATES = {
    "nothing": "got = []",
    "faulthandler": "got = []; faulthandler.enable()",
    "a handler": "got = []; signal.signal(number, lambda n, f: got.append(n))",
    "ignored": "got = []; signal.signal(number, signal.SIG_IGN)",
    "default again": "got = []; signal.signal(number, signal.SIG_IGN); signal.signal(number, signal.SIG_DFL)",
}
SENDS = {
    "kill": "os.kill(os.getpid(), number)",
    "raise": "signal.raise_signal(number)",
    "pthread_kill": "signal.pthread_kill(threading.main_thread().ident, number)",
    "from another process": "import subprocess; subprocess.run(['kill', f'-{number}', str(os.getpid())])",
    "queued": "import ctypes; ctypes.CDLL(None).sigqueue(os.getpid(), number, None)",
}


def outcomes(number, send, before, after):
    """How the program ends without golib, and with it."""
    lives = "SIG_IGN" in before + after
    code = PROGRAM.format(
        before=STATES[before],
        after=STATES[after].replace("got = []", "pass") if after != "nothing" else "",
        send=SENDS[send],
        linger=0.1 if lives else 5,
    )
    return [run_script(code, how, str(int(number))) for how in ("plain", "golib")]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS], ids=lambda n: n.name)
@pytest.mark.parametrize("send", list(SENDS))
def test_a_sent_fault_ends_the_process_by_that_signal(number, send):
    plain, golib = outcomes(number, send, "nothing", "nothing")
    assert golib == plain
    assert golib.rc == -number


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", [state for state in STATES if state != "nothing"])
def test_a_sent_fault_finds_what_the_program_has_set(state, when):
    order = (state, "nothing") if when == "before" else ("nothing", state)
    plain, golib = outcomes(signal.SIGSEGV, "kill", *order)
    assert (golib.rc, golib.out) == (plain.rc, plain.out)
    assert golib.out or golib.rc == -signal.SIGSEGV
    assert ("Fatal Python error" in golib.err) is ("Fatal Python error" in plain.err)


@pytest.mark.parametrize(
    "where", ["golib.go(fault).join()", "golib.run(fault)", "golib.go(fault); time.sleep(5)"]
)
def test_a_true_fault_in_a_goroutine_still_ends_the_process(where):
    result = run_script(
        f"""
        import ctypes, golib, time
        def fault():
            ctypes.string_at(8)
        {where}
        """
    )
    assert result.rc == -signal.SIGSEGV
