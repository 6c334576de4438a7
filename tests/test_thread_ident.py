"""Extension modules that ask the C API for the thread's ident get the goroutine's."""

from __future__ import annotations

import importlib.util
import pathlib

import pytest

from support import MIGRATE, extension_module, needs_cc, run_ok

NO_FASTRLOCK = importlib.util.find_spec("fastrlock") is None
needs_fastrlock = pytest.mark.skipif(NO_FASTRLOCK, reason="fastrlock is not built for this Python")


#: ident() and, with the GIL released meanwhile, ident_outside(); the_function() is the address of the C API's own.
ASKS = """
#include <Python.h>
static PyObject *ident(PyObject *m, PyObject *a) { return PyLong_FromUnsignedLong(PyThread_get_thread_ident()); }
static PyObject *outside(PyObject *m, PyObject *a)
{
    unsigned long found;
    Py_BEGIN_ALLOW_THREADS
    found = PyThread_get_thread_ident();
    Py_END_ALLOW_THREADS
    return PyLong_FromUnsignedLong(found);
}
static PyMethodDef methods[] = {{"ident", ident, METH_NOARGS, 0}, {"outside", outside, METH_NOARGS, 0}, {0}};
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "asks", 0, -1, methods};
PyMODINIT_FUNC PyInit_asks(void) { return PyModule_Create(&def); }
"""


@needs_cc
@pytest.mark.parametrize("imported", ["before", "after"])
def test_an_extension_module_is_told_the_goroutine(imported: str, tmp_path: pathlib.Path) -> None:
    run_ok(
        """
import sys, threading
import golib
from support import moves
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "after": golib.go(golib.gosched).join()
import asks

def same():
    return {asks.ident(), asks.outside(), threading.get_ident()}

def body():
    first = same()
    assert any(moves() for _ in range(200))
    assert same() == first and len(first) == 1
    return first.pop()

here = same()
assert len(here) == 1
gs = [golib.spawn(body) for _ in range(20)]
found = {g.join() for g in gs}
assert len(found) == 20 and not found & here
assert golib.run(same) == here == same(), "the main goroutine is the main thread"
""",
        extension_module(ASKS, "asks", tmp_path),
        imported,
        env=MIGRATE,
    )


@needs_cc
def test_a_library_that_ctypes_loads_is_told_the_goroutine(tmp_path: pathlib.Path) -> None:
    source = (
        "#include <Python.h>\nunsigned long ident(void) { return PyThread_get_thread_ident(); }\n"
    )
    run_ok(
        """
import ctypes, pathlib, sys, threading
import golib
from support import moves
golib.go(golib.gosched).join()
path, = pathlib.Path(sys.argv[1]).glob("asked*.so")

def same(library):
    return library.ident() == threading.get_ident()

def body(library):
    assert any(moves() for _ in range(200))
    return same(library)

for kind in (ctypes.CDLL, ctypes.PyDLL):
    library = kind(str(path))
    library.ident.restype = ctypes.c_ulong
    assert golib.go(body, library).join() and same(library)
""",
        extension_module(source, "asked", tmp_path),
        env=MIGRATE,
    )


@needs_fastrlock
@pytest.mark.parametrize("imported", ["before", "after"])
def test_a_fastrlock_lets_one_goroutine_in_at_a_time(imported: str) -> None:
    run_ok(
        """
import sys, threading
import golib
if sys.argv[1] == "after": golib.go(golib.gosched).join()
import fastrlock, fastrlock.rlock

inside = most = rounds = 0

def body(lock):
    global inside, most, rounds
    for _ in range(30):
        with lock:
            with lock:
                inside += 1
                most = max(most, inside)
                golib.sleep(0.00001)
                inside -= 1
        golib.gosched()
        rounds += 1

for lock in (fastrlock.rlock.FastRLock(), threading.RLock()):
    inside = most = rounds = 0
    gs = [golib.go(body, lock) for _ in range(10)]
    for g in gs: g.join()
    assert (inside, most, rounds) == (0, 1, 300), (inside, most, rounds)

lock = fastrlock.rlock.FastRLock()
golib.run(lock.acquire)
lock.release()      # taken by the main goroutine, which is the main thread
lock.acquire()
assert golib.go(lock.acquire, blocking=False).join() is False
lock.release()
""",
        imported,
        env=MIGRATE,
    )
