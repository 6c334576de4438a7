"""Importing golib again: after sys.modules was emptied, by reload(), in another interpreter, in the next one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import golib
import pytest
from golib import go

from support import SLACK, run_ok, script_environment

pytestmark = pytest.mark.hang(120 * SLACK)

# -- the same interpreter ------------------------------------------------------------------------------

#: Which golib objects a program holds, and whether golib still uses the same ones.
CHECK = """
import golib, golib.aio, golib.context, golib.sync, sys
def check(golib):
    ch = golib.Chan(1)
    ch.close()
    for call, error in [
        (ch.recv, golib.ChanClosed), (lambda: ch.send(1), golib.SendOnClosed), (ch.close, golib.CloseOfClosed),
        (lambda: golib.run(golib.Chan().recv), golib.Deadlock),
    ]:
        try:
            call()
        except error:
            pass
    g = golib.go(golib.Chan().recv)
    g.cancel()
    try:
        g.join()
    except golib.Cancelled:
        pass
    assert isinstance(ch.try_recv(), golib.Recv) and isinstance(golib.select(ch, default=None), golib.Selected)
    ctx, cancel = golib.context.with_cancel(golib.context.background())
    cancel()
    assert isinstance(ctx.err(), golib.context.Canceled), ctx.err()
    assert golib.aio.Executor(1).submit(abs, -3).result() == 3
    seen = []
    golib.set_panic_handler(lambda g, error: seen.append(error))
    golib.go(int, "x")
    golib.sleep(0.01)
    assert len(seen) == 1
    golib.set_panic_handler(None)
check(golib)
"""

PURGE = """
for name in [name for name in sys.modules if name == "golib" or name.startswith("golib.")]:
    del sys.modules[name]
"""

RELOAD = """
import importlib, golib._errors
importlib.reload(golib._errors)
importlib.reload(golib)
"""

AGAIN = {
    "emptied sys.modules": PURGE,
    "emptied sys.modules, a submodule first": f"{PURGE}\nimport golib.sync, golib.context",
    "golib alone": "del sys.modules['golib']",
    "the compiled part alone": "del sys.modules['golib._golib']",
    "reload(golib)": "import importlib; importlib.reload(golib)",
    "reload(golib._errors)": RELOAD,
}


@pytest.mark.parametrize("again", list(AGAIN))
@pytest.mark.parametrize("first_used", [True, False])
def test_golib_imported_again_is_consistent_with_itself_and_the_first(
    again: str, first_used: bool
) -> None:
    used = CHECK if first_used else CHECK.replace("\ncheck(golib)\n", "\n")
    code = f"""{used}
first = golib
{AGAIN[again]}
import golib
check(golib)
check(first)
assert golib.ChanClosed is first.ChanClosed and golib.sync.WaitGroup is first.sync.WaitGroup
print("the same")
"""
    assert run_ok(code) == "the same\n"


# -- other interpreters of the process -----------------------------------------------------------------

INTERPRETERS = """
import warnings
warnings.simplefilter("ignore")
try:
    import _interpreters as interpreters
    create = interpreters.create
    kinds = ["isolated", "legacy"]
except ImportError:
    import _xxsubinterpreters as interpreters
    create = lambda kind: interpreters.create(isolated=kind == "isolated")
    kinds = ["isolated", "legacy"]
CODE = '''
for _ in range(2):
    for name in ("golib", "golib.sync", "golib._golib"):
        try:
            __import__(name)
        except ImportError as error:
            print(error)
'''
def refused():
    for kind in kinds:
        other = create(kind)
        failed = interpreters.run_string(other, CODE)
        assert not failed, failed
        interpreters.destroy(other)
"""

ORDERS = {
    "first": "refused(); import golib",
    "after the import": "import golib; refused()",
    "after a goroutine": "import golib; golib.go(int).join(); refused()",
}


@pytest.mark.parametrize("order", list(ORDERS))
def test_other_interpreters_than_the_main_one_are_refused_in_words(order: str) -> None:
    use = 'print(golib.run(lambda: golib.go(int, "5").join()))'
    out = run_ok(f"{INTERPRETERS}\n{ORDERS[order]}\n{use}\n")
    *lines, last = out.splitlines()
    assert last == "5"
    assert len(lines) == 12
    assert set(lines) == {"golib works in the main interpreter only"}


EMBEDDING = r"""
#include <Python.h>
/* Runs each argument in an interpreter of its own, one after the other. */
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        PyConfig config;
        PyConfig_InitPythonConfig(&config);
        config.parse_argv = 0;
        PyConfig_SetBytesString(&config, &config.executable, EXECUTABLE);
        if (PyStatus_Exception(Py_InitializeFromConfig(&config)))
            return 100;
        PyConfig_Clear(&config);
        if (PyRun_SimpleString(argv[i]) < 0)
            return 101;
        if (Py_FinalizeEx() < 0)
            return 102;
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of C that embeds this CPython."""
    folder = tmp_path_factory.mktemp("embedding")
    source, program = folder / "embedding.c", folder / "embedding"
    source.write_text(EMBEDDING)
    var = {name: str(value or "") for name, value in sysconfig.get_config_vars().items()}
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    libraries = [f"-L{var['LIBDIR']}", f"-L{var['LIBPL']}", f"-lpython{var['LDVERSION']}"]
    options = f"{var['LIBS']} {var['SYSLIBS']} {var['LINKFORSHARED']}".split()
    command = ["cc", "-o", str(program), str(source), f'-DEXECUTABLE="{sys.executable}"']
    command += ["-w", *includes(), *libraries, *options, f"-Wl,-rpath,{var['LIBDIR']}"]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode != 0:
        pytest.skip(f"no library to embed this CPython: {built.stderr[-300:]}")
    return program


def includes() -> list[str]:
    include = Path(sysconfig.get_paths()["include"])
    # Debian's pyconfig.h includes <multiarch/python3.x/pyconfig.h>.
    return [f"-I{include}", "-idirafter", str(include.parent)]


USE = """
import golib, multiprocessing, sqlite3, threading
assert golib.run(lambda: golib.go(int, "7").join()) == 7
for _ in range(3):
    golib.go(golib.Chan().recv)
    golib.go(lambda: [golib.sleep(0.001) for _ in iter(int, 1)])
golib.go(lambda: sqlite3.connect(":memory:").close()).join()
"""

#: CPython 3.12.1 itself does not survive a second import of sqlite3.
SQLITE = (
    "" if sys.version_info[:2] == (3, 12) else "import sqlite3\nsqlite3.connect(':memory:').close()"
)

PLAIN = f"""
import multiprocessing, os, signal, subprocess, threading, time
with threading.RLock(), multiprocessing.RLock():
    pass
thread = threading.Thread(target=threading.get_ident)
thread.start()
thread.join()
{SQLITE}
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
assert got and time.pthread_getcpuclockid(threading.get_ident())
assert subprocess.run(["echo", "x"], stdout=subprocess.PIPE).stdout == b"x\\n"
pid = os.fork()
if pid == 0:
    os._exit(4)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
print("plain", flush=True)
"""

IMPORT = """
for _ in range(2):
    try:
        import golib
    except ImportError as error:
        print(error, flush=True)
"""

REFUSED = (
    "golib cannot be imported again after Py_Finalize():"
    " one process can use it in one interpreter only\n"
)


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ([USE, PLAIN, PLAIN], "plain\n" * 2),
        ([USE, IMPORT, PLAIN + IMPORT], REFUSED * 2 + "plain\n" + REFUSED * 2),
        (["import golib", IMPORT], REFUSED * 2),
        ([PLAIN, USE], "plain\n"),
    ],
    ids=["used, then not", "used, then refused", "imported, then refused", "used in the second"],
)
def test_the_next_interpreter_of_a_process_works_without_golib(
    embedding: Path, programs: list[str], said: str
) -> None:
    done = subprocess.run(
        [str(embedding), *programs],
        env=script_environment({"PYTHONWARNINGS": "ignore"}),
        capture_output=True,
        text=True,
        timeout=60 * SLACK,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_what_a_sub_interpreter_drops_in_a_goroutine_is_freed_at_once():
    interpreters = pytest.importorskip("_interpreters")
    code = """
        class Nest:
            def __init__(self, inner): self.inner = inner
            def __del__(self): gone.append(1)
        gone = []
        nest = None
        for _ in range(20):
            nest = [Nest(nest)]
        del nest
        def deep(n):
            return n and deep(n - 1)
        deep(500)
        assert len(gone) == 20, gone
        """

    def task():
        interpreter = interpreters.create()
        try:
            return interpreters.exec(interpreter, textwrap.dedent(code))
        finally:
            interpreters.destroy(interpreter)

    for failed in (go(task).join(), golib.run(task), task()):
        assert failed is None, failed
