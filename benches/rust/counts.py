"""Counts instructions: what single operations of the crate take, by callgrind, beside the last recorded counts.

    counts.py [OPERATION ...] [--record]

Each operation runs twice, a different number of times; the difference is the operation's alone. Counts repeat to within
0.5 % on a busy machine too. `--record` appends them all to benches/history/rust-counts.jsonl; a commit with a `+`
is one with changes on top.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = ROOT / "target" / "benches"
PROGRAM = BUILT / "release" / "counts"
HISTORY = HERE.parent / "history" / "rust-counts.jsonl"
#: The first number warms up what is kept between operations: stacks, sudogs, caches.
WARM, TIMES = 10_000, 100_000


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def build() -> None:
    manifest = str(HERE / "Cargo.toml")
    command = ["cargo", "build", "--quiet", "--release", "--package", "counts"]
    environment = os.environ | {"CARGO_TARGET_DIR": str(BUILT)}
    subprocess.run([*command, "--manifest-path", manifest], check=True, env=environment)


def instructions(operation: str, n: int) -> int:
    """What the whole process takes, all threads together."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    command = [*valgrind, str(PROGRAM), operation, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not collected:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stderr}")
    return int(collected[1])


def count(operation: str) -> float:
    more, fewer = instructions(operation, WARM + TIMES), instructions(operation, WARM)
    return round((more - fewer) / TIMES, 1)


def last_recorded() -> dict[str, Any]:
    lines = HISTORY.read_text().splitlines() if HISTORY.exists() else []
    return json.loads(lines[-1]) if lines else {"commit": "none", "counts": {}}


def record(counts: dict[str, float]) -> None:
    changed = output("git", "status", "--porcelain", "--", "rust", "benches/rust")
    line = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": output("git", "rev-parse", "--short", "HEAD").strip() + "+" * bool(changed),
        "rustc": output("rustc", "--version").split()[1],
        "counts": counts,
    }
    HISTORY.parent.mkdir(exist_ok=True)
    with HISTORY.open("a") as history:
        history.write(json.dumps(line) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("only", nargs="*", metavar="OPERATION")
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    if arguments.record and arguments.only:
        parser.error("what is recorded is complete")
    if not shutil.which("valgrind"):
        sys.exit("counts.py: valgrind is not installed")
    build()
    operations = output(str(PROGRAM)).split()
    if unknown := set(arguments.only) - set(operations):
        parser.error(f"{' '.join(sorted(unknown))}: not among {' '.join(operations)}")
    last, counts = last_recorded(), {}
    print(f"| operation | instructions | at {last['commit']} | change |\n|---|---|---|---|")
    for operation in arguments.only or operations:
        now = counts[operation] = count(operation)
        old = last["counts"].get(operation)
        beside = f"{old} | {100 * (now / old - 1):+.1f} %" if old else "— | —"
        print(f"| {operation} | {now} | {beside} |", flush=True)
    if arguments.record:
        record(counts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
