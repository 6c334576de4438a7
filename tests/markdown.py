"""The code of a Markdown file: each Python block is a program that runs; a text block after it is its output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from support import run_ok

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"\s*^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block, with the block that follows it if only blank lines lie between."""

    file: Path
    line: int
    language: str
    code: str
    output: str | None

    def run(self) -> str | None:
        """Runs the program and compares its output, if the file shows any."""
        output = run_ok(self.code)
        return None if self.output is None else output


def blocks(file: Path, language: str) -> list[Block]:
    """The file's blocks of a language, in order."""
    text = file.read_text(encoding="utf-8")
    result = []
    for match in FENCED.finditer(text):
        output = OUTPUT.match(text, match.end())
        line = text.count("\n", 0, match.start()) + 1
        result.append(Block(file, line, match[1], match[2], output and output[1]))
    return [block for block in result if block.language == language]


def params(file: Path, language: str) -> list[object]:
    """The same as parameters of a test."""
    return [
        pytest.param(block, id=f"{file.name} line {block.line}") for block in blocks(file, language)
    ]


def broken_links(file: Path) -> list[str]:
    """The relative links that lead nowhere."""
    # `Chan[int](8)` in code is no link.
    prose = re.sub(r"`[^`]*`", "", FENCED.sub("", file.read_text(encoding="utf-8")))
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose)
    return [target for target in targets if not (file.parent / target).exists()]
