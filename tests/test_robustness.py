"""Numbers and limits: many goroutines, deep recursion, long chains, little memory, few threads."""

from __future__ import annotations

import os
import re
import textwrap

import pytest

from support import SLACK, run_ok, run_script

pytestmark = pytest.mark.hang(240 * SLACK)

# -- numbers -----------------------------------------------------------------------------------

MEMORY = """
    import gc, os, sys, time
    import golib
    from golib import Chan, go

    def rss():
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    """


def script(body: str) -> str:
    return textwrap.dedent(MEMORY) + textwrap.dedent(body)


def test_a_hundred_thousand_goroutines_park_and_are_all_woken():
    out = run_ok(
        script(
            """
            n = 100_000
            before = rss()
            start = time.monotonic()
            ch, done = Chan(), golib.sync.WaitGroup()
            def task():
                ch.recv_ok()
                done.done()
            def main():
                done.add(n)
                for _ in range(n):
                    go(task)
                golib.gosched()
                while any(g.status() == "runnable" for g in golib.runtime.goroutines()[-10:]):
                    golib.sleep(0.001)
                each = (rss() - before) / n
                ch.close()
                done.wait()
                return each
            each = golib.run(main)
            print(each < 12_000, time.monotonic() - start < 60, golib.num_goroutine() <= 1)
            """
        ),
        timeout=120 * SLACK,
    )
    assert out == "True True True\n"


SPAWN = """
    def main(n):
        wg = golib.sync.WaitGroup()
        for _ in range(n // 1000):
            wg.add(1000)
            for _ in range(1000):
                go(wg.done)
            wg.wait()
    golib.run(main, 50_000)
    before = rss()
    golib.run(main, {n})
    print(rss() - before < 20_000_000)
    """


def test_two_hundred_thousand_goroutines_are_spawned_and_joined():
    assert run_ok(script(SPAWN.format(n=200_000)), timeout=120 * SLACK) == "True\n"


@pytest.mark.slow
@pytest.mark.hang(900)
def test_a_million_goroutines_are_spawned_and_joined():
    assert run_ok(script(SPAWN.format(n=1_000_000)), timeout=600) == "True\n"


def test_a_hundred_thousand_handles_are_joined():
    out = run_ok(
        script(
            """
            def main():
                gs = [go(int, i) for i in range(100_000)]
                return sum(g.join() for g in gs)
            print(golib.run(main))
            """
        ),
        timeout=120 * SLACK,
    )
    assert out == f"{sum(range(100_000))}\n"


def test_a_chain_of_a_hundred_thousand_channels_passes_a_value():
    out = run_ok(
        script(
            """
            def stage(a, b):
                b.send(a.recv() + 1)
            def main():
                first = ch = Chan()
                for _ in range(100_000):
                    nxt = Chan()
                    go(stage, ch, nxt)
                    ch = nxt
                go(first.send, 0)
                return ch.recv()
            print(golib.run(main))
            """
        ),
        timeout=180 * SLACK,
    )
    assert out == "100000\n"


def test_a_hundred_thousand_nested_channels_are_freed_without_overflow():
    out = run_ok(
        script(
            """
            def main():
                inner = Chan(1)
                for _ in range(100_000):
                    outer = Chan(1)
                    outer.send(inner)
                    inner = outer
                del inner, outer
                gc.collect()
                return "freed"
            print(main(), go(main).join())
            """
        ),
        timeout=60 * SLACK,
    )
    assert out == "freed freed\n"


def test_fifty_thousand_sleepers_all_wake():
    out = run_ok(
        script(
            """
            def main():
                wg = golib.sync.WaitGroup()
                start = time.monotonic()
                for i in range(50_000):
                    wg.go(golib.sleep, 0.5 + (i % 100) / 1000)
                wg.wait()
                return time.monotonic() - start < 30
            print(golib.run(main))
            """
        ),
        timeout=120 * SLACK,
    )
    assert out == "True\n"


# -- slope zero --------------------------------------------------------------------------------

ROUNDS = {
    "spawn": "for g in [go(int) for _ in range(500)]: g.join()",
    "channels": """
        ch = Chan(3)
        g = go(lambda: [ch.send([i]) for i in range(500)] and ch.close())
        assert sum(len(v) for v in ch) == 500
        g.join()""",
    "parked and woken": """
        ch = Chan()
        gs = [go(ch.recv_ok) for _ in range(500)]
        golib.gosched(); ch.close()
        for g in gs: g.join()""",
    "timeouts": """
        ch = Chan()
        for _ in range(300):
            try: ch.recv(0.00001)
            except TimeoutError: pass
        gs = [go(ch.recv, 0.001) for _ in range(200)]
        for g in gs: g.exception()""",
    "select": """
        a, b = Chan(), Chan()
        g = go(lambda: [a.send(i) for i in range(300)] and None)
        for _ in range(300): golib.select(a, golib.send(b, [1]), golib.recv(b))
        g.join()""",
    "exceptions": """
        def fail():
            try: raise KeyError
            except KeyError: golib.gosched(); raise ValueError
        for g in [go(fail) for _ in range(300)]: g.exception()""",
    "blocking calls": "for g in [go(time.sleep, 0.002) for _ in range(40)]: g.join()",
    "thread state": """
        def task():
            local.x = [1]; var.set([2]); decimal.getcontext().prec = 9; golib.gosched()
        for g in [go(task) for _ in range(300)]: g.join()""",
    "nested": """
        def key(x): golib.gosched(); return -x
        for g in [go(sorted, [1, 2, 3], key=key) for _ in range(60)]: g.join()""",
    "cycles": """
        for _ in range(300):
            ch = Chan(2); ch.send(ch); ch.send(go(int))
        del ch; gc.collect()""",
    "run": "for _ in range(200): golib.run(int)",
    "threads": """
        def body(): ch = Chan(); g = go(ch.send, 1); ch.recv(); g.join()
        ts = [threading.Thread(target=body) for _ in range(20)]
        for t in ts: t.start()
        for t in ts: t.join()""",
}


@pytest.mark.parametrize("name", list(ROUNDS))
def test_the_memory_of_repeated_rounds_has_slope_zero(name):
    """Neither Python objects (allocated blocks) nor resident pages nor thread states grow."""
    body = textwrap.indent(textwrap.dedent(ROUNDS[name]), "    ")
    out = run_ok(
        script(
            """
            import contextvars, ctypes, decimal, threading
            local, var = threading.local(), contextvars.ContextVar("var")
            def thread_states():
                api = ctypes.pythonapi
                for f in (api.PyInterpreterState_Get, api.PyInterpreterState_ThreadHead, api.PyThreadState_Next):
                    f.restype = ctypes.c_void_p
                state, n = api.PyInterpreterState_ThreadHead(ctypes.c_void_p(api.PyInterpreterState_Get())), 0
                while state:
                    state, n = api.PyThreadState_Next(ctypes.c_void_p(state)), n + 1
                return n
            def settle():
                deadline = time.monotonic() + 10
                while golib.num_goroutine() and time.monotonic() < deadline:
                    time.sleep(0.001)
                gc.collect()
                return sys.getallocatedblocks(), rss() // 1024, thread_states()
            """
        )
        + "def one_round():\n"
        + body
        + textwrap.dedent(
            """
            # No round has more goroutines at once: their stacks and thread states are kept for the next ones.
            ch = Chan()
            gs = [go(ch.recv_ok) for _ in range(510)]
            while any(g.status() != "chan receive" for g in gs):
                golib.sleep(0.001)
            ch.close()
            for g in gs:
                g.join()
            del ch, g, gs
            figures = []
            for i in range(16):
                one_round()
                figures.append(settle())
            early = [max(column) for column in zip(*figures[2:8])]
            late = [min(column) for column in zip(*figures[8:])]
            growth = [b - a for a, b in zip(early, late)]
            assert growth[0] < 60, figures
            assert growth[1] < 1500, figures
            assert growth[2] <= 0, figures
            print("flat")
            """
        ),
        timeout=120 * SLACK,
    )
    assert out == "flat\n"


# -- depth -------------------------------------------------------------------------------------

DEEP = {
    "python": "def f(): return f()\nf()",
    "json.loads": "json.loads('[' * 100_000)",
    "json.dumps": "json.dumps(lists)",
    "repr": "repr(fewer_lists)",
    "==": "lists == others",
    "hash": "hash(tuples)",
    "pickle": "pickle.dumps(lists)",
    "copy": "copy.deepcopy(lists)",
    "parser": "compile('-' * 5000 + '1', 'x', 'eval')",
    "parentheses": "compile('(' * 5000 + ')' * 5000, 'x', 'eval')",
    "ast": "ast.parse('-' * 3000 + '1')",
    "sorted": "def f(x): return sorted([x], key=f)\nf(1)",
    "getattr": "o = Deep()\no.x",
    "call": "o = Call()\no()",
    "isinstance": "isinstance(1.0, types)",
    "deallocation": "x = nested(); del x",
    "deallocation of tuples": "x = nested(tuple); del x",
    "deallocation of objects": "x = chain(); del x",
    "re": "re.compile('(' * 5000 + ')' * 5000)",
}


RECURSE = """
    import ast, copy, json, pickle, re, threading, warnings
    warnings.simplefilter("ignore")
    def nested(kind=list, n=20_000):
        x = kind()
        for _ in range(n):
            x = kind((x,))
        return x
    class Node:
        pass
    def chain(n=20_000):
        node = None
        for _ in range(n):
            new = Node(); new.next = node; node = new
        return node
    class Deep:
        def __getattr__(self, name): return getattr(self, name)
    class Call:
        def __call__(self): return self.__call__.__call__()
    lists, others, tuples = nested(), nested(), nested(tuple)
    fewer_lists = nested(n=12_000)  # the text takes quadratic time
    types = int
    for _ in range(100_000):
        types = (types,)
    def work():
        WORK
    def outcome():
        try:
            work()
        except (RecursionError, MemoryError, SyntaxError, ValueError) as error:
            return type(error).__name__
        return "fine"
    expected = []
    threading.stack_size(64 << 20)
    t = threading.Thread(target=lambda: expected.append(outcome()))
    t.start(); t.join()
    seen = set()
    def task():
        golib.gosched()
        seen.add(outcome())
        golib.gosched()
    for _ in range(int(sys.argv[1]) // 50):
        for g in [go(task) for _ in range(50)]:
            g.join()
    print(seen == set(expected) or (seen, expected))
    """


def recurse(name, goroutines, timeout):
    program = script(RECURSE).replace("    WORK", textwrap.indent(DEEP[name], "    "))
    assert run_ok(program, str(goroutines), timeout=timeout) == "True\n"


@pytest.mark.parametrize("name", list(DEEP))
def test_a_hundred_goroutines_recurse_to_the_limit_as_a_thread_does(name):
    recurse(name, 100, 120 * SLACK)


@pytest.mark.slow
@pytest.mark.hang(900)
@pytest.mark.parametrize("name", list(DEEP))
def test_a_thousand_goroutines_recurse_to_the_limit_as_a_thread_does(name):
    recurse(name, 1000, 600)


def test_a_thousand_goroutines_parked_at_the_recursion_limit():
    out = run_ok(
        script(
            """
            ch, ready = Chan(), golib.sync.WaitGroup()
            def down(n):
                if n == 0:
                    ready.done()
                    return ch.recv_ok()[1]
                return down(n - 1)
            def main():
                ready.add(1000)
                gs = [go(down, sys.getrecursionlimit() - 100) for _ in range(1000)]
                ready.wait()
                ch.close()
                return sum(g.join() is False for g in gs)
            print(golib.run(main))
            """
        ),
        timeout=120 * SLACK,
    )
    assert out == "1000\n"


def test_a_stack_overflow_in_c_is_reported_as_go_does():
    result = run_script(
        script(
            """
            import ctypes
            sys.setrecursionlimit(10**9)
            def f(x):
                return sorted([x], key=f)
            golib.spawn(f, (1,), stack_size=1 << 20).join()
            """
        ),
        timeout=60,
    )
    if result.rc == 1 and ("RecursionError" in result.err or "MemoryError" in result.err):
        return  # CPython noticed first
    assert result.rc == 2, result
    assert "stack exceeds" in result.err


# -- little memory, few threads ----------------------------------------------------------------


def test_too_little_address_space_raises_memory_error():
    out = run_ok(
        script(
            """
            import resource
            go(int).join()
            golib.sleep(0.01)
            with open("/proc/self/statm") as f:
                used = int(f.read().split()[0]) * os.sysconf("SC_PAGESIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 30), resource.RLIM_INFINITY))
            errors, gs, ch = 0, [], Chan()
            for _ in range(300):
                try:
                    gs.append(golib.spawn(ch.recv_ok, stack_size=256 << 20))
                except MemoryError:
                    errors += 1
            while any(g.status() in ("runnable", "running") for g in gs):
                golib.sleep(0.001)
            ch.close()
            for g in gs:
                try:
                    g.join()
                except MemoryError:
                    errors += 1
            print(errors > 0, go(lambda: "usable").join())
            """
        ),
        timeout=60,
    )
    assert out == "True usable\n"


def test_a_kernel_without_guard_markers_and_no_mapping_to_spare_raises_memory_error():
    """As Linux before 6.13: a filter on system calls answers madvise(102) with EINVAL."""
    result = run_script(
        script(
            """
            import ctypes, struct
            LOAD, EQUAL, RETURN, ALLOW, EINVAL = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050016
            steps = [
                (LOAD, 0, 0, 0), (EQUAL, 0, 3, 28),  # madvise
                (LOAD, 0, 0, 32), (EQUAL, 0, 1, 102), (RETURN, 0, 0, EINVAL),
                (RETURN, 0, 0, ALLOW),
            ]
            code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
            program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.prctl(38, 1, 0, 0, 0) == 0
            assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()

            gs, ch, why = [], Chan(), ""
            while not why:
                try:
                    gs.append(go(ch.recv_ok))
                    golib.gosched()
                except MemoryError as error:
                    why = str(error)
                assert len(gs) < 200_000
            ch.close()
            for g in gs:
                assert g.join() == (None, False)
            print("vm.max_map_count" in why, len(gs) > 1000, go(lambda: "usable").join())
            """
        ),
        timeout=120,
    )
    assert (result.rc, result.out) == (0, "True True usable\n"), result
    assert "goroutines wait" in result.err, result
    assert result.err.count("\n") == 1, result


#: `limit(n)`: the OS gives this process's user no thread beyond n (root's are not counted).
FEW_THREADS = """
    import importlib, pkgutil, resource
    # Before root becomes another user, who may not be allowed to read golib.
    for module in pkgutil.iter_modules(golib.__path__):
        if module.name not in ("__main__", "_pytest"):
            importlib.import_module(f"golib.{module.name}")
    def limit(n):
        try:
            if os.geteuid() == 0:
                os.setresuid(65533, 65533, 65533)
            resource.setrlimit(resource.RLIMIT_NPROC, (n, hard))
        except (OSError, ValueError):
            print("cannot try")
            os._exit(0)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    """


def with_few_threads(body: str):
    code = script(FEW_THREADS) + textwrap.dedent(body)
    result = run_script(code, timeout=60)
    if "cannot try" in result.out:
        pytest.skip("the number of processes cannot be limited here")
    return result


@pytest.mark.parametrize("n", [1, 6])
def test_goroutines_wait_for_one_of_the_threads_that_there_are(n):
    """Told once, on stderr: fewer threads than blocking calls make a program slow, not wrong."""
    result = with_few_threads(
        f"""
        assert go(int, 1).join() == 1  # one thread at least was to be had
        limit({n})
        gs = [go(lambda i: time.sleep(0.02) or i, i) for i in range(30)]
        print([g.join() for g in gs] == list(range(30)))
        """
    )
    assert (result.rc, result.out) == (0, "True\n"), result
    assert re.fullmatch(
        r"go-lib: goroutines wait for a thread: the OS refuses one more than \d+: .*\n", result.err
    ), result


def test_a_goroutine_is_refused_while_there_is_no_thread_at_all():
    result = with_few_threads(
        """
        limit(1)
        for start in (lambda: go(int), lambda: golib.run(int), lambda: golib.spawn(int)):
            try:
                start()
            except RuntimeError as error:
                print(error)
        limit(hard)
        print(go(str, "usable").join(), golib.run(lambda: "at once"))
        """
    )
    lines = result.out.splitlines()
    refused = "cannot start a thread for a goroutine: the OS refuses one more than 0: Resource temporarily"
    assert (result.rc, len(lines)) == (0, 4), result
    assert all(line.startswith(refused) for line in lines[:3]), result
    assert lines[3] == "usable at once", result
    assert re.fullmatch(r"go-lib: no thread for sysmon: .*\n", result.err), result


def test_a_memory_error_of_the_program_is_an_ordinary_exception():
    out = run_ok(
        script(
            """
            def task():
                try:
                    return bytearray(1 << 62)
                except MemoryError:
                    golib.gosched()
                    return "raised"
            print(go(task).join())
            """
        )
    )
    assert out == "raised\n"


def test_few_file_descriptors_do_not_matter():
    out = run_ok(
        script(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
            print(golib.run(lambda: sum(g.join() for g in [go(int, 1) for _ in range(100)])))
            """
        )
    )
    assert out == "100\n"


# -- the suite's own switches ------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["GOLIB_DEBUG", "GODEBUG"])
def test_schedtrace_prints_a_line_every_so_often_also_while_nothing_runs(variable):
    result = run_script(
        "import golib; golib.run(lambda: golib.sleep(0.2)); print('ok')",
        env={variable: "schedtrace=10", "GOMAXPROCS": "2"},
    )
    assert (result.rc, result.out) == (0, "ok\n")
    lines = result.err.splitlines()
    form = (
        r"SCHED \d+ms: gomaxprocs=2 idleprocs=\d threads=\d+ spinningthreads=\d idlethreads=\d+ "
        r"runqueue=\d+ \[\d+ \d+\] hostqueue=\d+"
    )
    assert len(lines) >= 5, lines
    assert all(re.fullmatch(form, line) for line in lines), lines


def test_schedtrace_does_not_hide_a_deadlock():
    result = run_script(
        """
        import golib
        try:
            golib.run(golib.Chan().recv)
        except golib.Deadlock:
            print('deadlock')
        """,
        env={"GOLIB_DEBUG": "schedtrace=5"},
    )
    assert result.out == "deadlock\n"


def test_schedtrace_does_not_hide_a_deadlock_that_another_threads_end_makes():
    """sysmon, which nobody tells of that end, looks again and again: also if a line is due before."""
    result = run_script(
        """
        import golib, threading
        threading.Timer(0.1, int).start()
        try:
            golib.run(golib.Chan().recv)
        except golib.Deadlock:
            print('deadlock')
        """,
        env={"GOLIB_DEBUG": "schedtrace=5"},
        timeout=20,
    )
    assert result.out == "deadlock\n"


@pytest.mark.parametrize("value", ["", "nonsense", "migrate=2x", "a=b,c", ",,,", "schedtrace="])
def test_an_unknown_debug_switch_is_ignored(value):
    result = run_script("import golib; print(golib.go(int).join())", env={"GOLIB_DEBUG": value})
    assert (result.rc, result.out) == (0, "0\n")


def test_python_dev_mode_finds_nothing():
    result = run_script(
        script(
            """
            def main():
                ch = Chan()
                gs = [go(ch.send, i) for i in range(50)]
                total = sum(ch.recv() for _ in range(50))
                for g in gs:
                    g.join()
                for g in [go(time.sleep, 0.01) for _ in range(5)]:
                    g.join()
                return total
            print(golib.run(main))
            """
        ),
        env={"PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"},
    )
    assert result == (0, "1225\n", "")


def test_the_allocator_of_the_system_works_too():
    out = run_ok(
        "import golib; print(golib.run(lambda: golib.go(int).join()))",
        env={
            "PYTHONMALLOC": "malloc",
            "MALLOC_PERTURB_": "90",
            "LANG": os.environ.get("LANG", "C"),
        },
    )
    assert out == "0\n"
