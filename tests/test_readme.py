"""The READMEs. In the first one each Python block is a program that runs; a text block after it is its output.

A Rust block is one of examples/rust, which the crate's own tests run.
"""

from __future__ import annotations

import pytest

from markdown import ROOT, Block, blocks, broken_links, params

README = ROOT / "README.md"
PACKAGE = ROOT / "python" / "README.md"


def test_the_readme_has_python_and_rust_blocks() -> None:
    assert len(blocks(README, "python")) >= 3
    assert blocks(README, "rust")


@pytest.mark.parametrize("block", [*params(README, "python"), *params(PACKAGE, "python")])
def test_a_python_block_runs_and_prints_what_the_readme_says(block: Block) -> None:
    assert block.run() == block.output


@pytest.mark.parametrize("block", params(README, "rust"))
def test_a_rust_block_is_one_of_the_examples(block: Block) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "examples/rust").glob("*.rs")]
    assert block.code in [source.partition("\n\n")[2] for source in sources] + sources


def test_the_tests_readme_says_what_each_file_is_for() -> None:
    tests = ROOT / "tests"
    said = (tests / "README.md").read_text("utf-8")
    files = [str(path.relative_to(tests)) for path in tests.rglob("test_*.py")]
    assert files
    assert [
        name for name in files if f"`{name}`" not in said and not name.startswith("soak/")
    ] == []


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "benches/README.md"]
)
def test_links_to_files_lead_somewhere(name: str) -> None:
    assert broken_links(ROOT / name) == []
