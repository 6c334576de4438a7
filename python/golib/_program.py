"""What `python -m golib` does: it patches the standard library and runs a program as the main goroutine.

The program's `__main__` is the module that the interpreter made at its start, emptied of golib's own names, so that
pickle, multiprocessing and whatever else asks for `__main__` find the program there. The code of a script is the
outermost function of the main goroutine: no frame of golib's lies below it, in tracebacks or in `inspect.stack()`.

The interpreter's own options (-X, -W, -O, -P, -I, ...) come before `-m golib`, and `python` itself has dealt with them.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from typing import Any, NoReturn

from golib import _golib

__all__ = ["main"]

USAGE = "usage: python -m golib [--thread] [-m module | -c code | script | -] [args...]"
HELP = f"""{USAGE}

Runs a Python program as the main goroutine, with the standard library patched (golib.patch): what blocks an OS
thread in the standard library blocks the goroutine only. The program sees what it would see under `python`:
sys.argv, sys.path, __main__, its exit status.

  --thread    threading.Thread and _thread.start_new_thread start goroutines, too
  -m module   run a module, as python -m
  -c code     run code, as python -c
  -           read the program from standard input, as does leaving it out if that is no terminal

Options of the interpreter come before -m golib: python -X dev -W error -m golib script.py"""

#: One way of running: what to call as the main goroutine, and with which arguments.
Job = tuple[Callable[..., Any], tuple[Any, ...]]


def main() -> None:
    """Runs the program that the command line names; it ends as the program does."""
    thread, arguments = _options(sys.argv[1:])
    job: Job | None = None
    failure = None
    try:
        try:
            job = _prepared(arguments)
            _patch(thread)
            _golib._run_main(*job, {})
        except SystemExit:
            raise
        except BaseException as error:
            failure = error
        if (
            failure is not None
        ):  # not while it is handled: what the hook raises would be said to have come from it
            _fail(failure)
    finally:
        if job is not None and isinstance(job[0], types.FunctionType):
            _forget_file()


def _patch(thread: bool) -> None:
    import golib

    patch = getattr(golib, "patch", None)
    if patch is not None:
        patch(thread=thread)


def _options(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether --thread was given, and what follows golib's own options."""
    thread = False
    while (
        arguments
        and arguments[0].startswith("-")
        and arguments[0] != "-"
        and arguments[0][:2] not in ("-m", "-c")
    ):
        option = arguments.pop(0)
        if option in ("-h", "--help"):
            print(HELP)
            sys.exit(0)
        if option in ("-V", "--version"):
            from golib import __version__

            print(f"golib {__version__}")
            sys.exit(0)
        if option == "--":
            break
        if option != "--thread":
            _refuse(f"unknown option {option}; options of the interpreter come before -m golib")
        thread = True
    return thread, arguments


def _refuse(text: str) -> NoReturn:
    print(f"python -m golib: {text}\n{USAGE}", file=sys.stderr)
    sys.exit(2)


def _prepared(arguments: list[str]) -> Job:
    """Makes sys.argv, sys.path and `__main__` the program's; what to run."""
    first = arguments[0] if arguments else ""
    if first[:2] in ("-m", "-c"):
        # As python: -cCODE is -c CODE.
        operand, rest = (
            (first[2:], arguments[1:])
            if len(first) > 2
            else ("".join(arguments[1:2]), arguments[2:])
        )
        if len(first) == 2 and len(arguments) < 2:
            _refuse(f"argument expected for the {first} option")
        sys.argv[:] = [first[:2], *rest]
        return _module(operand) if first[:2] == "-m" else _code(operand)
    if not arguments and sys.stdin is not None and sys.stdin.isatty():
        _refuse("no program given")
    sys.argv[:] = arguments or [""]
    if first in ("", "-"):
        return _standard_input()
    path = first if os.path.isabs(first) else os.path.join(os.getcwd(), first)
    return _folder(first, path) if _is_importable(path) else _script(first, path)


def _module(name: str) -> Job:
    from runpy import _run_module_as_main  # type: ignore[attr-defined]

    _empty_main(BuiltinImporter)
    return _run_module_as_main, (name,)


def _code(source: str) -> Job:
    if sys.version_info >= (3, 14):
        import textwrap

        source = textwrap.dedent(source)
    source += "\n"
    _set_path("")
    function, arguments = _function(source, "<string>", _empty_main(BuiltinImporter))
    if sys.version_info >= (3, 13):  # tracebacks show its lines
        from linecache import _register_code  # type: ignore[attr-defined]

        key = function.__code__ if sys.version_info >= (3, 14) else "<string>"  # type: ignore[attr-defined]
        _register_code(key, source, "<string>")
    return function, arguments


def _standard_input() -> Job:
    source = sys.stdin.buffer.read()
    _set_path("")
    namespace = _empty_main(BuiltinImporter)
    _set_file(namespace, "<stdin>")
    return _function(source, "<stdin>", namespace)


def _is_importable(path: str) -> bool:
    """A folder or an archive: some finder knows what to do with the path."""
    from pkgutil import get_importer

    return get_importer(path) is not None


def _folder(argument: str, path: str) -> Job:
    from runpy import _run_module_as_main  # type: ignore[attr-defined]

    _empty_main(BuiltinImporter)
    # Also where the interpreter leaves sys.path alone otherwise (-P).
    if sys.flags.safe_path:
        sys.path.insert(0, path)
    else:
        sys.path[0] = path
    return _run_module_as_main, ("__main__", False)


def _script(argument: str, path: str) -> Job:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        program = sys.orig_argv[0]
        print(
            f"{program}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        sys.exit(2)
    _set_path(os.path.dirname(os.path.realpath(path)))
    if path.endswith(".pyc"):
        unmarshalled = SourcelessFileLoader("__main__", path)
        namespace = _empty_main(unmarshalled)
        _set_file(namespace, path)
        code = unmarshalled.get_code("__main__")
        return types.FunctionType(code, namespace), ()  # type: ignore[arg-type]
    namespace = _empty_main(SourceFileLoader("__main__", path))
    _set_file(namespace, path)
    return _function(source, path, namespace)


def _set_path(entry: str) -> None:
    """Puts `entry` where `python -m` has put the working directory."""
    if not sys.flags.safe_path:
        sys.path[0] = entry


def _function(source: str | bytes, path: str, namespace: dict[str, Any]) -> Job:
    # The code of a module is a function whose local variables are its globals.
    return types.FunctionType(compile(source, path, "exec", dont_inherit=True), namespace), ()


def _empty_main(loader: object) -> dict[str, Any]:
    """The namespace of `__main__` as the interpreter makes it, before a program runs there."""
    import builtins

    namespace = sys.modules["__main__"].__dict__
    namespace.clear()
    namespace.update(
        __name__="__main__", __doc__=None, __package__=None, __loader__=loader, __spec__=None
    )
    if sys.version_info < (3, 14):
        namespace["__annotations__"] = {}
    namespace["__builtins__"] = builtins
    return namespace


def _set_file(namespace: dict[str, Any], path: str) -> None:
    namespace["__file__"] = path
    if sys.version_info < (3, 15):
        namespace["__cached__"] = None


def _forget_file() -> None:
    """As the interpreter does when a script has ended: exit handlers do not see these."""
    namespace = sys.modules["__main__"].__dict__
    namespace.pop("__file__", None)
    namespace.pop("__cached__", None)


def _fail(error: BaseException) -> NoReturn:
    """Reports the exception with which the program ended, without golib's frames, and ends as python does then."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    _golib._print_error(error)
    if not isinstance(error, KeyboardInterrupt):
        sys.exit(1)
    # The interpreter ends by SIGINT after one of these. It reports it first, which has been done.
    hook = sys.excepthook

    def silent(*_: object) -> None:
        sys.excepthook = hook

    sys.excepthook = silent
    raise error
