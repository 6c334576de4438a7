"""The promises of ARCHITECTURE.md and of the style guide, as rules over the sources.

Each rule yields findings; each finding is either mended or listed in tidy_exceptions.py with a reason. An exception
that no finding needs any more fails too, so the table is always true.

`python tests/test_tidy.py --report` prints every rule with its findings and sizes; `make lint` runs the rules.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from tidy_exceptions import EXCEPTIONS, FOREIGN
from tidy_sources import (
    c,
    closing_brace,
    code,
    comments,
    functions,
    lines_with,
    python,
    rust,
    rust_and_tests,
    sources,
    text,
    without_comments,
    without_tests,
)

FILE_LINES = 500
FUNCTION_LINES = 70
ARCHITECTURE_LINES = 250


class Finding(NamedTuple):
    """Where a rule is broken; `key` names the spot without its line number, which would change."""

    path: str
    key: str
    line: int


# ---- the rules ------------------------------------------------------------------------------------------------------


def long_files() -> Iterator[Finding]:
    """A file holds one concept, in at most 500 lines; ARCHITECTURE.md has at most 250."""
    for path in rust_and_tests() + c() + python():
        if text(path).count("\n") > FILE_LINES:
            yield Finding(path, "", text(path).count("\n"))
    if text("ARCHITECTURE.md").count("\n") > ARCHITECTURE_LINES:
        yield Finding("ARCHITECTURE.md", "", text("ARCHITECTURE.md").count("\n"))


def long_functions() -> Iterator[Finding]:
    """A function fits a screen: at most 70 lines."""
    for path in rust_and_tests() + c() + python():
        for name, line, length in functions(path):
            if length > FUNCTION_LINES:
                yield Finding(path, name, line)


def missing_headers() -> Iterator[Finding]:
    """A file begins by saying what it holds."""
    for path in rust() + c() + python():
        opening = "//!" if path.endswith(".rs") else "/*" if path in c() else ('"""', 'r"""', "#")
        if not text(path).startswith(opening):
            yield Finding(path, "", 1)


_PAIRS = re.compile(r"\bpair(s|ed)? with\b", re.IGNORECASE)


def unpaired_orderings() -> Iterator[Finding]:
    """An ordering stronger than relaxed says what it pairs with: near it, at its function, or in the header."""
    for path in rust():
        lines = text(path).splitlines()
        body = without_tests(code(path))
        heads = [(line, line + length) for _, line, length in functions(path)]
        in_header = bool(
            _PAIRS.search(
                text(path).partition("\n\n")[0] + text(path).partition("# Memory ordering")[2][:900]
            )
        )
        for found in re.finditer(
            r"^(?!\s*(?:pub(?:\(.*\))? )?use\b).*\b(Acquire|Release|AcqRel|SeqCst)\b", body, re.M
        ):
            line = body.count("\n", 0, found.start()) + 1
            around = lines[max(0, line - 9) : line + 1]
            for first, last in heads:
                if first <= line <= last:
                    around += lines[max(0, first - 12) : first]
            near = re.sub(r"\s*\n\s*//[/!]?\s*", " ", "\n".join(around))
            if not (
                _PAIRS.search(near)
                or (in_header and re.search(r"\bsee the header\b", near, re.IGNORECASE))
            ):
                yield Finding(path, found[1], line)


def status_outside_proc() -> Iterator[Finding]:
    """Only `proc` moves a goroutine between states and queues (invariant 2)."""
    moves = r"\b(casgstatus|globrunqput\w*|runqput\w*|push_inbox|push_back_host)\("
    for path in rust():
        if "/runtime/proc/" in path:
            continue
        for line, name in lines_with(path, r"^(?!.*\bfn ).*" + moves):
            yield Finding(path, re.sub(rf".*{moves}.*", r"\1", name), line)


def libc_outside_sys() -> Iterator[Finding]:
    """The crate speaks to the C library in `sys` only."""
    for path in sources("rust/go-lib/src/**/*.rs"):
        if "/src/sys/" not in path:
            for line, name in lines_with(path, r"\blibc::\w+"):
                yield Finding(path, name, line)


def assembly_outside_arch() -> Iterator[Finding]:
    """Assembly is in `sys/arch` and in `cpython` only."""
    for path in rust():
        if "/sys/arch/" not in path and "/cpython/" not in path:
            for line, name in lines_with(path, r"\b(?:global_|naked_)?asm!"):
                yield Finding(path, name, line)


def versions_outside_cpython() -> Iterator[Finding]:
    """Differences between CPython's versions are in the `cpython` folders only."""
    for path in rust():
        if "/cpython/" not in path:
            for line, name in lines_with(path, r"\bPy_3_\d+\b"):
                yield Finding(path, name, line)


def python_in_the_crate() -> Iterator[Finding]:
    """The crate knows nothing of Python, not even the word."""
    for path in sources(
        "rust/go-lib/**/*.rs", "rust/go-lib-macros/**/*.rs", "rust/go-lib/Cargo.toml"
    ):
        for number, line in enumerate(text(path).splitlines(), 1):
            if re.search("python", line, re.IGNORECASE):
                yield Finding(path, line.strip()[:40], number)


#: Each crate's layers from the bottom up; a file imports from its own and from lower ones. The longest prefix counts.
CRATE_LAYERS = [
    ["prim", "sys", "test_rng", "panic"],
    ["runtime::clock", "runtime::object"],
    ["runtime::poller"],
    ["runtime::sched"],
    ["runtime::traceback"],
    ["runtime::proc"],
    ["runtime::block"],
    ["runtime", "go"],
    ["chan", "select", "sync", "context", "net", "scope", "time"],
    [""],
]


HOST_LAYERS = [
    ["cpython"],
    ["ffi"],
    ["bridge"],
    ["core"],
    ["types"],
    ["module"],
    [""],
]

LAYERS = {"go-lib": CRATE_LAYERS, "golib-py": HOST_LAYERS}


def _layer(layers: list[list[str]], module: str) -> int:
    best = max(
        (
            name
            for layer in layers
            for name in layer
            if module == name or module.startswith(name + "::") or not name
        ),
        key=len,
    )
    return next(height for height, layer in enumerate(layers) if best in layer)


def _module_of(path: str) -> str:
    inside = path.partition("/src/")[2].removesuffix(".rs")
    return inside.replace("/", "::").removesuffix("::mod").removeprefix("lib")


def _expand(tree: str) -> Iterator[str]:
    """The paths of a `use` tree: `a::{b, c::d}` gives `a::b` and `a::c::d`."""
    prefix, brace, inner = tree.partition("{")
    if not brace:
        yield tree.strip()
        return
    depth, start = 0, 0
    inner = inner.rstrip().removesuffix("}") + ","
    for at, char in enumerate(inner):
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if inner[start:at].strip():
                yield from (prefix.strip() + name for name in _expand(inner[start:at]))
            start = at + 1


class Import(NamedTuple):
    """A path in the code that begins at the root, in a module above or in a child: as a path from the root."""

    line: int
    module: str
    #: What the file calls it, if it is in a `use`, and whether that shows it to others.
    local: str
    is_shown: bool


def _imports(path: str) -> Iterator[Import]:
    body = without_tests(code(path))
    own = [part for part in _module_of(path).split("::") if part]
    inline = [
        (found.start(), closing_brace(body, found.end() - 1))
        for found in re.finditer(r"\bmod \w+ \{", body)
    ]
    children = set(re.findall(r"\bmod (\w+);", body))
    first = "|".join(["crate", r"super(?:::super)*", "self", *children])
    head = rf"(?<![\w:$])((?:pub(?:\([^)]*\))? )?use )?({first})::((?:\w+::)*(?:\w+|\{{|\*))"
    for found in re.finditer(head, body):
        line = body.count("\n", 0, found.start()) + 1
        begins, tree = found[2], found[3]
        if begins in children:
            base = [*own, begins]
        elif begins == "crate":
            base = []
        else:
            depth = sum(begin < found.start() < end for begin, end in inline)
            base = own[: len(own) - max(0, begins.count("super") - depth)]
        if tree.endswith("{"):
            tree = tree[:-1] + body[found.end() - 1 : closing_brace(body, found.end() - 1) + 1]
        for name in _expand(tree):
            target, _, alias = name.partition(" as ")
            module = "::".join([*base, target.strip()]).removesuffix("::self").removesuffix("::*")
            local = (alias.strip() or module.rpartition("::")[2]) if found[1] else ""
            yield Import(line, module, local, (found[1] or "").startswith("pub"))


def upward_imports() -> Iterator[Finding]:
    """A layer imports only from those below it."""
    for crate, layers in LAYERS.items():
        for path in sources(f"rust/{crate}/src/**/*.rs"):
            own = _layer(layers, _module_of(path))
            for line, module, *_ in _imports(path):
                if module.startswith("__"):
                    continue  # a macro's, which can only be named by the crate's root
                if _layer(layers, module) > own:
                    depth = 3 if module.startswith("runtime::") else 1
                    yield Finding(path, "::".join(module.split("::")[:depth]), line)


_NAMES = re.compile(r"`[&*]*([A-Za-z_][\w:.]*)(?:\([\w, ]*\))?!?`")
_FILES = re.compile(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|pyi|rs|c|h|md|toml))`")


def _mentions(path: str, letter: str) -> bool:
    """Whether the letter is in the file other than as a name that a comment speaks of."""
    return re.search(rf"(?<!`)\b{letter}\b(?!`)", text(path)) is not None


def unknown_names() -> Iterator[Finding]:
    """A name in a comment exists: a file in the tree, any other word in its code (of one letter: in that file)."""
    everywhere = {path: without_comments(path) for path in rust_and_tests() + c() + python()}
    others = sources("**/*.toml", "docs/*.md", "Makefile", ".ci/*[!e]")
    bodies = [body for path, body in everywhere.items() if not path.endswith("tidy_exceptions.py")]
    known = set(dir(builtins)) | {
        word for body in [*bodies, *map(text, others)] for word in re.findall(r"\w+", body)
    }
    paths = "/".join(["", *sources("[!.]*/**/*", "*.*", ".ci/*"), ""])
    seen = set()
    for path in everywhere:
        for first, comment in comments(path):
            for number, line in enumerate(comment.splitlines(), first):
                if re.search(r"\bGo\b", line):
                    continue  # names of Go's
                files = [
                    name for name in _FILES.findall(line) if f"/{name.strip('/')}/" not in paths
                ]
                words = [
                    word
                    for name in _NAMES.findall(_FILES.sub("", line))
                    for word in re.findall(r"\w+", name)
                    if word not in known
                    or (name == word and len(word) == 1 and not _mentions(path, word))
                ]
                for name in files + words:
                    foreign = [pattern for pattern in FOREIGN if fnmatchcase(name, pattern)]
                    seen.update(foreign)
                    if not foreign:
                        yield Finding(path, name, number)
    for name in FOREIGN.keys() - seen:
        yield Finding("tests/tidy_exceptions.py", name, 1)


def formulas_for_safety() -> Iterator[Finding]:
    """A safety text of golib-py says why its call is sound; "the caller's duty" and "as above" do not."""
    formula = re.compile(
        r"SAFETY:[^\n]*\b(caller's (?:duty|promise)|the caller's\.|as (?:above|below)|see above|as the trait says)\b"
    )
    for path in sources("rust/golib-py/src/**/*.rs"):
        for number, line in enumerate(text(path).splitlines(), 1):
            if found := formula.search(line):
                yield Finding(path, found[1], number)


RULES: list[Callable[[], Iterator[Finding]]] = [
    long_files,
    long_functions,
    missing_headers,
    unpaired_orderings,
    status_outside_proc,
    libc_outside_sys,
    assembly_outside_arch,
    versions_outside_cpython,
    python_in_the_crate,
    upward_imports,
    unknown_names,
    formulas_for_safety,
]


# ---- the verdict ----------------------------------------------------------------------------------------------------


def verdict(rule: Callable[[], Iterator[Finding]]) -> list[str]:
    """The rule's errors: findings without an exception, and exceptions without their findings."""
    name = rule.__name__
    found: dict[tuple[str, str], list[int]] = {}
    for finding in rule():
        found.setdefault((finding.path, finding.key), []).append(finding.line)
    allowed = {
        (path, key): count for (of, path, key), (count, _) in EXCEPTIONS.items() if of == name
    }
    wrong = []
    for (path, key), lines in sorted(found.items()):
        if len(lines) != allowed.get((path, key), 0):
            wrong.append(
                f"{path}:{lines[0]}: {key or name} (found {len(lines)}, excepted {allowed.get((path, key), 0)})"
            )
    stale = sorted(allowed.keys() - found.keys())
    return wrong + [
        f"{path}: {key or name}: the exception is no longer needed" for path, key in stale
    ]


def pytest_generate_tests(metafunc) -> None:
    if "rule" in metafunc.fixturenames:
        metafunc.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


def test_the_sources_keep_the_rule(rule: Callable[[], Iterator[Finding]]) -> None:
    wrong = verdict(rule)
    assert not wrong, f"{rule.__doc__}\n" + "\n".join(wrong)


def test_an_exception_that_is_no_longer_needed_fails(monkeypatch) -> None:
    gone = ("python_in_the_crate", "rust/go-lib/src/lib.rs", "nothing")
    monkeypatch.setitem(EXCEPTIONS, gone, (1, "it was mended"))
    assert verdict(python_in_the_crate) == [
        "rust/go-lib/src/lib.rs: nothing: the exception is no longer needed"
    ]


def import_graph(crate: str) -> dict[str, set[str]]:
    """The modules from which each module takes names: those that define them, not those that pass them on."""
    modules = {_module_of(path): path for path in sources(f"rust/{crate}/src/**/*.rs")}
    imports = {module: list(_imports(path)) for module, path in modules.items()}
    passed_on = {
        f"{module}::{i.local}": i.module
        for module, found in imports.items()
        for i in found
        if i.is_shown
    }

    def defining(name: str) -> str:
        rest = ""
        while name not in modules:
            if name in passed_on:
                return defining(passed_on[name] + rest)
            name, _, last = name.rpartition("::")
            rest = f"::{last}{rest}"
            if not name:
                return ""
        return name

    graph = {}
    for module, path in modules.items():
        body = without_tests(code(path))
        names = {i.module for i in imports[module] if not i.is_shown}
        for i in imports[module]:
            # What a file reaches by way of a folder that it has imported.
            if i.local and i.module in modules:
                below = re.findall(rf"(?<![\w:]){i.local}::(\w+)", body)
                names |= {f"{i.module}::{name}" for name in below}
        graph[module] = {defining(name) for name in names} - {module, ""}
    return graph


def largest_circle(crate: str) -> list[str]:
    """The modules of the largest group in which each imports every other, directly or through others."""
    reached = {module: set(direct) for module, direct in import_graph(crate).items()}
    for middle in reached:
        for module in reached:
            if middle in reached[module]:
                reached[module] |= reached[middle]
    circles = [
        sorted(m for m in reached if m in reached[module] and module in reached[m])
        for module in reached
    ]
    return max(circles, key=len)


def unsafe_share(crate: str) -> tuple[int, int]:
    """(lines inside unsafe blocks and functions, lines that hold code)."""
    inside = total = 0
    for path in sources(f"rust/{crate}/src/**/*.rs"):
        body = without_tests(code(path))
        marked = bytearray(len(body))
        for found in re.finditer(r"\bunsafe\b(?: extern \S+)?(?: fn \w+[^;{]*)?\s*\{", body):
            last = closing_brace(body, found.end() - 1)
            marked[found.start() : last] = b"x" * (last - found.start())
        at = 0
        for line in body.splitlines(keepends=True):
            if line.strip():
                total += 1
                inside += any(marked[at : at + len(line)])
            at += len(line)
    return inside, total


def exclusive_places() -> tuple[int, list[str]]:
    """What free-threaded builds must look at: the calls of Gil::exclusive, and those of Gil::unobserved with their reasons."""
    places, orders = 0, []
    for path in sources("rust/golib-py/src/**/*.rs"):
        places += text(path).count(".exclusive()")
        orders += [f"{path}: {why}" for why in re.findall(r'\.unobserved\("([^"]*)"\)', text(path))]
    return places, orders


def test_circles_stay_small_and_most_code_of_golib_py_is_safe() -> None:
    assert len(largest_circle("go-lib")) <= 6
    assert len(largest_circle("golib-py")) <= 6
    inside, total = unsafe_share("golib-py")
    assert inside < 0.17 * total


def report() -> None:
    for crate in ("go-lib", "golib-py"):
        circle, (inside, total) = largest_circle(crate), unsafe_share(crate)
        print(
            f"{crate}: largest import circle {len(circle)} modules; {inside} of {total} lines inside unsafe"
        )
        print("   ", " ".join(circle))
    places, orders = exclusive_places()
    print(
        f"golib-py: {places} places count on the GIL for a field, {len(orders)} for an order of steps:"
    )
    for order in orders:
        print("   ", order)
    for rule in RULES:
        findings = list(rule())
        print(f"{rule.__name__}: {len(findings)} found: {rule.__doc__}")
        for (path, key), count in sorted(Counter((f.path, f.key) for f in findings).items()):
            reason = EXCEPTIONS.get((rule.__name__, path, key), (0, "not excepted"))[1]
            print(f"    {path} {key} x{count}: {reason}")


if __name__ == "__main__":
    if "--report" in sys.argv:
        report()
    broken = [line for rule in RULES for line in verdict(rule)]
    print("\n".join(broken) or "tidy")
    sys.exit(bool(broken))
