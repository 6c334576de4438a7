"""Whether golib can work in this interpreter, found out before anything else of golib is imported.

The compiled part refuses too (cpython/init.c, versions.h), but the name of its file says for which interpreter it was
built, and other interpreters do not find it. This module is for them, so it uses only syntax that older ones can read.
"""

import sys
from types import ModuleType

__all__ = ["refusal"]

OLDEST = (3, 11)
NEWEST = (3, 15)


def refusal(implementation: str, version: "tuple[int, int]", abiflags: str) -> str:
    """Why golib refuses such an interpreter; empty if it does not.

    >>> refusal("cpython", (3, 13), "")
    ''
    >>> refusal("cpython", (3, 13), "t")
    'golib does not support free-threaded CPython yet'
    """
    if implementation != "cpython":
        return "golib needs CPython, this is " + implementation
    if not OLDEST <= version <= NEWEST:
        supported = "CPython {}.{} to {}.{}".format(*OLDEST, *NEWEST)
        return "golib supports {}, this is {}.{}".format(supported, *version)
    if "t" in abiflags:
        return "golib does not support free-threaded CPython yet"
    return ""


def restore(package: ModuleType) -> None:
    """Puts golib's modules where they were when `package`, golib itself, was imported first.

    The compiled part exists once in a process; it still raises, returns and calls what it found in them then.
    """
    sys.modules[package.__name__] = package
    for module in list(vars(package).values()):
        if isinstance(module, ModuleType) and module.__name__.startswith(package.__name__ + "."):
            restore(module)


def remember(package: str) -> None:
    """Remembers golib, whose import has succeeded, for restore()."""
    sys.modules["golib._golib"]._package(sys.modules[package])


def check() -> None:
    """Raises ImportError unless golib can work here. Restores an earlier import if sys.modules has been emptied."""
    version = (sys.version_info[0], sys.version_info[1])
    why_not = refusal(sys.implementation.name, version, getattr(sys, "abiflags", ""))
    if why_not:
        raise ImportError(why_not, name="golib")
    try:
        import golib._golib  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "golib._golib":
            raise
        raise ImportError(
            "golib was not built for this interpreter, CPython {}.{} at {}:"
            " install it with that interpreter's own pip".format(*version, sys.executable),
            name="golib",
        ) from error
    except ImportError as error:
        # CPython's own refusal does not name the module.
        if "subinterpreters" in str(error):
            raise ImportError("golib works in the main interpreter only", name="golib") from error
        raise
    # Not golib._golib: if golib was refused before, the module exists but is no attribute of the package.
    compiled = sys.modules["golib._golib"]
    compiled._check_interpreter()
    before = compiled._package(None)
    if before is not None:
        restore(before)


check()
