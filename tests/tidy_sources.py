"""The sources as test_tidy.py sees them: their paths, code, comments and functions."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Comments, strings and character literals; lifetimes ('a) are none of them.
_RUST_NOISE = re.compile(
    r"""//[^\n]*|/\*.*?\*/|\bb?c?r(?P<hashes>\#*)".*?"(?P=hashes)|[bc]?"(?:\\.|[^"\\])*"|b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\])'""",
    re.DOTALL,
)
_C_NOISE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'""", re.DOTALL)


def sources(*patterns: str) -> list[str]:
    """Paths below the project's root, sorted."""
    found = (path for pattern in patterns for path in ROOT.glob(pattern))
    return sorted(str(path.relative_to(ROOT)) for path in found if "target" not in path.parts)


@cache
def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _noise(path: str) -> re.Pattern[str]:
    return _RUST_NOISE if path.endswith(".rs") else _C_NOISE


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match.group())


@cache
def code(path: str) -> str:
    """The text with comments and literals blanked, line for line."""
    return _noise(path).sub(_blank, text(path))


def rust() -> list[str]:
    """The sources, without files of unit tests."""
    return [path for path in sources("rust/*/src/**/*.rs") if not path.endswith("/tests.rs")]


def rust_and_tests() -> list[str]:
    return sources("rust/**/*.rs", "loom_tests/src/**/*.rs")


def c() -> list[str]:
    return sources("rust/golib-py/cpython/**/*.[ch]")


def python() -> list[str]:
    return sources(
        "python/**/*.py",
        "python/**/*.pyi",
        "tests/**/*.py",
        "benches/python/*.py",
        "examples/python/*.py",
    )


def closing_brace(body: str, opening: int) -> int:
    depth = 0
    for at in re.finditer(r"[{}]", body[opening:]):
        depth += 1 if at.group() == "{" else -1
        if depth == 0:
            return opening + at.start()
    return len(body)


def without_tests(body: str) -> str:
    """Blanks `#[cfg(test)] mod …` bodies: a test may use what is above."""
    for found in reversed(
        list(re.finditer(r"#\[cfg\((?:all\()?test.*\n(?:\s*#\[.*\n)*\s*(?:pub )?mod \w+ \{", body))
    ):
        last = closing_brace(body, found.end() - 1)
        body = (
            body[: found.start()] + re.sub(r"[^\n]", " ", body[found.start() : last]) + body[last:]
        )
    return body


def lines_with(path: str, pattern: str) -> Iterator[tuple[int, str]]:
    """(line number, match) in the code of `path`, without its unit tests."""
    body = without_tests(code(path))
    for found in re.finditer(pattern, body, re.MULTILINE):
        yield body.count("\n", 0, found.start()) + 1, found.group()


def functions(path: str) -> Iterator[tuple[str, int, int]]:
    """(name, first line, number of lines) of each function."""
    if path.endswith((".py", ".pyi")):
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1
        return
    body = code(path)
    head = r"\bfn (\w+)[^;{]*\{" if path.endswith(".rs") else r"^\w[\w *]*?\b(\w+)\([^;{}]*\)\s*\{"
    for found in re.finditer(head, body, re.MULTILINE):
        opening = found.end() - 1
        last = closing_brace(body, opening)
        first = body.count("\n", 0, found.start()) + 1
        yield found[1], first, body.count("\n", found.start(), last) + 1


def comments(path: str) -> Iterator[tuple[int, str]]:
    """(first line, text) of each comment, and in Python of each docstring."""
    if path.endswith((".py", ".pyi")):
        for token in tokenize.generate_tokens(io.StringIO(text(path)).readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                docstring = ast.get_docstring(node, clean=False)
                if docstring:
                    yield node.body[0].lineno, docstring
        return
    for found in _noise(path).finditer(text(path)):
        if found.group().startswith(("//", "/*")):
            yield text(path).count("\n", 0, found.start()) + 1, found.group()


@cache
def without_comments(path: str) -> str:
    """The text without its comments; strings stay."""
    if path.endswith((".py", ".pyi")):
        return text(path)
    return _noise(path).sub(
        lambda found: " " if found.group().startswith(("//", "/*")) else found.group(), text(path)
    )
