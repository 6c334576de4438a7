"""Builds and measures the crate beside Go and tokio in one run, and prints the table.

    run.py [--only PEER_OR_WORKLOAD ...] [--repeat 3]

Each cell is the best (median) of the runs, each in a process of its own, the peers side by side in time.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent.parent / "target" / "benches"

PEERS = {
    "golib": BUILT / "release" / "peer-golib",
    "go": BUILT / "peer-go",
    "tokio": BUILT / "release" / "peer-tokio",
}
#: workload -> the processors that it is measured with
WORKLOADS = {
    "yield": (1, 2),
    "pingpong": (1, 2),
    "select_fanin": (1, 2),
    "sieve": (1, 2),
    "prodcons": (1, 2),
    "mpmc": (1, 2),
    "spawn_batch": (1, 2),
    "spawn_join": (1, 2),
    "skynet": (1, 2),
    "mutex": (1, 2),
    "parked": (1,),
    "parked_1m": (1,),
    "parked_small": (1,),
    "timers": (1, 2),
    "blocking": (1,),
    "cpu_hog": (1,),
    "parallel": (1, 2),
    "tcp_echo": (1, 2),
}
#: Connections of tcp_echo; each number is a row.
CONNECTIONS = (64, 1000)
ECHO_SECONDS = 3
LOAD = BUILT / "release" / "load"
#: The figures of a workload that is not measured in ns an operation.
FIGURES = {
    "parked": ["ns_op", "rss_task", "pte_task"],
    "parked_1m": ["ns_op", "rss_task", "pte_task"],
    "parked_small": ["ns_op", "rss_task", "pte_task"],
    "timers": ["over_ms", "p50_us", "p99_us"],
    "blocking": ["max_gap_us"],
    "cpu_hog": ["max_gap_us"],
    "tcp_echo": ["ns_request", "cpu_ns", "p50_us", "p99_us"],
}
OPTIONS = {("tokio", "select_fanin"): ["opt=flume"]}  # with kanal it does not end
#: How many times faster than Go a row is to be, by its figure.
FASTER_THAN_GO = {
    "ns_op": {
        "yield": 2.5,
        "pingpong": 2,
        "select_fanin": 2,
        "prodcons": 2,
        "mpmc": 2,
        "sieve": 2,
        "skynet": 2,
        "spawn_batch": 1.2,
        "spawn_join": 1.2,
        "mutex": 1,
    },
    "p99_us": {"timers": 1, "tcp_echo": 1},
    "ns_request": {"tcp_echo": 1.1},
}
#: Rows that are to be no slower than tokio's with kanal or flume.
NO_SLOWER_THAN_TOKIO = {"pingpong", "select_fanin", "prodcons", "mpmc"}
#: Rows in which runs differ much: the median counts.
BY_MEDIAN = {"tcp_echo"}


def build() -> None:
    environment = os.environ | {"CARGO_TARGET_DIR": str(BUILT)}
    manifest = HERE / "Cargo.toml"
    command = ["cargo", "build", "--quiet", "--release", "--manifest-path", str(manifest)]
    subprocess.run(command, check=True, env=environment)
    caches = {"GOCACHE": BUILT / "go-cache", "GOPATH": BUILT / "go-path", "GOTOOLCHAIN": "local"}
    environment |= {name: str(value) for name, value in caches.items()}
    command = ["go", "build", "-o", str(PEERS["go"]), "."]
    subprocess.run(command, check=True, env=environment, cwd=HERE / "go")


def run(peer: str, workload: str, procs: int) -> dict[str, str]:
    """One run's figures; "error" if it failed or computed something wrong."""
    command = [str(PEERS[peer]), workload, f"procs={procs}", *OPTIONS.get((peer, workload), [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return {"error": "no end after 60 s"}
    figures = dict(re.findall(r"(\w+)=(\S+)", done.stdout))
    if done.returncode or figures.get("check") != "ok":
        return {"error": f"status {done.returncode}"}
    return figures


def run_echo(peer: str, procs: int, connections: int) -> dict[str, str]:
    """As `run`, for a server under load: with one processor each of the two has a CPU of its own."""
    cpus = sorted(os.sched_getaffinity(0))
    pins = (cpus[:procs], cpus[-1:]) if procs < len(cpus) else (cpus, cpus)

    def pinned(which: int) -> list[str]:
        return ["taskset", "-c", ",".join(map(str, pins[which]))]

    command = [*pinned(0), str(PEERS[peer]), "tcp_echo", f"procs={procs}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        port = server.stdout.readline().strip().removeprefix("port=")
        command = [*pinned(1), str(LOAD), port, str(connections), str(ECHO_SECONDS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        cpu_ns = cpu_time_ns(server.pid)
        server.kill()
    figures = dict(re.findall(r"(\w+)=(\S+)", done.stdout))
    if figures.get("check") != "ok":
        return {"error": f"status {done.returncode}"}
    return figures | {"cpu_ns": str(cpu_ns / int(figures["requests"]))}


def cpu_time_ns(pid: int) -> float:
    """What a process has computed, the kernel's part included: less noisy than the time that it took."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e9 / os.sysconf("SC_CLK_TCK")


def show(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def row(workload: str, procs: int, figure: str, runs: dict[str, list[dict[str, str]]]) -> str:
    cells, best = [], {}
    of = statistics.median if workload.split()[0] in BY_MEDIAN else min
    for peer in PEERS:
        values = [float(r[figure]) for r in runs[peer] if figure in r]
        errors = [r["error"] for r in runs[peer] if "error" in r]
        if values:
            best[peer] = of(values)
        text = f"{show(min(values))} ({show(statistics.median(values))})" if values else "—"
        cells.append(f"**{errors[0]}**" if errors else text)
    ratio = f"{best['go'] / best['golib']:.2f} ×" if {"go", "golib"} <= best.keys() else ""
    verdict = ""
    target = FASTER_THAN_GO.get(figure, {}).get(workload.split()[0])
    if ratio and target:
        met = best["golib"] * target <= best["go"]
        if workload in NO_SLOWER_THAN_TOKIO:
            met = met and best["golib"] <= best.get("tokio", math.inf)
        verdict = f"≥ {target} × {'met' if met else 'missed'}"
    return f"| {workload} | {procs} | {figure} | " + " | ".join([*cells, ratio, verdict]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="PEER_OR_WORKLOAD")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    peers = [p for p in PEERS if p in arguments.only] or list(PEERS)
    workloads = [w for w in WORKLOADS if w in arguments.only] or list(WORKLOADS)
    build()
    lines = []
    for workload in workloads:
        for procs in WORKLOADS[workload]:
            for connections in CONNECTIONS if workload == "tcp_echo" else [0]:
                runs: dict[str, list[dict[str, str]]] = defaultdict(list)
                for _ in range(arguments.repeat):
                    for peer in peers:
                        runs[peer].append(
                            run_echo(peer, procs, connections)
                            if connections
                            else run(peer, workload, procs)
                        )
                name = f"{workload} {connections}" if connections else workload
                for figure in FIGURES.get(workload, ["ns_op"]):
                    lines.append(row(name, procs, figure, runs))
                    print(lines[-1], flush=True)
    columns = ["workload", "procs", "figure", *PEERS, "Go / golib", "target"]
    print("\n| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
