"""greenlet in goroutines: to greenlet each goroutine is a thread. gevent and SQLAlchemy's asyncio part build on it."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from support import MIGRATE, extension_module, needs_cc, run_ok, run_script

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("greenlet") is None, reason="greenlet is not built for this Python"
)


def needs(name: str) -> pytest.MarkDecorator:
    """Skips a test where a library is not installed."""
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f"{name} is not built for this Python")


PRELUDE = """
import gc, os, sys, threading
import golib
from support import moves, stays

def counter(x):
    # Counts on, one for each switch.
    while True:
        x = greenlet.getcurrent().parent.switch(x + 1)

def counts(n, park=lambda: None):
    g, v = greenlet.greenlet(counter), 0
    for _ in range(n):
        v = g.switch(v)
        park()
    return v, g
"""
AFTER = "golib.go(golib.gosched).join()\nimport greenlet\n"
BEFORE = "import greenlet\n"


@pytest.mark.parametrize("imported", [BEFORE, AFTER], ids=["before", "after"])
def test_a_goroutine_stays_on_its_thread_from_its_first_greenlet_on(imported: str) -> None:
    run_ok(
        PRELUDE
        + imported
        + """
def body():
    assert any(moves() for _ in range(200)), "it never moved"
    assert greenlet.getcurrent().parent is None
    assert stays()
golib.go(body).join()
""",
        env=MIGRATE,
    )


@pytest.mark.parametrize("imported", [BEFORE, AFTER], ids=["before", "after"])
def test_greenlets_of_many_goroutines_do_not_meet(imported: str) -> None:
    out = run_ok(
        PRELUDE
        + imported
        + """
def body():
    return counts(50, golib.gosched)[0]
gs = [golib.go(body) for _ in range(100)]
print({g.join() for g in gs})
""",
        env=MIGRATE,
    )
    assert out == "{50}\n"


def test_a_goroutine_waits_in_a_greenlet_of_its_own() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
ch, done = golib.Chan(), golib.Chan(100)
def waiter():
    # The greenlet parks the whole goroutine; the goroutine's other greenlets wait meanwhile.
    def inner():
        with golib.timeout(60):
            return ch.recv(), greenlet.getcurrent()
    g = greenlet.greenlet(inner)
    value, current = g.switch()
    assert current is g and g.dead
    done.send(value)
for _ in range(100): golib.go(waiter)
for i in range(100): ch.send(i)
assert sorted(done.recv() for _ in range(100)) == list(range(100))
""",
        env=MIGRATE,
    )


def test_unfinished_greenlets_end_with_their_goroutine() -> None:
    out = run_ok(
        PRELUDE
        + BEFORE
        + """
def body():
    return counts(3)[1]
left = [golib.go(body).join() for _ in range(200)]
kinds = set()
def switch(g):
    try:
        g.switch(1)
    except greenlet.error as error:
        kinds.add(str(error))
# On any thread that its own goroutine may have had, in a goroutine and out of one.
for g in left[:100]: golib.go(switch, g).join()
for g in left[100:]: switch(g)
print(kinds)
del left, g
gc.collect()
print(golib.go(body).join().dead)
"""
    )
    first, second = out.splitlines()
    assert "different thread" in first, out
    assert "{'" in first, out
    assert second in ("True", "False")


def test_a_greenlet_is_refused_in_another_goroutine() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
ch, back = golib.Chan(), golib.Chan()
def owner():
    value, g = counts(2)
    ch.send(g)
    back.recv()
    assert g.switch(value) == 3
def thief():
    g = ch.recv()
    for call in (lambda: g.switch(1), lambda: g.throw(ValueError), lambda: counts(1)[1].switch(0) and g.switch(1)):
        try:
            call()
        except greenlet.error as error:
            assert "different thread" in str(error), error
        else:
            raise AssertionError("it was let in")
    back.send(None)
for _ in range(50):
    a, b = golib.go(owner), golib.go(thief)
    a.join(), b.join()
""",
        env=MIGRATE,
    )


def test_the_last_reference_to_a_greenlet_may_be_dropped_elsewhere() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
ended = []
def counting():
    try:
        counter(0)
    except greenlet.GreenletExit:
        ended.append(threading.get_ident())
        raise
def owner(ch):
    g = greenlet.greenlet(counting)
    g.switch()
    ch.send(g)
    del g
    for _ in range(20): golib.gosched()
    counts(3)
    return threading.get_ident()
for _ in range(100):
    ch = golib.Chan(1)
    g = golib.go(owner, ch)
    ch.recv()
    ident = g.join()
    assert ended in ([], [ident]), "it ended on another's stack"
    ended.clear()
""",
        env=MIGRATE,
    )


def test_the_main_thread_keeps_its_greenlets_beside_the_main_goroutine() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
value, outer = counts(2)
main = greenlet.getcurrent()
def body():
    assert greenlet.getcurrent() is not main
    try:
        outer.switch(5)
    except greenlet.error:
        pass
    else:
        raise AssertionError("the main thread's greenlet ran in the main goroutine")
    assert counts(5, golib.gosched)[0] == 5
golib.run(body)
assert greenlet.getcurrent() is main and outer.switch(value) == 3
def inside():
    return golib.run(body)
greenlet.greenlet(inside).switch()
assert outer.switch(value) == 3
"""
    )


def test_threads_and_goroutines_use_greenlets_side_by_side() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
def thread():
    for _ in range(20): assert counts(20, lambda: golib.sleep(0.0001))[0] == 20
threads = [threading.Thread(target=thread) for _ in range(4)]
for t in threads: t.start()
gs = [golib.go(lambda: counts(30, golib.gosched)[0]) for _ in range(200)]
assert {g.join() for g in gs} == {30}
for t in threads: t.join()
"""
    )


def test_an_exception_passes_greenlets_to_the_goroutines_handle() -> None:
    out = run_ok(
        PRELUDE
        + BEFORE
        + """
def fails():
    golib.gosched()
    raise ValueError("from a greenlet")
def leaves():
    golib.goexit()
for fn in (fails, leaves):
    try:
        print(golib.go(lambda: greenlet.greenlet(fn).switch()).join())
    except ValueError as error:
        print(error)
"""
    )
    assert out == "from a greenlet\nNone\n"


def test_a_forked_child_keeps_the_forking_goroutines_greenlets_only() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
hold = golib.Chan()
def other():
    value, g = counts(2)
    hold.recv()
for _ in range(5): golib.go(other)
def forks():
    value, g = counts(2)
    pid = os.fork()
    if pid == 0:
        ok = g.switch(value) == 3 and {golib.go(lambda: counts(9)[0]).join() for _ in range(20)} == {9}
        os._exit(0 if ok else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
golib.sleep(0.01)
assert golib.go(forks).join() == 0
"""
    )


def test_memory_does_not_grow_with_goroutines_that_used_greenlets() -> None:
    run_ok(
        PRELUDE
        + BEFORE
        + """
from support import growth
def once():
    golib.go(lambda: counts(3)[0]).join()
    gc.collect()
print(growth(once, 300))
assert growth(once, 300) < 100
"""
    )


GEVENT = """
import golib
import gevent, gevent.queue, gevent.event
def body(n):
    q = gevent.queue.Queue()
    def producer(k):
        for i in range(5):
            gevent.sleep(0.0001 * k)
            q.put(i)
    jobs = [gevent.spawn(producer, k) for k in range(4)]
    got = [q.get() for _ in range(20)]
    gevent.joinall(jobs)
    golib.sleep(0.0005)
    return sum(got)
"""


@needs("gevent")
def test_gevent_runs_in_goroutines() -> None:
    run_ok(
        GEVENT
        + """
assert body(0) == 40
gs = [golib.go(body, n) for n in range(30)]
assert {g.join() for g in gs} == {40}
assert golib.run(body, 1) == 40
assert body(0) == 40
""",
        env=MIGRATE,
    )


@pytest.mark.parametrize(
    "what", [pytest.param(name, marks=needs(name)) for name in ("gevent", "eventlet")]
)
def test_a_patched_standard_library_is_refused_with_advice(what: str) -> None:
    patch = {
        "gevent": "import gevent.monkey; gevent.monkey.patch_all()",
        "eventlet": "import eventlet; eventlet.monkey_patch()",
    }[what]
    result = run_script(f"{patch}\nimport golib\ngolib.go(print)")
    assert result.rc == 1, result
    last = result.err.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: "), last
    assert what in last, last
    assert "monkey-patch" in last, last


@needs("sqlalchemy")
def test_sqlalchemys_greenlets_run_in_goroutines() -> None:
    run_ok(
        """
import asyncio
import golib
from sqlalchemy.util import greenlet_spawn, await_only
async def asked(n):
    await asyncio.sleep(0)
    return n
def sync(n):
    return sum(await_only(asked(i)) for i in range(n))
async def main(n):
    total = 0
    for _ in range(10):
        total += await greenlet_spawn(sync, n)
        golib.sleep(0.0005)
    return total
gs = [golib.go(lambda: asyncio.run(main(10))) for _ in range(30)]
assert {g.join() for g in gs} == {450}
""",
        env=MIGRATE,
    )


#: A module of greenlet's name that does not import what golib looks for.
UNKNOWN = """
#include <Python.h>
static PyTypeObject type = {PyVarObject_HEAD_INIT(NULL, 0) "greenlet.greenlet", .tp_basicsize = sizeof(PyObject)};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "greenlet._greenlet", 0, -1};
PyMODINIT_FUNC PyInit__greenlet(void)
{
    PyObject *m = PyModule_Create(&def);
    type.tp_new = PyType_GenericNew;
    if (m && PyModule_AddType(m, &type) < 0)
        return NULL;
    return m;
}
"""


@needs_cc
@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_build_of_greenlet_that_golib_does_not_know_is_refused(
    imported: str, tmp_path: pathlib.Path
) -> None:
    folder = extension_module(UNKNOWN, "greenlet._greenlet", tmp_path)
    (tmp_path / "greenlet" / "__init__.py").write_text("from ._greenlet import greenlet\n")
    run_ok(
        """
import sys
import golib
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "after": golib.go(golib.gosched).join()
import greenlet
try:
    golib.go(greenlet.greenlet).join()
except RuntimeError as error:
    assert "use greenlets in threads" in str(error), error
else:
    raise AssertionError("it was let in")
assert isinstance(greenlet.greenlet(), greenlet.greenlet)
""",
        folder,
        imported,
    )
