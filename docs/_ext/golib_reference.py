"""Sphinx extension: the API reference from golib's docstrings and type stubs.

Docstrings live with the code, be it Rust or Python, and have sections such as `Blocks:` and `Raises:`. Types are in the
stubs, as a compiled function has none at run time. This reads both and gives autodoc typed signatures and markup.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import golib
from sphinx.application import Sphinx

PACKAGE = Path(golib.__file__).parent

#: The sections of a docstring, in the style guide's order; each becomes a field of the description.
SECTIONS = ["Returns", "Blocks", "Units", "Shape", "Raises", "Cancel", "Cost", "Go", "Source"]
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}): +(.*)$")


@cache
def signatures() -> dict[str, list[tuple[str, str]]]:
    """`Chan.send`, or `golib.time:after` -> its signatures as written, each as (parameters, returned type)."""
    found: dict[str, list[tuple[str, str]]] = {}
    for source in [*PACKAGE.rglob("*.pyi"), *PACKAGE.rglob("*.py")]:
        module = ".".join(source.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        )
        here: dict[str, list[tuple[str, str]]] = {}
        _collect(ast.parse(source.read_text("utf-8")).body, "", here)
        for name, ways in here.items():
            found[name if source.suffix == ".pyi" else f"{module}:{name}"] = ways
    return found


def _collect(body: list[ast.stmt], prefix: str, found: dict[str, list[tuple[str, str]]]) -> None:
    for node in body:
        if isinstance(node, ast.ClassDef):
            _collect(node.body, f"{node.name}.", found)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            args = ast.unparse(node.args)
            if prefix and not any(
                isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list
            ):
                args = re.sub(r"^(self|cls)(, /)?(, )?", "", args)
            args = re.sub(r", _\w+: [^,]+", "", args)  # ours
            returns = ast.unparse(node.returns) if node.returns else ""
            found.setdefault(prefix + node.name, []).append((_plain(args), _plain(returns)))


def _plain(types: str) -> str:
    """Type variables without the underscore that keeps them private to the stub."""
    return re.sub(r"\b_([PT])(_co|_contra|\d)?\b", r"\1", types)


def process_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str] | None:
    """Gives a function, a method or a class the signature that its stub or its source has."""
    if signature is None:
        return None  # a property, or a class that takes no arguments
    parts = name.split(".")
    short = ".".join(parts[-2:]) if what in ("method", "property", "attribute") else parts[-1]
    keys = [f"{short}.__init__", f"{short}.__new__"] if what == "class" else [short]
    module = getattr(obj, "__module__", None)
    for key in [f"{module}:{key}" for key in keys] + keys:
        for args, result in signatures().get(key, []):
            return f"({args})", "" if what == "class" else result
    return None


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Makes reStructuredText of a docstring, in place."""
    out: list[str] = []
    fields: list[str] = []
    in_section = in_example = False
    for line in lines:
        section = _SECTION.match(line)
        if section:
            in_section, in_example = True, False
            fields.append(f":{section[1]}: {_literals(section[2])}")
        elif in_section and line.startswith("    "):
            fields.append(f"    {_literals(line.strip())}")
        else:
            in_section = False
            in_example = line.startswith(">>>") or (in_example and bool(line))
            out.append(line if in_example else _literals(line))
    at = next((i for i, line in enumerate(out) if line.startswith(">>>")), len(out))
    lines[:] = [*out[:at], "", *fields, "", *out[at:], ""]


def _literals(text: str) -> str:
    """`code` is code; an asterisk is an asterisk."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        f"`{part}`" if part.startswith("`") else re.sub(r"([*|])", r"\\\1", part) for part in parts
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-docstring", process_docstring)
    return {"parallel_read_safe": True}
