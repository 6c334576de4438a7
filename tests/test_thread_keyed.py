"""State that C code of the standard library keeps per OS thread, beside RLocks and sqlite3: files, Tcl, warnings.

A goroutine must find what a thread would find: exclusion from the others, and everything it owns, across parks.
"""

from __future__ import annotations

import io
import os
import sys
import textwrap

import golib
import pytest
from golib import go, gosched

from support import MIGRATE, run_ok, run_script

# -- buffered files ----------------------------------------------------------------------------


class Raw(io.RawIOBase):
    """Parks in the middle of each operation, and counts who is inside at once."""

    def __init__(self):
        self.inside = self.most = 0
        self.data = bytearray()

    def readable(self):
        return True

    writable = seekable = readable

    def _park(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        gosched()
        golib.sleep(0)
        self.inside -= 1

    def readinto(self, buffer):
        self._park()
        buffer[:1] = b"x"
        return 1

    def write(self, data):
        self._park()
        self.data += data
        return len(data)

    def seek(self, position, whence=0):
        self._park()
        return 0

    def flush(self):
        if not self.closed:
            self._park()


BUFFERED = {
    "BufferedReader.read": (io.BufferedReader, lambda file: file.read(3)),
    "BufferedReader.readline": (io.BufferedReader, lambda file: file.readline(3)),
    "BufferedReader.readinto": (io.BufferedReader, lambda file: file.readinto(bytearray(3))),
    "BufferedWriter": (io.BufferedWriter, lambda file: file.write(b"123") and file.flush()),
    "BufferedRandom": (io.BufferedRandom, lambda file: file.read(2) and file.seek(0)),
    "BufferedRWPair": (lambda raw: io.BufferedRWPair(raw, Raw()), lambda file: file.read(3)),
    "TextIOWrapper": (
        lambda raw: io.TextIOWrapper(io.BufferedWriter(raw), write_through=True),
        lambda file: file.write("123") and file.flush(),
    ),
}


@pytest.mark.parametrize(("make", "use"), BUFFERED.values(), ids=BUFFERED)
def test_goroutines_on_one_buffered_file_exclude_one_another(make, use):
    raw = Raw()
    file = make(raw)

    def task():
        for _ in range(5):
            use(file)
            gosched()

    for g in [go(task) for _ in range(5)]:
        g.join()
    assert raw.most == 1
    file.close()


def test_a_reentrant_call_of_a_buffered_file_is_refused_after_a_park_too():
    class Reentrant(Raw):
        def readinto(self, buffer):
            super().readinto(buffer)
            return file.readinto(buffer)

    file = io.BufferedReader(Reentrant())
    assert all(isinstance(go(file.read, 1).exception(), RuntimeError) for _ in range(3))


def test_goroutines_share_a_buffered_pipe():
    for_reading, for_writing = os.pipe()
    with open(for_reading, "rb") as reader, open(for_writing, "wb") as writer:

        def read():
            return reader.read(10)

        def write(i):
            writer.write(b"%d" % i * 10)
            gosched()
            writer.flush()

        readers = [go(read) for _ in range(5)]
        for g in [go(write, i) for i in range(5)]:
            g.join()
        assert sorted(g.join() for g in readers) == [b"%d" % i * 10 for i in range(5)]


# -- the lock of the warnings module (3.14) ----------------------------------------------------

#: Ways to a warning: from Python, and by C code that holds the lock while it calls showwarning.
OF_C_CODE = "bool.__invert__(True)"
WARNINGS = {
    "warn": "warnings.warn(f'{i} {j}')",
    "warn_explicit": "warnings.warn_explicit(f'{i} {j}', UserWarning, 'file', i * 100 + j)",
    "C code": OF_C_CODE,
    "resource": "open(os.devnull)",
    "compiler": r"compile('\'\\d\'', f'file{i}.{j}', 'eval')",
}


@pytest.mark.parametrize("statement", WARNINGS.values(), ids=WARNINGS)
@pytest.mark.parametrize("environment", [MIGRATE, {}], ids=["moving", "staying"])
def test_showwarning_may_wait(statement, environment):
    out = run_ok(
        f"""
        import os, sys, warnings
        import golib
        from golib import go, gosched
        inside = most = seen = 0
        def show(*args, **options):
            global inside, most, seen
            inside += 1
            most = max(most, inside)
            seen += 1
            gosched()
            golib.sleep(0)
            inside -= 1
        def task(i):
            for j in range(5):
                {statement}
        def main():
            warnings.showwarning = show
            warnings.simplefilter("always")
            for g in [go(task, i) for i in range(10)]:
                g.join()
        golib.run(main)
        print(seen, most if sys.version_info >= (3, 14) else 1)
        """,
        env=environment,
    )
    expected = 0 if statement == OF_C_CODE and sys.version_info < (3, 12) else 50
    assert out == f"{expected} 1\n"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="the lock is new in 3.14")
def test_the_warnings_lock_keeps_its_goroutine_on_its_thread():
    out = run_ok(
        """
        import _warnings
        import golib
        from golib import go
        from support import moves, stays
        def task():
            _warnings._acquire_lock()
            _warnings._acquire_lock()
            stayed = stays()
            _warnings._release_lock()
            stayed = stayed and stays()
            _warnings._release_lock()
            return stayed, moves()
        print(golib.run(lambda: {g.join() for g in [go(task) for _ in range(5)]}))
        """,
        env=MIGRATE,
    )
    assert out == "{(True, True)}\n"


# -- Tcl ---------------------------------------------------------------------------------------

TCL = """
    import gc, threading, tkinter
    import golib
    from golib import Chan, go, gosched
    from support import moves, parked, stays
    def five(task):
        print(golib.run(lambda: {g.join() for g in [go(task) for _ in range(5)]}))
    """

needs_tcl = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("_tkinter") is None, reason="needs _tkinter"
)


def tcl(body: str, env=MIGRATE):
    return run_script(textwrap.dedent(TCL) + textwrap.dedent(body), env=env)


@needs_tcl
def test_a_tcl_interpreter_keeps_its_goroutine_on_its_thread():
    result = tcl(
        """
        def task():
            free = moves()
            tcl = tkinter.Tcl()
            kept = stays()
            called = []
            tcl.createcommand("call", lambda *args: called.append(args) or gosched() or "done")
            value = tcl.eval("expr 1 + 1"), tcl.eval("call 1 2"), called
            tcl.tk.deletecommand("call")
            name = tkinter.StringVar(tcl, "x")
            kept = kept and stays() and name.get() == "x"
            del name, tcl
            gc.collect()
            return free, kept, str(value), moves()
        five(task)
        """
    )
    expected = {(True, True, str(("2", "done", [("1", "2")])), True)}
    assert result == (0, f"{expected}\n", "")


@needs_tcl
def test_a_tcl_interpreter_that_could_not_be_made_keeps_no_thread():
    result = tcl(
        """
        def task():
            for make in (lambda: tkinter.Tk(screenName="no:such"), lambda: tkinter.Tcl(baseName=1)):
                try:
                    make()
                except (tkinter.TclError, TypeError):
                    pass
            return moves()
        five(task)
        """
    )
    assert result == (0, "{True}\n", "")


@needs_tcl
def test_one_of_two_tcl_interpreters_keeps_the_goroutine_on_its_thread():
    result = tcl(
        """
        def task():
            first, second = tkinter.Tcl(), tkinter.Tcl()
            del first
            kept = stays() and second.eval("expr 2") == "2"
            del second
            return kept, moves()
        five(task)
        """
    )
    assert result == (0, "{(True, True)}\n", "")


@needs_tcl
def test_a_tcl_interpreter_refuses_other_goroutines():
    result = tcl(
        """
        def task():
            tcl = tkinter.Tcl()
            error = go(tcl.eval, "expr 1").exception()
            return type(error).__name__, tcl.eval("expr 1")
        five(task)
        """
    )
    assert result == (0, "{('RuntimeError', '1')}\n", "")


@needs_tcl
def test_a_tcl_interpreter_dropped_elsewhere_stays_in_memory_with_a_warning():
    result = tcl(
        """
        def main():
            kept = []
            go(lambda: kept.append(tkinter.Tcl())).join()
            dropper = threading.Thread(target=kept.clear)
            dropper.start()
            dropper.join()
            print("alive")
        golib.run(main)
        """
    )
    assert (result.rc, result.out) == (0, "alive\n"), result
    assert "RuntimeWarning: the Tcl interpreter that goroutine" in result.err


@needs_tcl
def test_a_tcl_interpreter_left_behind_does_not_abort_the_exit():
    result = tcl(
        """
        kept = []
        def main():
            go(lambda: kept.append(tkinter.Tcl())).join()
            kept.append(tkinter.Tcl())
            kept.append(kept)
        golib.run(main)
        """
    )
    assert result == (0, "", "")


# -- state that follows the goroutine by its thread state --------------------------------------


def test_ctypes_keeps_errno_per_goroutine():
    import ctypes

    def task(i):
        ctypes.set_errno(i)
        for _ in range(5):
            gosched()
            golib.sleep(0)
        return ctypes.get_errno() == i

    assert all(g.join() for g in [go(task, i) for i in range(1, 20)])


def test_a_pure_python_rlock_and_a_simple_queue_and_a_handed_over_lock_work():
    import queue
    import threading

    lock, handed, items = threading._PyRLock(), threading.Lock(), queue.SimpleQueue()

    def first():
        handed.acquire()
        with lock:
            gosched()
            items.put(1)

    def second():
        value = items.get()
        handed.release()  # taken by another goroutine
        with lock:
            return value

    go(first).join()
    assert go(second).join() == 1
    assert handed.acquire(False)


def test_asyncio_runs_in_many_goroutines_with_children_and_threads():
    out = run_ok(
        """
        import asyncio, sys
        import golib
        from golib import go, gosched
        async def work(i):
            loop = asyncio.get_running_loop()
            child = await asyncio.create_subprocess_exec(sys.executable, "-c", f"print({i})", stdout=-1)
            text, _ = await child.communicate()
            gosched()
            assert asyncio.get_running_loop() is loop
            assert len(asyncio.all_tasks()) == 1
            return int(text), child.returncode, await asyncio.to_thread(abs, -i)
        def task(i):
            with asyncio.Runner(debug=True) as runner:
                return runner.run(work(i)) == (i, 0, i)
        print(golib.run(lambda: {g.join() for g in [go(task, i) for i in range(3)]} | {task(3)}))
        """,
        env=MIGRATE,
    )
    assert out == "{True}\n"


def test_a_sub_interpreter_runs_in_a_goroutine_between_parks():
    interpreters = pytest.importorskip("_interpreters")

    def task(i):
        interpreter = interpreters.create()
        gosched()
        try:
            for _ in range(3):
                failed = interpreters.exec(interpreter, "import time; time.sleep(0.001)")
                assert failed is None
                gosched()
        finally:
            interpreters.destroy(interpreter)
        return i

    assert [g.join() for g in [go(task, i) for i in range(5)]] == list(range(5))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="new in 3.14")
def test_an_interpreter_pool_serves_goroutines():
    out = run_ok(
        """
        from concurrent.futures import InterpreterPoolExecutor
        from golib import go
        def task(i):
            with InterpreterPoolExecutor(2) as pool:
                return list(pool.map(abs, range(-i, 0)))
        print(sorted(len(g.join()) for g in [go(task, i) for i in range(3)]))
        """
    )
    assert out == "[0, 1, 2]\n"


def test_callbacks_of_tls_may_wait():
    """OpenSSL keeps a queue of errors per OS thread; a goroutine that waits in its callbacks stays."""
    out = run_ok(
        """
        import ssl
        import golib
        from golib import go, gosched
        def context(protocol, calls):
            made = ssl.SSLContext(protocol)
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
            made.maximum_version = ssl.TLSVersion.TLSv1_2
            made.set_ciphers("AECDH@SECLEVEL=0")  # needs no certificate
            if protocol == ssl.PROTOCOL_TLS_SERVER:
                made.sni_callback = lambda *args: calls.append(gosched())
            return made
        def task():
            calls = []
            a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
            server = context(ssl.PROTOCOL_TLS_SERVER, calls).wrap_bio(a, b, server_side=True)
            client = context(ssl.PROTOCOL_TLS_CLIENT, calls).wrap_bio(b, a, server_hostname="name")
            left = [client, server]
            while left:
                for side in tuple(left):
                    try:
                        side.do_handshake()
                        left.remove(side)
                    except ssl.SSLWantReadError:
                        gosched()
            client.write(b"hello")
            gosched()
            text = server.read(5)
            b.write(b"no record of TLS")
            gosched()
            try:
                client.read()
            except ssl.SSLError as error:
                return text, calls, error.reason
        def main():
            (text, calls, reason), *others = [g.join() for g in [go(task) for _ in range(10)]]
            print(text, calls, bool(reason))
            print([other for other in others if other != (text, calls, reason)])
        golib.run(main)
        """,
        env=MIGRATE,
    )
    assert out == "b'hello' [None] True\n[]\n"


# -- a main loop of Tcl ------------------------------------------------------------------------


@needs_tcl
def test_the_main_loop_of_tcl_serves_other_goroutines_and_lets_them_run():
    result = tcl(
        """
        def loop(out):
            tcl = tkinter.Tcl()
            tcl.after(1, out.send, tcl.tk)
            tcl.eval("proc tick {} {after 5 tick}; tick")  # quit() wakes nobody
            tcl.tk.mainloop(-1)  # -1: there is no window
            return tcl.tk.call("expr", "20 + 2")
        def main():
            out = Chan()
            owner = go(loop, out)
            tk = out.recv()
            from_others = {g.join() for g in [go(tk.call, "expr", "1 + 2") for _ in range(5)]}
            tk.quit()
            del tk
            print(from_others, owner.join())
        golib.run(main)
        """
    )
    assert result == (0, "{3} 22\n", "")
