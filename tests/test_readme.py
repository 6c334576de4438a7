"""The README's code: each Python block is a program that runs; a text block after it is its output.

A Rust block is one of examples/rust, which the crate's own tests run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from support import run_ok

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block, with the block that follows it if only blank lines lie between."""

    line: int
    language: str
    code: str
    output: str | None


def blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = list(BLOCK.finditer(text))
    result = []
    for match, following in zip(found, [*found[1:], None], strict=True):
        output = None
        if (
            following
            and following[1] == "text"
            and not text[match.end() : following.start()].strip()
        ):
            output = following[2]
        result.append(Block(text.count("\n", 0, match.start()) + 1, match[1], match[2], output))
    return result


def of(language: str) -> list[object]:
    return [pytest.param(b, id=f"line {b.line}") for b in blocks() if b.language == language]


def test_the_readme_has_python_and_rust_blocks() -> None:
    assert len(of("python")) >= 3
    assert of("rust")


@pytest.mark.parametrize("block", of("python"))
def test_a_python_block_runs_and_prints_what_the_readme_says(block: Block) -> None:
    output = run_ok(block.code)
    if block.output is not None:
        assert output == block.output


@pytest.mark.parametrize("block", of("rust"))
def test_a_rust_block_is_one_of_the_examples(block: Block) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "examples/rust").glob("*.rs")]
    assert block.code in [source.partition("\n\n")[2] for source in sources] + sources


def test_links_to_files_lead_somewhere() -> None:
    for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md", "benches/README.md"):
        document = ROOT / name
        # `Chan[int](8)` in code is no link.
        prose = re.sub(r"`[^`]*`", "", BLOCK.sub("", document.read_text(encoding="utf-8")))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose):
            assert (document.parent / target).exists(), f"{name} links to {target}"
