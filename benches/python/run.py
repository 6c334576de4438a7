"""Measures golib beside its Python peers in one run, and prints the tables.

    run.py [--peers a,b] [--workloads x,y] [--repeat 3] [--missing] [--smoke] [--json FILE]
    run.py --table FILE          only the tables of the results in FILE

The peers take turns, each in a process of its own that calls the workload three times; the best call counts. A lock
keeps two runs on one machine apart. Peers that are not installed are left out. Results are merged into FILE,
so that a cell can be measured again alone. `--python LABEL=PATH` (repeated) measures other interpreters; by default the
one that runs this.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import SIZES
from report import best, show, tables
from workloads import ALL, PEERS, TIMED, base

HERE = Path(__file__).resolve().parent
DEFAULT_RESULTS = HERE.parent / "results" / "python.json"
LOCK = os.environ.get("BENCH_LOCK", os.path.join(tempfile.gettempdir(), "golib-bench.lock"))
CELL_SECONDS = 150
#: Calls in one process: the first one warms up. Memory is measured in a fresh process each time.
CALLS = 3
ENOUGH_SECONDS = 25
#: A smoke run shows that the benches work: a hundredth of the size. The sieve checks its last prime.
SMOKE_DIVISOR = 100
FIXED_SIZE = {"sieve", "parallel", "parallel_1"}


# -- in the measured process -------------------------------------------------------------------


def measure_here(peer: str, workload: str, divisor: int) -> None:
    """Runs one cell and prints its figures as JSON; null if the peer lacks the workload."""
    try:
        module = importlib.import_module("peer_" + peer)
    except ModuleNotFoundError as error:
        if error.name != peer:
            raise
        return print("null")
    function = getattr(module, workload, None)
    if function is None:
        return print("null")
    name = base(workload)
    n = getattr(module, "SIZES", {}).get(name, SIZES[name])
    if name not in FIXED_SIZE:
        n //= divisor
    runs: list[dict[str, float]] = []
    began = time.perf_counter()
    for _ in range(1 if name == "parked" or divisor > 1 else CALLS):
        gc.collect()
        t0 = time.perf_counter()
        figures = function(n)
        seconds = time.perf_counter() - t0
        if name in TIMED:
            unit, operations = TIMED[name]
            figures = {unit: 1e6 * seconds / (operations * n) if operations else 1e3 * seconds}
        runs.append(figures)
        if time.perf_counter() - began > ENOUGH_SECONDS:
            break
    print(json.dumps({"n": n, "runs": runs}), flush=True)
    os._exit(0)  # a library's exit is not measured


# -- in the runner -----------------------------------------------------------------------------


def cause_of_death(process: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = process.stderr.strip().splitlines() or ["?"]
    if process.returncode < 0:
        return {"error": signal.Signals(-process.returncode).name}
    return {"error": ([line for line in lines if "Error" in line] or lines)[-1][:120]}


def run_cell(python: str, peer: str, workload: str, divisor: int) -> Any:
    command = [python, str(HERE / "run.py"), "--cell", peer, workload, str(divisor)]
    with open(LOCK, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            process = subprocess.run(
                command, capture_output=True, text=True, timeout=CELL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"no end after {CELL_SECONDS} s"}
    if process.returncode:
        return cause_of_death(process)
    return json.loads(process.stdout.strip().splitlines()[-1])


def measure(
    pythons: dict[str, str], peers: dict[str, list[str]], workload: str, repeat: int, divisor: int
) -> dict[str, Any]:
    """A workload's cells. The peers take turns, so that a slow moment of the machine hits all of them."""
    cells: dict[str, Any] = {}
    for _ in range(repeat):
        for label, python in pythons.items():
            for peer in peers[label]:
                key = f"{label}/{peer}/{workload}"
                so_far = cells.get(key, {"runs": []})
                if so_far is None or "error" in so_far:
                    continue
                cell = run_cell(python, peer, workload, divisor)
                if cell is not None and "runs" in cell:
                    cell["runs"] = so_far["runs"] + cell["runs"]
                cells[key] = cell
    return {key: cell for key, cell in cells.items() if cell is not None}


def installed(python: str, peers: list[str]) -> list[str]:
    """The peers that the interpreter can import."""
    probe = "import importlib.util, sys; print(*(p for p in sys.argv[1:] if importlib.util.find_spec(p)))"
    ours = {"threads": "threading"}
    modules = {ours.get(peer, peer): peer for peer in peers}
    done = subprocess.run(
        [python, "-c", probe, *modules], capture_output=True, text=True, check=True
    )
    return [modules[m] for m in done.stdout.split()]


def machine() -> str:
    """The machine in a line, for the head of a table."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} × {model}, {platform.system()} {platform.release()}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", action="append", metavar="LABEL=PATH")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--workloads", default=",".join(ALL))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, default=DEFAULT_RESULTS)
    parser.add_argument("--missing", action="store_true", help="only cells that FILE lacks")
    parser.add_argument("--smoke", action="store_true", help="small sizes, once; keeps no file")
    parser.add_argument("--table", type=Path, metavar="FILE")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    a = arguments()
    if a.cell:
        peer, workload, divisor = a.cell
        measure_here(peer, workload, int(divisor))
        return 0
    if a.table:
        print(tables(json.loads(a.table.read_text())))
        return 0
    default = f"py{sys.version_info.major}{sys.version_info.minor}={sys.executable}"
    pythons = dict(choice.split("=", 1) for choice in a.python or [default])
    results = json.loads(a.json.read_text()) if a.json.exists() and not a.smoke else {}
    repeat, divisor = (1, SMOKE_DIVISOR) if a.smoke else (a.repeat, 1)
    peers = {label: installed(python, a.peers.split(",")) for label, python in pythons.items()}
    measured = {}
    for workload in a.workloads.split(","):
        wanted = {
            label: [
                peer
                for peer in peers[label]
                if not a.missing
                or "error" in results.get(f"{label}/{peer}/{workload}", {"error": ""})
            ]
            for label in pythons
        }
        cells = measure(pythons, wanted, workload, repeat, divisor)
        results.update(cells)
        measured.update(cells)
        if not a.smoke:
            a.json.parent.mkdir(parents=True, exist_ok=True)
            a.json.write_text(json.dumps(results, indent=0))
        for key, cell in cells.items():
            text = cell.get("error") or ", ".join(
                f"{figure} {show(best(cell, figure))}" for figure in cell["runs"][0]
            )
            print(f"{key.replace('/', ' ')}: {text}", flush=True)
    if not a.smoke:
        print(f"\n{machine()}\n\n{tables(results)}")
    return 1 if any("error" in cell for key, cell in measured.items() if "/golib/" in key) else 0


if __name__ == "__main__":
    sys.exit(main())
