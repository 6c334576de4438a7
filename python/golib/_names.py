"""Modules that answer an unknown name in words, and whose known names cost what those of any module cost.

CPython 3.11 to 3.14 cache no attribute of a module that has a `__getattr__`: each `golib.sleep` would be looked up
in dicts, 12 to 20 ns more. From 3.12 on the interpreter does cache a slot of any class, so there such a module is
replaced by an instance of a subclass of ModuleType with a slot for each public name. 3.11 has no cache for a call
through a slot, and 3.15 caches attributes of modules with a `__getattr__`: these keep it.

Measured, `golib.name(1)` less `name(1)` in nanoseconds; no version caches a subclass without slots:

|                                     | 3.11 | 3.12 | 3.13 | 3.14 | 3.15 |
|-------------------------------------|------|------|------|------|------|
| a module that answers nothing       |  4.8 |  2.1 |  1.7 | -0.8 |  2.2 |
| with a `__getattr__`                | 18.5 |   19 | 18.4 | 13.1 |  2.1 |
| an instance of a class with slots   | 39.9 |  1.0 |  1.0 | -1.5 |  3.7 |
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["answer"]

#: The versions that cache slots, and nothing of a module with a `__getattr__`.
_SLOTS = (3, 12) <= sys.version_info < (3, 15)


def answer(namespace: dict[str, Any], lazy: tuple[str, ...] = ()) -> None:
    """Called at the end of a module, with its globals: unknown names get an AttributeError that says where they are.

    The names in `lazy` are submodules, which are imported when they are used.
    """
    name: str = namespace["__name__"]

    def find(unknown: str) -> Any:
        if unknown in lazy:
            return importlib.import_module(f"{name}.{unknown}")
        from golib._words import missing

        raise missing(name, unknown)

    if not _SLOTS:
        namespace["__getattr__"] = find
        return
    module = sys.modules[name]
    if not isinstance(module, _Answering):  # else it is loaded again
        module = _class_of(namespace, lazy, find)(name)
        sys.modules[name] = module
    for key, value in namespace.items():
        setattr(module, key, value)


class _Answering(ModuleType):
    """What the classes of such modules have in common."""

    __slots__ = ()

    # ModuleType's own is one that the interpreter does not know to be harmless.
    __getattribute__ = object.__getattribute__

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self.__dict__.pop(name, None)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        # Libraries that pickle modules by their name know ModuleType only.
        return importlib.import_module, (self.__name__,)


def _class_of(
    namespace: dict[str, Any], lazy: tuple[str, ...], find: Callable[[str], Any]
) -> type[_Answering]:
    def answers(self: _Answering, name: str) -> Any:
        return find(name)

    slots = tuple({key for key in namespace if key[0].isalpha()} | set(lazy))
    return type("module", (_Answering,), {"__slots__": slots, "__getattr__": answers})
