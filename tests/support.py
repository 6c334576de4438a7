"""Helpers of the tests: waiting for a state, the places a call can come from, scripts in a subprocess.

Nothing here sleeps "to let it run": `eventually` polls a state and fails with what it saw.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import golib
import pytest

import windows

#: How long a state may take on a busy machine before it counts as "never".
PATIENCE = 20.0

#: The factor by which timing bounds are widened on a slow or busy machine.
SLACK = float(os.environ.get("GOLIB_TEST_SLACK", "1"))
#: How long a call blocks beside which others are timed, in seconds. It exceeds any gap allowed beside it.
CALL_SECONDS = 0.3 * SLACK


def eventually(predicate: Callable[[], Any], timeout: float = PATIENCE, what: str = "") -> Any:
    """Polls `predicate` until it is true and returns its value; works on threads and in goroutines."""
    deadline = time.monotonic() + timeout
    pause = 0.0
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"never became true in {timeout} s: {what or predicate}")
        golib.sleep(pause)
        pause = min(pause + 0.0005, 0.01)


def parked(g: Any, *statuses: str) -> Any:
    """Waits until `g` is parked for one of the reasons (any reason when none is named); returns `g`."""
    if statuses:
        eventually(lambda: g.status() in statuses, what=f"{g!r} in {statuses}")
    else:
        eventually(lambda: g.status() not in ("runnable", "running"), what=f"{g!r} parked")
    return g


#: With this in the environment every movable goroutine goes to another OS thread at every park.
MIGRATE = {"GOLIB_DEBUG": "migrate=1"}


def moves() -> bool:
    """Whether the calling goroutine goes to another OS thread as it parks; for scripts under `MIGRATE`."""
    here = threading.get_native_id()
    golib.gosched()
    return threading.get_native_id() != here


def stays() -> bool:
    """Whether the calling goroutine is still on its OS thread after two hundred parks."""
    return not any(moves() for _ in range(200))


class Tracked:
    """A value whose life is watched: `Tracked.alive` counts the instances."""

    alive = 0

    def __init__(self, tag: Any = None) -> None:
        self.tag = tag
        Tracked.alive += 1

    def __del__(self) -> None:
        Tracked.alive -= 1


class Boom(Exception):
    """The exception that tests raise on purpose."""


def fail(error: Any = Boom) -> Any:
    """Raises `error`."""
    raise error


def growth(fn: Callable[[], Any], rounds: int) -> int:
    """How many blocks more are allocated after `rounds` calls; a tenth as many before them fill the free lists."""
    blocks = []
    for n in (rounds // 10, rounds):
        for _ in range(n):
            fn()
        gc.collect()
        blocks.append(sys.getallocatedblocks())
    return blocks[1] - blocks[0]


def on_main(fn: Callable[..., Any], *args: Any) -> Any:
    """Calls `fn` on the thread that runs the test."""
    return fn(*args)


def in_goroutine(fn: Callable[..., Any], *args: Any) -> Any:
    """Calls `fn` in a new goroutine and waits for it."""
    return golib.go(fn, *args).join()


def under_run(fn: Callable[..., Any], *args: Any) -> Any:
    """Calls `fn` as the main goroutine of `golib.run`."""
    return golib.run(fn, *args)


def full(value: Any = "v", capacity: int = 1) -> Any:
    """A channel whose buffer has no room."""
    ch = golib.Chan(capacity)
    while ch.try_send(value):
        pass
    return ch


def run_loop(main: Callable[[], Any]) -> Any:
    """Runs a coroutine function in an event loop of its own and returns its result."""
    return asyncio.run(asyncio.wait_for(main(), 30))


def kill(number: int) -> None:
    """Sends this process a signal."""
    windows.needs_signals()
    os.kill(os.getpid(), number)


class Gate:
    """A call that says that it has begun, and ends when it is opened."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()

    def __call__(self, value: Any = None) -> Any:
        self.begun.set()
        assert self.opened.wait(20)
        return value


class Thread:
    """A thread whose `join` returns its function's value or raises its exception."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._call, args=(fn, args), daemon=True)
        self._thread.start()

    def _call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self._value = fn(*args)
        except BaseException as error:
            self._error = error

    def join(self, timeout: float = PATIENCE) -> Any:
        deadline = time.monotonic() + timeout
        # In slices: a signal that arrives as CPython's main thread enters the call is handled only when the call ends.
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._thread.join(0.01)
        if self._thread.is_alive():
            raise AssertionError("the thread never ended")
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None
        return self._value

    def done(self) -> bool:
        return not self._thread.is_alive()


def on_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Calls `fn` on a new ordinary OS thread and waits for it."""
    return Thread(fn, *args).join()


#: Every place from which each primitive must work.
PLACES = {"main": on_main, "goroutine": in_goroutine, "thread": on_thread, "run": under_run}


class Output(NamedTuple):
    """A script's exit status and output."""

    rc: int
    out: str
    err: str


def script_environment(env: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without golib's switches, with `tests` importable, with `env` added."""
    if (env or {}).get("GOLIB_DEBUG") == MIGRATE["GOLIB_DEBUG"]:
        windows.needs_moves()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("GOLIB_", "GOMAXPROCS"))}
    here = os.path.dirname(os.path.abspath(__file__))
    clean["PYTHONPATH"] = os.pathsep.join(filter(None, [here, clean.get("PYTHONPATH", "")]))
    clean["PYTHONUNBUFFERED"] = "1"
    clean.update(env or {})
    return clean


#: Scripts that were started and not yet waited for; the hang watchdog kills them.
running: set[subprocess.Popen[str]] = set()


def start(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts a command with pipes, in a session of its own."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=script_environment(env),
        start_new_session=True,
    )
    running.add(process)
    return process


def start_script(code: str, *args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Starts `code` in a fresh interpreter."""
    return start([sys.executable, "-c", textwrap.dedent(code), *args], env)


def finish(process: subprocess.Popen[str], timeout: float = 60.0) -> Output:
    """Waits for a started script; one that hangs is told to dump its stacks, killed, and reported."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        if not windows.HERE:
            process.send_signal(signal.SIGQUIT)
        try:
            out, err = process.communicate(timeout=2)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
        else:
            process.kill()
        raise AssertionError(
            f"the script hung for {timeout} s\n-- stdout\n{out}\n-- stderr\n{err}"
        ) from None
    finally:
        running.discard(process)
    return Output(process.returncode, out, err)


def run_script(
    code: str, *args: str, env: dict[str, str] | None = None, timeout: float = 60.0
) -> Output:
    """Runs `code` in a fresh interpreter and returns (rc, out, err)."""
    return finish(start_script(code, *args, env=env), timeout)


def run_ok(code: str, *args: str, env: dict[str, str] | None = None, timeout: float = 60.0) -> str:
    """Runs `code`, asserts that it ended well and said nothing on stderr, and returns its output."""
    result = run_script(code, *args, env=env, timeout=timeout)
    assert (result.rc, result.err) == (0, ""), result
    return result.out


MEASURE = """
    import gc, os, sys, time
    import golib
    from golib import Chan, go
    from measures import rss
    """


def measuring(body: str) -> str:
    """A script of `body` after the imports that scripts about sizes share."""
    return textwrap.dedent(MEASURE) + textwrap.dedent(body)


def wait_line(process: subprocess.Popen[str], text: str, timeout: float = PATIENCE) -> None:
    """Reads the script's output until a line holds `text`."""
    assert process.stdout is not None
    fd, line, deadline = process.stdout.fileno(), b"", time.monotonic() + timeout
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        byte = os.read(fd, 1)
        if not byte:
            raise AssertionError(f"the script ended without {text!r}: {finish(process)}")
        if byte != b"\n":
            line += byte
        elif text.encode() in line:
            return
        else:
            line = b""
    finish(process, 0)


def signal_at(process: subprocess.Popen[str], line: str, number: int = signal.SIGINT) -> float:
    """Sends the script a signal when it has written `line` and begun to wait; returns the time of sending."""
    windows.needs_signals()
    wait_line(process, line)
    time.sleep(0.1)  # no state tells from outside that the wait has begun
    sent = time.monotonic()
    process.send_signal(number)
    return sent


#: For scripts that fork, which say within how many seconds TIMEOUT a child must end.
FORK_SCRIPT = """
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def wait(pid):
    "The status of a child, which is killed if it hangs."
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"
"""


#: The C library is musl.
MUSL = "musl" in (sysconfig.get_config_var("SOABI") or "")

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")


def extension_module(source: str, name: str, into: pathlib.Path) -> str:
    """Compiles an extension module, perhaps one of a package; returns the folder to import it from."""
    if windows.HERE:
        pytest.skip("on Windows: it compiles an extension module, and no compiler is there")
    *package, last = name.split(".")
    folder = into.joinpath(*package)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{last}.c").write_text(source)
    include = pathlib.Path(sysconfig.get_path("include"))
    command = ["cc", "-shared", "-fPIC", f"-I{include}", "-idirafter", str(include.parent)]
    command += [str(folder / f"{last}.c"), "-o"]
    command += [str(folder / f"{last}{sysconfig.get_config_var('EXT_SUFFIX')}")]
    subprocess.run(command, check=True)
    return str(into)


def start_poller() -> None:
    """Has the runtime's poller open its descriptors, which stay: before the first test that counts descriptors."""
    a, b = socket.socketpair()
    with a, b:
        golib.patch("socket")
        g = parked(golib.go(b.recv, 1), "IO wait")
        a.send(b"x")
        g.join(10)
        golib.unpatch()
