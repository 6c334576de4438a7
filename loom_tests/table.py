#!/usr/bin/env python3
"""The table of README.md: every model, what it proves, its bound, and how many executions that took.

usage: table.py           says what is missing from the table or no longer true, and ends with 1
       table.py LOG       writes the table, with the executions that a run of `make loom` left in LOG
                          (GOLIB_LOOM_LOG=/path/to/LOG make loom)
"""

import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
README = HERE / "README.md"
MODEL = re.compile(r"((?:^///.*\n)+)#\[test\]\nfn (\w+)\(", re.MULTILINE)


def models() -> dict[str, tuple[str, str]]:
    """What each model proves, and its bound, from its doc comment."""
    found = {}
    for path in sorted((HERE / "src/models").glob("*.rs")):
        source = path.read_text()
        documented = {name: comment for comment, name in MODEL.findall(source)}
        for name in re.findall(r"#\[test\]\nfn (\w+)\(", source):
            text = re.sub(r"^/// ?", "", documented.get(name, ""), flags=re.MULTILINE)
            parts = dict(re.findall(r"(Proves|Bound|Fails without): (.*?)(?=\n\n|\Z)", text, re.DOTALL))
            if "Proves" not in parts or "Bound" not in parts:
                sys.exit(f"{path.name}: {name} does not say what it proves, or its bound")
            proves, bound = (" ".join(parts[key].split()).rstrip(".") for key in ("Proves", "Bound"))
            found[f"{path.stem}::{name}"] = (proves, bound)
    return found


def row(model: str, proves: str, bound: str, executions: str) -> str:
    return f"| `{model}` | {proves} | {bound} | {executions} |"


def write(log: pathlib.Path) -> None:
    # The last of each: a log is appended to, so it may hold more than one run.
    counts = {tuple(line.split("\t")[:2]): int(line.split("\t")[2]) for line in log.read_text().splitlines()}
    executions: dict[str, int] = {}
    for (test, _), count in counts.items():
        model = test.removeprefix("models::")
        executions[model] = executions.get(model, 0) + count
    rows = [row(model, *texts, f"{executions[model]:,}".replace(",", " ")) for model, texts in models().items()]
    before_the_table, rule, _ = README.read_text().partition("| --- | --- | --- | ---: |\n")
    README.write_text(before_the_table + rule + "\n".join(rows) + "\n")


def check() -> None:
    listed = dict(re.findall(r"^\| (`[\w:]+`) \| (.*) \| [\d ]+ \|$", README.read_text(), re.MULTILINE))
    expected = {f"`{model}`": f"{proves} | {bound}" for model, (proves, bound) in models().items()}
    wrong = [f"missing: {m}" for m in expected.keys() - listed.keys()]
    wrong += [f"no model: {m}" for m in listed.keys() - expected.keys()]
    wrong += [f"differs: {m}" for m in expected.keys() & listed.keys() if expected[m] != listed[m]]
    if wrong:
        sys.exit("\n".join([*sorted(wrong), "run GOLIB_LOOM_LOG=LOG make loom, then loom_tests/table.py LOG"]))


if __name__ == "__main__":
    write(pathlib.Path(sys.argv[1])) if len(sys.argv) > 1 else check()
