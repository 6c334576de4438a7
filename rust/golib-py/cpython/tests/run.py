"""Tries the shim without the rest of golib: `python cpython/tests/run.py` with any supported CPython.

Compiles the harness (harness*.c and the shim) against the running interpreter, then runs each test in a process of its own.
CC is the C compiler: an emulated interpreter needs one for its CPU.
"""

import os
import pathlib
import subprocess
import sys
import sysconfig
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SHIM = HERE.parent

TESTS = {
    "the swap writes the slot, and PyGILState agrees": """
assert h.stats()["direct"] == 1 and h.check()
h.swapbench(1000)
assert h.check()
""",
    "generators, __init__, properties, decorated calls and context managers move; buffered files and ctypes pin": """
import contextlib, ctypes, io
seen = {}
class K:
    def __init__(self): seen["init"] = h.movable()
    @property
    def p(self): return h.movable()
@contextlib.contextmanager
def cm():
    seen["cm"] = h.movable()
    yield
class Raw(io.RawIOBase):
    def readable(self): return True
    def readinto(self, b):
        seen["buffered"] = h.movable()
        return 0
def gen(): yield h.movable()
def body():
    seen["direct"] = h.movable()
    seen["gen"] = next(gen())
    seen["property"] = K().p
    seen["star"] = (lambda *a, **k: h.movable(*a, **k))()
    seen["sorted"] = sorted([1], key=lambda _: seen.update(key=h.movable()) or 0) and seen["key"]
    with cm(): pass
    io.BufferedReader(Raw()).read(1)
    ctypes.CFUNCTYPE(None)(lambda: seen.update(ctypes=h.movable()))()
h.go(body)
h.run(1)
pinned = {name for name, movable in seen.items() if not movable}
assert pinned == {"buffered", "ctypes"}, seen
""",
    "threads that wait for the GIL are counted, whatever glibc runs": """
import ctypes, os, threading
usleep = ctypes.PyDLL(None).usleep  # with the GIL held
if not any(os.confstr(name) for name in os.confstr_names if name == "CS_GNU_LIBC_VERSION"): raise SystemExit
def take_turns():
    while not stop: pass
for n in (1, 3):
    stop = False
    threads = [threading.Thread(target=take_turns) for _ in range(n)]
    for thread in threads: thread.start()
    seen = set()
    for _ in range(100):
        usleep(3000)
        seen.add(h.gil_waiters())
    stop = True
    for thread in threads: thread.join()
    assert max(seen) == n, (n, seen)
    assert h.gil_waiters() == 0
""",
    "frames are seen without the GIL's help, the newest first": """
import threading, time
def leaf(): return h.places(leaf)
def gen(): yield leaf()
class K:
    def __init__(self): self.seen = next(gen())
def make(): return K()
places, name, more = make().seen
assert [function for _, function, _ in places] == ["leaf", "gen", "__init__", "make", "<module>"], places
assert (name, more) == ("leaf", 0)
assert [line for *_, line in places][0] == leaf.__code__.co_firstlineno
def deep(n): return deep(n - 1) if n else h.places(None)
places, name, more = deep(40)
assert (len(places), name, more) == (12, "", 1)
scope = {"h": h}
exec(compile("def größe():\\n\\n    return h.places(größe)", "日本.py", "exec"), scope)
assert scope["größe"]()[0][0] == ("日本.py", "größe", 3)
assert scope["größe"]()[1] == "größe"
def local():
    def inner(): return h.places(inner)
    return inner()
assert local()[1] == "inner"
def sleeps(): time.sleep(0.5)
thread = threading.Thread(target=sleeps)
thread.start()
time.sleep(0.1)
places, *_ = h.places_of_other(True)
assert places[0][1:] == ("sleeps", sleeps.__code__.co_firstlineno), places
assert h.places_of_other(False) is None
thread.join()
""",
    "a look in a signal handler survives whatever it interrupts": """
import functools, random, re, time
r = random.Random(1)
def deeper(depth):
    if depth == 0: return
    def again(*_):
        deeper(depth - 1)
        return 1
    r.choice(ways)(again)
ways = [
    lambda f: len(list(map(f, [0]))),
    lambda f: len(sorted([1, 2], key=f)),
    lambda f: len(re.sub("a", lambda _: str(f()), "xa")),
    lambda f: functools.reduce(f, [1, 2]),
    lambda f: max([1, 2], key=f),
    lambda f: next(filter(f, [1])),
    lambda f: f(),
    lambda f: exec(compile("f()", "new.py", "exec"), {"f": f}),
    lambda f: next(f() for _ in "x"),
]
def plain(n): return plain(n - 1) if n else 0
h.look_often(True)
end = time.monotonic() + 2
while time.monotonic() < end:
    deeper(r.randrange(12))
    plain(r.randrange(300))
assert h.look_often(False) > 1000
""",
    "ways to thread-local addresses that the scan does not follow are refused": """
import ctypes, os, pathlib, platform, subprocess, sys, tempfile
def knows(source, *flags):
    with tempfile.TemporaryDirectory() as into:
        c, so = pathlib.Path(into, "t.c"), pathlib.Path(into, "t.so")
        c.write_text(source)
        subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", *flags, str(c), "-o", str(so)], check=True)
        lib = ctypes.CDLL(str(so))
        return h.knows(ctypes.cast(lib.f, ctypes.c_void_p).value)
variable = "_Thread_local int x; int *f(void) { return &x; }"
errno = "extern int *__errno_location(void); "
assert knows(variable) and knows(errno + "int f(void) { return *__errno_location(); }")
if platform.machine() == "aarch64": assert knows(variable, "-mtls-dialect=trad")
else: assert not knows(variable, "-mtls-dialect=gnu2")
assert not knows(errno + "int *(*g)(void) = __errno_location; int f(void) { return *g(); }")
assert h.knows(ctypes.cast(ctypes.pythonapi.PyEval_EvalCode, ctypes.c_void_p).value)
""",
    "goroutines that move at every park keep their exceptions, context and thread-locals": """
import contextvars, sys, threading
var, local, done = contextvars.ContextVar("v"), threading.local(), []
def gen(i):
    for k in range(3):
        h.gosched()
        yield i, k
def body(i):
    var.set(i)
    local.x = i
    for _ in range(20):
        try:
            raise KeyError(i)
        except KeyError as e:
            h.gosched()
            assert sys.exc_info()[1] is e
        assert list(gen(i)) == [(i, k) for k in range(3)]
        assert sorted([2, 1], key=lambda v: (h.gosched(), v)[1]) == [1, 2]
        assert (var.get(), local.x) == (i, i) and h.check()
    done.append(i)
for i in range(50): h.go(body, i)
h.run(3)
assert sorted(done) == list(range(50)) and h.stats()["migrations"] > 0, h.stats()
""",
    "a reused state shows nothing of its last goroutine": """
import contextvars, sys, threading
var, local, seen = contextvars.ContextVar("v", default=0), threading.local(), []
def leave():
    var.set(41)
    local.x = 1
    sys.settrace(lambda *a: None)
    threading.current_thread()
def look(): seen.append((var.get(), hasattr(local, "x"), sys.gettrace()))
for _ in range(5):
    h.go(leave)
    h.run(1)
    h.go(look)
    h.run(1)
assert seen == [(0, False, None)] * 5, seen
assert list(threading._active) == [threading.get_ident()]
""",
    "holds of RLocks and the import lock are counted, and idents follow the goroutine": """
import _imp, signal, threading
main, seen = threading.get_ident(), []
def body():
    me = threading.get_ident()
    assert me != main and threading.current_thread().ident == me
    lock = threading.RLock()
    with lock:
        lock.acquire()
        assert h.holds() == 2
        state = lock._release_save()
        assert h.holds() == 0
        lock._acquire_restore(state)
        lock.release()
        h.gosched()
    _imp.acquire_lock()
    assert h.holds() == 1
    _imp.release_lock()
    assert h.holds() == 0 and threading.get_ident() == me
    try:
        signal.pthread_kill(me + 2000, 0)
    except ProcessLookupError:
        seen.append(me)
for _ in range(10): h.go(body)
h.run(1)
assert len(set(seen)) == 10 and threading.get_ident() == main
""",
    "the main goroutine is the main thread wherever it runs, and in its calls": """
import signal, threading, time
def handler(number, frame):
    seen.append((frame.f_code.co_name, h.is_main()))
    if events: raise KeyError("up")
def others_cannot():
    try: signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    except ValueError: return True
def main():
    for i in range(50):
        signal.signal(signal.SIGUSR1, handler)
        signal.raise_signal(signal.SIGUSR1)
        assert seen == [("main", True)] * (i + 1), seen
        h.gosched()
    sender = threading.Thread(target=send)
    sender.start()
    start = time.monotonic()
    try:
        events.append("asleep")
        time.sleep(20)
    except KeyError:
        events.append(time.monotonic() - start < 10)
    sender.join()
def send():
    while not events: time.sleep(0.001)
    while len(events) < 2:
        if len(seen) == 50: signal.raise_signal(signal.SIGUSR1)
        h.disturb()
        time.sleep(0.005)
def other():
    for _ in range(40):
        refused.append(others_cannot() and not h.is_main())
        h.gosched()
def on_a_thread():
    t = threading.Thread(target=h.run, args=(1,))
    t.start()
    while t.is_alive(): t.join(0.01)
for run in (lambda: h.run(3), on_a_thread):
    seen, events, refused = [], [], []
    for _ in range(3): h.go(other)
    h.go_main(main)
    for _ in range(3): h.go(other)
    run()
    assert events == ["asleep", True] and set(refused) == {True}, (events, refused)
    assert len(seen) == 51 and set(seen) == {("main", True)} and h.is_main(), seen
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
""",
    "recursion ends in RecursionError on the smallest stack": """
h.stack(512 << 10)
seen = []
def deep(): return sorted([1], key=lambda _: deep() and 0)
def body():
    try:
        deep()
    except RecursionError:
        seen.append(1)
h.go(body)
h.run(1)
assert seen == [1]
""",
    "a fork in a goroutine leaves a usable child": """
import gc, os, threading, warnings
warnings.simplefilter("ignore")
codes = []
def parked():
    for _ in range(4): h.gosched()
def forker():
    h.gosched()
    pid = os.fork()
    if not pid:
        gc.collect()
        os._exit(len(threading.enumerate()) - 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for fn in [parked] * 20 + [forker] + [parked] * 5: h.go(fn)
h.run(1)
assert codes == [0], codes
""",
    "the interpreter exits with goroutines parked": """
def park(n):
    if n: return park(n - 1)
    while True: h.gosched()
for i in range(50): h.go(park, i * 10)
h.go(lambda: (h.gosched(), h.stop(), h.gosched()))
h.run(1)
h.unlink()
""",
}


def build(into: pathlib.Path) -> None:
    include = pathlib.Path(sysconfig.get_path("include"))
    compiler = os.environ.get("CC", "cc")
    command = [compiler, "-std=gnu11", "-O2", "-g", "-fPIC", "-shared", "-fno-optimize-sibling-calls", "-fvisibility=hidden"]
    for directory in (include, include / "internal", include / "internal" / "mimalloc"):
        command += ["-isystem", str(directory)]
    command += ["-idirafter", str(include.parent), f"-I{SHIM}"]
    sources = [source for source in SHIM.glob("*.c") if not source.stem.endswith("_windows")]
    command += [str(source) for source in sorted([*sources, *HERE.glob("*.c")])]
    command += ["-o", str(into / "harness.so"), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)


def main() -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        build(pathlib.Path(directory))
        for name, body in TESTS.items():
            program = f"import sys\nsys.path.insert(0, {directory!r})\nimport harness as h\n{body}"
            run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
            good = run.returncode == 0 and not run.stderr
            failed += not good
            print("ok    " if good else "FAILED", name)
            if not good:
                print(run.stderr or f"exit status {run.returncode}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
