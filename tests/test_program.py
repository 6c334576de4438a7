"""`python -m golib`: each program of a table beside the same one under `python`."""

from __future__ import annotations

import os
import pathlib
import pty
import re
import signal
import subprocess
import sys
import textwrap
import zipfile
from typing import NamedTuple

import pytest

from support import script_environment, start, wait_line


class Case(NamedTuple):
    """A program, written into files, and the command line that runs it."""

    files: dict[str, str]
    command: list[str]
    stdin: str = ""
    options: list[str] = []  # noqa: RUF012


SHOW = """
    import sys, os
    print(__name__, sys.argv, sys.path[0], sorted(globals()))
    print(globals().get("__file__"), __spec__, __package__, sys.modules["__main__"].__dict__ is globals())
    print(type(__builtins__).__name__, getattr(__loader__, "__name__", type(__loader__).__name__))
"""
FAIL = """
    def inner(n):
        if n:
            inner(n - 1)
        raise ValueError("wrong")

    def outer():
        try:
            inner(2)
        except ValueError as error:
            raise KeyError("outer") from error

    print("begins")
    outer()
"""


def script(source: str, *args: str, stdin: str = "", options: list[str] | None = None) -> Case:
    return Case({"prog.py": source}, ["prog.py", *args], stdin, options or [])


CASES: dict[str, Case] = {
    "names in a script": script(SHOW, "a", "--thread", "-m", "b c"),
    "names in a script by a path with dots": Case({"d/prog.py": SHOW}, ["./d/../d/prog.py"]),
    "names in a module": Case({"mod.py": SHOW}, ["-m", "mod", "x", "-c"]),
    "names in a module, one word": Case({"mod.py": SHOW}, ["-mmod", "x"]),
    "names in a package": Case(
        {"pkg/__init__.py": "print('init', __name__)", "pkg/__main__.py": SHOW}, ["-m", "pkg"]
    ),
    "names in a package's module": Case(
        {
            "pkg/__init__.py": "",
            "pkg/mod.py": SHOW + "\n    from . import other",
            "pkg/other.py": "",
        },
        ["-m", "pkg.mod", "1"],
    ),
    "names in code": Case({}, ["-c", textwrap.dedent(SHOW), "a", "-m", "b"]),
    "names in code, one word": Case({}, ["-cprint(__name__)", "a"]),
    "code that is indented": Case({}, ["-c", "\n    print(1)\n    print(2)"]),
    "names on standard input": Case({}, ["-", "a"], textwrap.dedent(SHOW)),
    "names on standard input, no dash": Case({}, [], textwrap.dedent(SHOW)),
    "names in a folder": Case({"d/__main__.py": SHOW, "d/other.py": ""}, ["d", "x"]),
    "names in an archive": Case({"z.zip": SHOW}, ["z.zip", "x"]),
    "a folder without a program": Case({"d/x.py": ""}, ["d"]),
    "no such script": Case({}, ["nothing.py"]),
    "no such module": Case({}, ["-m", "nothing_at_all"]),
    "no such module in a package": Case({"pkg/__init__.py": ""}, ["-m", "pkg.nothing"]),
    "a package that is no program": Case({"pkg/__init__.py": ""}, ["-m", "pkg"]),
    "isolated": script(SHOW, options=["-I"]),
    "safe path": script(SHOW, options=["-P"]),
    "safe path, a folder": Case({"d/__main__.py": SHOW}, ["d"], options=["-P"]),
    "optimized": script("print(__debug__)\nassert False", options=["-O"]),
    "warnings are errors": script(
        "import warnings\nwarnings.warn('careful', UserWarning)",
        options=["-W", "error::UserWarning"],
    ),
    "the default filter of warnings": script(
        "import warnings\nwarnings.warn('old', DeprecationWarning)\nwarnings.warn('odd', SyntaxWarning)"
    ),
    "development mode": script("import sys\nprint(sys.flags.dev_mode)", options=["-X", "dev"]),
    "a link to a script": Case({"d/prog.py": SHOW}, ["link.py"]),
    "a failing script": script(FAIL),
    "a failing module": Case({"mod.py": FAIL}, ["-m", "mod"]),
    "failing code": Case({}, ["-c", textwrap.dedent(FAIL)]),
    "failing standard input": Case({}, ["-"], textwrap.dedent(FAIL)),
    "a failing folder": Case({"d/__main__.py": FAIL}, ["d"]),
    "a failing archive": Case({"z.zip": FAIL}, ["z.zip"]),
    "a failing import": Case({"prog.py": "import other", "other.py": FAIL}, ["prog.py"]),
    "a syntax error": script("x = (1,\nprint(2"),
    "a syntax error in a module": Case({"mod.py": "def f(:\n"}, ["-m", "mod"]),
    "a syntax error in code": Case({}, ["-c", "x ="]),
    "an indentation error": script("def f():\nreturn 1"),
    "an exception group": script(
        "raise ExceptionGroup('g', [ValueError(1), ExceptionGroup('h', [KeyError(2)])])"
    ),
    "an exception with a note": script("e = ValueError('x'); e.add_note('a note'); raise e"),
    "recursion without end": script(
        "import sys\nsys.setrecursionlimit(100)\ndef f(): f()\ntry: f()\nexcept RecursionError as e: print(e)"
    ),
    "a lone base exception": script("class E(BaseException): pass\nraise E('base')"),
    "a generator that is not closed": script(
        "def g():\n    try: yield\n    finally: print('closed')\nx = g(); next(x)"
    ),
    "exit": script("import sys; print(1); sys.exit()"),
    "exit with a status": script("import sys; sys.exit(7)"),
    "exit with a text": script("import sys; sys.exit('the text')"),
    "exit with an object": script("import sys; sys.exit([1, 2])"),
    "exit with a huge status": script("import sys; sys.exit(2**40 + 3)"),
    "exit with False": script("raise SystemExit(False)"),
    "exit in a function called by exit handlers": script(
        "import atexit, sys\natexit.register(print, 'last')\natexit.register(sys.exit, 3)\nprint('first')"
    ),
    "exit handlers run after a failure": script(
        "import atexit\natexit.register(print, 'handler')\n1/0"
    ),
    "exit handlers do not see the file": script(
        "import atexit\natexit.register(lambda: print('__file__' in globals()))"
    ),
    "an exit handler that fails": script(
        "import atexit\n@atexit.register\ndef f(): 1/0\nprint('x')"
    ),
    "an end without ado": script("import os; print(1, flush=True); os._exit(9)"),
    "killed by itself": script("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"),
    "a KeyboardInterrupt": script("raise KeyboardInterrupt"),
    "a KeyboardInterrupt in a module": Case(
        {"mod.py": "raise KeyboardInterrupt('x')"}, ["-m", "mod"]
    ),
    "a KeyboardInterrupt and exit handlers": script(
        "import atexit\natexit.register(print, 'handler')\nraise KeyboardInterrupt"
    ),
    "an interrupt that comes": script(
        "import os, signal, time\nprint('on', flush=True)\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)"
    ),
    "an interrupt that is caught": script(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        "except KeyboardInterrupt:\n    print('caught')\nfinally:\n    print('finally')"
    ),
    "a hook for exceptions": script(
        "import sys, traceback\ndef hook(t, v, tb): print('hook', t, v, [f.name for f in traceback.extract_tb(tb)])\n"
        "sys.excepthook = hook\ndef f(): 1/0\nf()"
    ),
    "a hook that fails": script(
        "import sys\ndef hook(*a): raise KeyError(1)\nsys.excepthook = hook\n1/0"
    ),
    "a hook that exits": script(
        "import sys\ndef hook(*a): sys.exit(5)\nsys.excepthook = hook\n1/0"
    ),
    "the last exception": script(
        "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno))\n\n1/0"
    ),
    "the stack": script(
        "import sys, inspect, traceback\nprint([f.function for f in inspect.stack()])\ntraceback.print_stack()\n"
        "try: sys._getframe(1)\nexcept ValueError as e: print(e)"
    ),
    "the main thread": script(
        "import threading, signal\nt = threading.current_thread()\nprint(t is threading.main_thread(), t.name)\n"
        "signal.signal(signal.SIGTERM, lambda *a: None)\nprint(threading.active_count())"
    ),
    "threads are joined": script(
        "import threading\ne = threading.Event()\ndef f():\n    e.wait(); print('thread')\n"
        "threading.Thread(target=f).start()\nprint('main', flush=True)\ne.set()"
    ),
    "daemon threads are not": script(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(30,), daemon=True).start()\nprint('main')"
    ),
    "a thread that fails": script(
        "import threading\nt = threading.Thread(target=lambda: 1/0, name='T'); t.start(); t.join()"
    ),
    "pickle": script(
        "import pickle\nclass A:\n    def __eq__(self, o): return isinstance(o, A)\n"
        "b = pickle.dumps(A()); print(b'__main__' in b, pickle.loads(b) == A())"
    ),
    "annotations": script(
        "x: int = 1\ny: 'str'\nprint(__annotations__)\nclass C:\n    a: int\nprint(C.__annotations__)"
    ),
    "future statements": script(
        "from __future__ import annotations\nx: undefined = 1\nprint(__annotations__)"
    ),
    "future statements of ours are not": script("def f(x: int): pass\nprint(f.__annotations__)"),
    "dataclasses": script(
        "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 0\nprint(P(3))"
    ),
    "doctest": script(
        "import doctest\ndef f():\n    '''\n    >>> f()\n    1\n    '''\n    return 1\nprint(doctest.testmod())"
    ),
    "a module's docstring": script('"""The docstring."""\nprint(__doc__)'),
    "asyncio": script(
        "import asyncio\nasync def main():\n    await asyncio.sleep(0.01)\n    return 'done'\nprint(asyncio.run(main()))"
    ),
    "input": script(
        "print(input(), input('? '))\nimport sys\nprint(sys.stdin.read())",
        stdin="one\ntwo\nthree\n",
    ),
    "a fork": script(
        "import os, sys\npid = os.fork()\nif pid == 0:\n    print('child', flush=True); sys.exit(4)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    ),
    "a coding cookie": script("# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))"),
    "a source with a byte order mark": script("\ufeffprint('bom')"),
    "a source with carriage returns": script("print(1)\r\nprint(2)\r\n"),
    "an import of the main module": script(
        "import __main__\nprint(__main__.__name__, __main__.x if hasattr(__main__, 'x') else None)"
    ),
    "the module run twice": Case(
        {"pkg/__init__.py": "from . import mod", "pkg/mod.py": "print(__name__)"}, ["-m", "pkg.mod"]
    ),
}

MULTIPROCESSING = """
    import multiprocessing, os

    class Thing:
        def __init__(self, n):
            self.n = n

    def double(thing):
        return Thing(thing.n * 2)

    if __name__ == "__main__":
        context = multiprocessing.get_context("METHOD")
        with context.Pool(2) as pool:
            print([t.n for t in pool.map(double, [Thing(1), Thing(2)])])
        p = context.Process(target=double, args=(Thing(1),))
        p.start(); p.join(); print(p.exitcode)
    else:
        pass
"""
for method in ("fork", "spawn", "forkserver"):
    source = MULTIPROCESSING.replace("METHOD", method)
    CASES[f"multiprocessing by {method} in a script"] = script(source)
    CASES[f"multiprocessing by {method} in a module"] = Case({"mod.py": source}, ["-m", "mod"])


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> tuple[Case, pathlib.Path]:
    """The case, its files in a folder."""
    case = CASES[request.param]
    for name, source in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".zip"):
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("__main__.py", textwrap.dedent(source))
            continue
        source = textwrap.dedent(source)
        path.write_bytes(source.encode("latin-1" if "latin-1" in source else "utf-8"))
    if case.command[:1] == ["link.py"]:
        (tmp_path / "link.py").symlink_to("d/prog.py")
    return case, tmp_path


def outcome(case: Case, folder: pathlib.Path, *golib: str) -> tuple[int, str, str]:
    """Status, output and errors of the case under python, or under golib."""
    command = [sys.executable, *case.options, *golib, *case.command]
    environment = script_environment()
    environment.pop("PYTHONPATH")
    done = subprocess.run(
        command,
        cwd=folder,
        input=case.stdin.encode(),
        capture_output=True,
        env=environment,
        timeout=60,
    )
    out, err = (re.sub("0x[0-9a-f]+", "0x", text.decode()) for text in (done.stdout, done.stderr))
    return done.returncode, out, err


@pytest.mark.parametrize("made", CASES, indirect=True)
def test_a_program_does_what_it_does_under_python(made):
    case, folder = made
    assert outcome(case, folder, "-m", "golib") == outcome(case, folder)


@pytest.mark.parametrize(
    "made", ["a failing script", "names in a script", "asyncio", "exit with a text"], indirect=True
)
def test_a_compiled_program_does_what_it_does_under_python(made):
    case, folder = made
    import py_compile

    py_compile.compile(str(folder / "prog.py"), cfile=str(folder / "prog.pyc"))
    case = case._replace(command=["prog.pyc", *case.command[1:]])
    assert outcome(case, folder, "-m", "golib") == outcome(case, folder)


def test_the_program_runs_in_the_main_goroutine():
    code = "import golib; print(golib._golib._in_goroutine(), golib.num_goroutine(), golib.run(lambda: 7))"
    done = outcome(Case({}, ["-c", code]), pathlib.Path.cwd(), "-m", "golib")
    assert done == (0, "True 1 7\n", "")


def test_other_goroutines_end_with_the_program():
    code = "import golib; golib.go(golib.sleep, 100); golib.go(golib.nil.recv); print('end')"
    assert outcome(Case({}, ["-c", code]), pathlib.Path.cwd(), "-m", "golib") == (0, "end\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["--version"]])
def test_help_and_version_are_no_errors(arguments):
    rc, out, err = outcome(Case({}, arguments), pathlib.Path.cwd(), "-m", "golib")
    assert (rc, err) == (0, "") and "golib" in out


@pytest.mark.parametrize("arguments", [["-X", "dev", "prog.py"], ["--threads"], ["-m"], ["-c"]])
def test_wrong_options_are_refused_in_words(arguments):
    rc, out, err = outcome(Case({}, arguments), pathlib.Path.cwd(), "-m", "golib")
    assert (rc, out) == (2, "") and "usage: python -m golib" in err


def test_without_a_program_a_terminal_gets_the_usage():
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "golib"],
            stdin=follower,
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        os.close(leader)
        os.close(follower)
    assert done.returncode == 2 and "no program given" in done.stderr


@pytest.mark.parametrize("wait", ["golib.nil.recv()", "time.sleep(60)", "threading.Event().wait()"])
def test_ctrl_c_ends_the_program_as_python_does(wait):
    code = f"import golib, time, threading, atexit; atexit.register(print, 'handler'); print('on', flush=True); {wait}"
    process = start([sys.executable, "-m", "golib", "-c", code])
    wait_line(process, "on")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT and out == "handler\n"
    assert (
        err.rstrip().endswith("KeyboardInterrupt")
        and "golib/_program" not in err
        and "golib/_run" not in err
    )
