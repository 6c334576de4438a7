"""The documentation's code, run as the README's is; the pages, and the examples in docstrings."""

from __future__ import annotations

import functools
import importlib
import inspect
import re

import pytest

from markdown import ROOT, Block, blocks, broken_links, params
from support import run_ok

PAGES = sorted((ROOT / "docs").glob("*.md"))


DOCUMENTED = [
    "golib",
    "golib.sync",
    "golib.runtime",
    "golib.signal",
    "golib.aio",
    "golib.context",
    "golib.time",
    "golib.net",
    "golib.testing",
]


@pytest.mark.parametrize("block", [p for page in PAGES for p in params(page, "python")])
def test_a_block_of_the_documentation_runs_and_prints_what_the_page_says(block: Block) -> None:
    assert block.run() == block.output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_pages_links_lead_somewhere(page) -> None:
    assert broken_links(page) == []


def test_every_page_is_in_the_table_of_contents() -> None:
    assert contents("index.md") == sorted(
        [page.stem for page in PAGES if page.stem != "index"] + ["reference/index"]
    )
    parts = sorted(page.stem for page in (ROOT / "docs/reference").glob("*.md"))
    assert contents("reference/index.md") == [name for name in parts if name != "index"]


def contents(page: str) -> list[str]:
    """The pages in the tables of contents of `page`."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    tables = re.findall(r"^```\{toctree\}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return sorted(
        name for table in tables for name in re.findall(r"^[a-z][\w/-]*$", table, re.MULTILINE)
    )


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_name_is_in_the_reference(module) -> None:
    mod = importlib.import_module(module)
    public = [name for name in mod.__all__ if not inspect.ismodule(getattr(mod, name))]
    page = (ROOT / "docs/reference" / f"{module.removeprefix('golib.')}.md").read_text("utf-8")
    shown = re.findall(r"^\.\. auto\w+:: (\S+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(set(public) - {"__version__"})


def test_the_page_of_patch_has_every_group() -> None:
    page = (ROOT / "docs/patch.md").read_text("utf-8")
    groups = run_ok("import golib; golib.patch(); print(*sorted(golib.patched()))").split()
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == groups


def test_the_documentation_shows_code() -> None:
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 20


def examples(module: str) -> list[str]:
    """The examples in the docstrings of the module's names and their methods, as programs that test themselves."""
    mod = importlib.import_module(module)
    return [
        name
        for name in mod.__all__
        if getattr(mod, name).__doc__ and ">>>" in getattr(mod, name).__doc__
    ]


#: Prints which of a module's names have a failing example, and all failures. Each name runs in a forked child, which is
#: like a fresh interpreter without the imports' cost: nothing of golib has started yet.
TRY_ALL = """
import doctest, os, sys, golib, {module}

def attempt(name):
    thing = getattr({module}, name)
    found = doctest.DocTestFinder(recurse=True).find(
        thing, name, module=False, globs={{"golib": golib, "Chan": golib.Chan, "go": golib.go}})
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
    for test in found:
        runner.run(test)
    return runner.summarize(verbose=False)

for name in {names!r}:
    child = os.fork()
    if not child:
        result = attempt(name)
        sys.exit(0 if result.attempted and not result.failed else 1)
    print("==", name, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@functools.cache
def outcomes(module: str) -> tuple[dict[str, str], str]:
    """The outcome of each name's examples ("0" is success), and the whole output or why there is none."""
    try:
        out = run_ok(TRY_ALL.format(module=module, names=examples(module)))
    except AssertionError as error:
        out = str(error)  # kept as well: a program that hangs is not started for each name
    return dict(re.findall(r"^== (\w+) (\S+)$", out, re.MULTILINE)), out


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in DOCUMENTED for name in examples(module)]
)
def test_the_example_in_the_docstring_is_true(module: str, name: str) -> None:
    became, out = outcomes(module)
    assert became.get(name) == "0", out


def test_the_examples_of_compiled_methods_are_true() -> None:
    """doctest's own finder sees only Python functions."""
    out = run_ok(
        """
        import doctest
        import golib
        from golib import _golib

        parser = doctest.DocTestParser()
        runner = doctest.DocTestRunner(
            optionflags=doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL)
        for name, kind in vars(_golib).items():
            if not isinstance(kind, type) or not kind.__module__.startswith("golib"):
                continue
            for method, member in vars(kind).items():
                text = getattr(member, "__doc__", None)
                if isinstance(text, str) and ">>>" in text:
                    runner.run(parser.get_doctest(
                        text, {"golib": golib}, f"{name}.{method}", None, 0))
        assert runner.tries > 50, runner.tries
        print(runner.failures)
        """
    )
    assert out == "0\n", out
