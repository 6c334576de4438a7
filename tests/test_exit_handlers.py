"""The end of the program: exit handlers use golib as before, and unread exceptions are reported."""

from __future__ import annotations

import pytest

from support import SLACK, run_ok, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

# -- golib in code that runs at exit -------------------------------------------------------------------

PROGRAM = """
    import atexit, os, sys, threading, weakref
    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())
    def outcome(call):
        try:
            return call()
        except BaseException as error:
            return f"{{type(error).__name__}}: {{error}}"
    def late():
        say(outcome(lambda: {call}))
    class Last:
        def __del__(self):
            late()
    {before_import}
    import golib, golib.aio
    from golib import Chan, go
    {after_import}
    gate, full = Chan(), Chan(1)
    full.send("kept")
    g = go(gate.recv)
    for _ in range(3):
        go(lambda: [golib.sleep(0.001) for _ in iter(int, 1)])
    golib.sleep(0.005)
    {after_go}
    """

#: Where `late` is registered, of all that is called while goroutines still run.
HANDLERS = {
    "an exit handler from before the import": {"before_import": "atexit.register(late)"},
    "an exit handler from before the first go": {"after_import": "atexit.register(late)"},
    "an exit handler": {"after_go": "atexit.register(late)"},
    "threading's exit handler": {"before_import": "threading._register_atexit(late)"},
    "weakref.finalize": {"before_import": "weakref.finalize(Last, late)"},
}

#: Call -> outcome.
CALLS = {
    "golib.sleep(0.01)": "None",
    "Chan().recv(timeout=0.01)": "TimeoutError: receive timed out after 0.01 s",
    "g.join(timeout=0.01)": "TimeoutError: join timed out after 0.01 s",
    "golib.select(Chan(), timeout=0.01)": "TimeoutError: select timed out after 0.01 s",
    "golib.sync.Event().wait(0.01)": "False",
    "full.recv()": "kept",
    "gate.send('sent') or g.join(20)": "sent",
    "golib.go(int).join()": "0",
    "golib.run(int)": "0",
    "golib.time.after(0.01).recv() and 'rang'": "rang",
}


def run_late(call: str, **places: str) -> str:
    blank = dict.fromkeys(("before_import", "after_import", "after_go"), "")
    return run_ok(PROGRAM.format(call=call, **(blank | places)))


@pytest.mark.parametrize("call", list(CALLS))
@pytest.mark.parametrize("handler", list(HANDLERS))
def test_golib_works_in(handler: str, call: str) -> None:
    assert run_late(call, **HANDLERS[handler]) == f"{CALLS[call]}\n"


STOPPED = "RuntimeError: cannot wait at interpreter shutdown: goroutines have stopped"
REFUSED = "RuntimeError: cannot start a goroutine at interpreter shutdown"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        *((call, CALLS[call]) for call in list(CALLS)[:6]),
        ("Chan().recv()", STOPPED),
        ("g.join()", STOPPED),
        ("golib.select(Chan())", STOPPED),
        ("Chan().send(1)", STOPPED),
        ("golib.sync.Event().wait()", STOPPED),
        ("golib.go(int)", REFUSED),
        ("golib.run(int)", REFUSED),
        ("golib.time.after(0.01)", REFUSED),
    ],
)
def test_while_modules_are_torn_down_golib_does_what_it_can_and_refuses_the_rest(
    call: str, said: str
) -> None:
    # The first object that CPython drops.
    assert run_late(call, after_go="sys.last_value = Last()") == f"{said}\n"


def test_goroutines_run_until_the_last_exit_handler_has_returned() -> None:
    out = run_ok(
        """
        import atexit, sys
        ticks = []
        def last():
            n = len(ticks)
            golib.sleep(0.05)
            print(len(ticks) > n)
        atexit.register(last)
        import golib
        def tick():
            while True:
                ticks.append(golib.sleep(0.001))
        golib.go(tick)
        """
    )
    assert out == "True\n"


def test_a_handler_of_logging_that_waits_for_a_goroutine_is_flushed() -> None:
    """Only one whose lock is never given back is passed over."""
    out = run_ok(
        """
        import golib, logging, logging.handlers, sys
        to = logging.StreamHandler(sys.stdout)
        memory = logging.handlers.MemoryHandler(100, target=to)
        stuck = logging.StreamHandler(sys.stdout)
        logging.getLogger().addHandler(memory)
        logging.warning("kept back")
        def hold_for_a_while():
            with memory.lock:
                golib.sleep(0.02)
        def hold_for_ever():
            with stuck.lock:
                golib.Chan().recv()
        golib.go(hold_for_ever)
        golib.go(hold_for_a_while)
        golib.sleep(0.01)
        """
    )
    assert out == "kept back\n"


# -- exceptions that nobody has read -------------------------------------------------------------------

UNREAD = """
    import atexit, golib, logging, multiprocessing, os, sys, threading
    from golib import Chan, go
    def fail(text):
        raise ValueError(text)
    def failed(text):
        g = go(fail, text)
        while not g.done():
            golib.sleep(0.001)
        return g
    """


def unread(body: str, env: dict[str, str] | None = None):
    import textwrap

    return run_script(textwrap.dedent(UNREAD) + textwrap.dedent(body), env=env)


#: Programs at whose end something holds the handle of a goroutine that has failed by ValueError("why").
HELD = {
    "a global": "g = failed('why')",
    "an attribute of a module": "sys.modules['golib'].kept = failed('why')",
    "a container": "kept = {'a': [failed('why')]}",
    "a cycle": "kept = [failed('why')]; kept.append(kept); del kept",
    "a channel": "ch = Chan(1); ch.send(failed('why'))",
    "a daemon thread": "threading.Thread(target=lambda g: threading.Event().wait(), args=[failed('why')], "
    "daemon=True).start()",
    "a goroutine that waits": "go(lambda g: Chan().recv(), failed('why')); golib.sleep(0.001)",
    "a goroutine in a C call": "import time; go(lambda g: time.sleep(99), failed('why')); golib.sleep(0.01)",
    "itself": "g = failed('why'); g.exception.__self__.name = 'x'; import gc; gc.freeze()",
    "an exit handler": "g = failed('why'); atexit.register(g.done)",
    "a finished run": "golib.run(lambda: sys.modules.__setitem__('kept', failed('why')))",
    "a with block": "s = golib.sync.ErrGroup(); s.go(fail, 'why'); golib.sleep(0.01)",
    "a goroutine ends at exit": (
        "gate = Chan(); g = go(lambda: [gate.recv(), fail('why')]);"
        "atexit.register(lambda: [gate.send(1), golib.sleep(0.02)])"
    ),
    "a late handle": "atexit.register(lambda: kept.append(failed('why'))); kept = []",
}


@pytest.mark.parametrize("held", list(HELD))
def test_an_unread_exception_is_reported_at_exit_though_its_handle_is_held_by(held: str) -> None:
    result = unread(f"{HELD[held]}\nsys.exit(7)")
    assert result.rc == 7
    assert result.out == ""
    assert result.err.count("ValueError: why") == 1, result.err
    assert result.err.count("[running]") == 1
    assert "Traceback" in result.err


@pytest.mark.parametrize("held", ["a global", "a cycle", "a goroutine ends at exit"])
def test_the_panic_handler_and_its_modules_work_at_exit(held: str) -> None:
    result = unread(
        f"""
        import tempfile, json
        def handler(g, error):
            with tempfile.TemporaryFile() as file:
                print(json.dumps([str(error), go(int).join(), golib.sleep(0.001)]))
        golib.set_panic_handler(handler)
        {HELD[held]}
        """
    )
    assert result == (0, '["why", 0, null]\n', "")


def test_a_panic_handler_may_log_to_what_is_flushed_at_exit(tmp_path) -> None:
    log = tmp_path / "log"
    result = unread(
        f"""
        logging.basicConfig(filename={str(log)!r}, filemode="w")
        golib.set_panic_handler(lambda g, error: logging.error("unread: %s", error))
        g = failed("why")
        """
    )
    assert result == (0, "", "")
    assert log.read_text() == "ERROR:root:unread: why\n"


def test_exceptions_are_reported_in_order_and_those_that_were_read_are_not() -> None:
    result = unread(
        """
        kept = [failed(str(i)) for i in range(6)]
        kept[1].exception()
        try:
            kept[3].join()
        except ValueError:
            pass
        atexit.register(lambda: kept[4].exception())
        """
    )
    said = [line for line in result.err.splitlines() if line.startswith("ValueError")]
    assert said == ["ValueError: 0", "ValueError: 2", "ValueError: 5"]


def test_goroutines_that_end_as_they_may_are_not_reported() -> None:
    result = unread(
        """
        cancelled, left = go(Chan().recv), go(golib.goexit)
        cancelled.cancel()
        ended = go(sys.exit, 3)
        golib.sleep(0.01)
        """
    )
    assert result == (0, "", "")


def test_golib_panic_exit_ends_the_process_at_the_first() -> None:
    result = unread("kept = [failed('a'), failed('b')]", env={"GOLIB_PANIC": "exit"})
    assert result.rc == 2
    assert "ValueError: a" in result.err
    assert "ValueError: b" not in result.err


def test_a_panic_handler_that_fails_at_exit_loses_nothing() -> None:
    result = unread(
        "golib.set_panic_handler(lambda g, e: 1 / 0); kept = [failed('a'), failed('b')]"
    )
    assert result.rc == 0
    for text in ("ValueError: a", "ValueError: b"):
        assert result.err.count(text) == 1
    assert result.err.count("ZeroDivisionError") == 2


@pytest.mark.parametrize("start", ["program()", "golib.run(program)", "go(program).join()"])
@pytest.mark.parametrize("fork", ["os.fork", "multiprocessing"])
def test_each_process_reports_its_own(fork: str, start: str) -> None:
    result = unread(
        f"""
        def child():
            global kept
            kept = failed("in the child")
        def program():
            global held
            held = failed("in the parent")
            if {fork!r} == "os.fork":
                pid = os.fork()
                if pid == 0:
                    child()
                    sys.exit(0)
                os.waitpid(pid, 0)
            else:
                process = multiprocessing.get_context("fork").Process(target=child)
                process.start()
                process.join()
        {start}
        """
    )
    assert result.rc == 0
    for text in ("ValueError: in the child", "ValueError: in the parent"):
        assert result.err.count(text) == 1, result.err


def test_children_of_children_keep_nothing_of_those_before_them() -> None:
    out = run_ok("""
        import multiprocessing
        from multiprocessing import util
        import golib

        def child(n, conn):
            if n:
                p = context.Process(target=child, args=(n - 1, conn))
                p.start()
                p.join()
            else:
                conn.send(len(util._afterfork_registry))

        def main():
            r, w = context.Pipe(False)
            before = len(util._afterfork_registry)
            child(4, w)
            print(r.recv() - before)

        context = multiprocessing.get_context("fork")
        golib.run(main)
        """)
    assert out == "0\n"


@pytest.mark.parametrize("start", ["program()", "golib.run(program)", "in_a_child()"])
@pytest.mark.parametrize(
    "steps",
    {
        "reports it slowly": "wg.go(int, 'unread')",
        "is still in its finally block": "go(finishes_later)",
    }.items(),
    ids=lambda pair: pair[0],
)
def test_an_exception_on_its_way_when_the_program_ends_is_reported(
    steps: tuple[str, str], start: str
) -> None:
    result = run_script(f"""
        import os, sys, time
        import golib
        from golib import go

        wg = golib.sync.WaitGroup()
        def finishes_later():
            wg.add(1)
            begun.send(None)
            try:
                int("unread")
            finally:
                wg.done()
                end = time.monotonic() + 0.002  # of the 50 ms that it gets, on a busy machine too
                while time.monotonic() < end:
                    pass
        def report(g, error):
            time.sleep(0.05)
            print(error, file=sys.stderr)
        def program():
            {steps[1]}
            if "finishes_later" in {steps[1]!r}:
                begun.recv()
            wg.wait()
        def in_a_child():
            if os.fork() == 0:
                golib.run(program)
                sys.exit()
            os.wait()
        begun = golib.Chan(1)
        if "wg.go" in {steps[1]!r}:
            golib.set_panic_handler(report)
        {start}
        """)
    assert (result.rc, result.out) == (0, ""), result
    assert result.err.count("invalid literal") == 1, result
