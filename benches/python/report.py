"""Markdown tables of run.py's measurements: every figure by peer, and golib's ratios beside the targets."""

from __future__ import annotations

import statistics
from typing import Any

from common import SIZES
from workloads import ALL, FIGURES, PARALLEL_LEAST, PEERS, TARGETS, TIMED, Faster, Within, base

#: The results of one interpreter: (peer, workload) -> {"n": …, "runs": [{figure: value}]} or {"error": …}.
Results = dict[tuple[str, str], dict[str, Any]]


def by_interpreter(results: dict[str, Any]) -> dict[str, Results]:
    """run.py's file, whose keys are interpreter/peer/workload, taken apart."""
    labels: dict[str, Results] = {}
    for key, cell in results.items():
        label, peer, workload = key.split("/")
        labels.setdefault(label, {})[peer, workload] = cell
    return labels


def show(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}" if abs(x) < 10 else f"{x:.1f}"


def best(cell: dict[str, Any] | None, *figures: str) -> float | None:
    """The sum of the figures in the best run; None if it was not measured."""
    if not cell or "error" in cell or any(f not in cell["runs"][0] for f in figures):
        return None
    return min(sum(run[f] for f in figures) for run in cell["runs"])


def cell_text(peer: str, workload: str, cell: dict[str, Any] | None, figure: str) -> str:
    """Best (median), with n where it is less than golib's."""
    if cell is None:
        return "—"
    if "error" in cell:
        return "**" + cell["error"].replace("|", "/") + "**"
    value = best(cell, figure)
    if value is None:
        return "—"
    median = statistics.median(run[figure] for run in cell["runs"])
    less = cell["n"] < SIZES[base(workload)] and base(workload) not in TIMED
    return f"{show(value)} ({show(median)})" + (f" n={cell['n']}" if less else "")


def figures_table(mine: Results) -> list[str]:
    """Every figure, workload × peer."""
    peers = sorted({peer for peer, _ in mine}, key=PEERS.index)
    lines = ["| workload | unit | " + " | ".join(peers) + " |", "|---" * (2 + len(peers)) + "|"]
    for workload in ALL:
        cells = {peer: mine.get((peer, workload)) for peer in peers}
        measured = [c for c in cells.values() if c]
        figures = dict.fromkeys(f for c in measured for run in c.get("runs", []) for f in run)
        for figure in figures or ([""] if measured else []):
            row = [cell_text(peer, workload, cells[peer], figure) for peer in peers]
            lines.append(
                f"| {workload} | {FIGURES.get(figure, figure)} | " + " | ".join(row) + " |"
            )
    return lines


def ratio_row(mine: Results, target: Faster) -> str | None:
    ours = best(mine.get(("golib", target.workload)), target.figure)
    theirs = {p: best(mine.get((p, target.workload)), target.figure) for p in target.peers}
    measured = {peer: value for peer, value in theirs.items() if value is not None}
    if ours is None or not measured:
        return None
    peer = min(measured, key=measured.__getitem__)
    ratio = measured[peer] / ours
    verdict = "met" if ratio >= target.least else "missed"
    name = f"{target.workload}, {FIGURES.get(target.figure, target.figure)}"
    return (
        f"| {name} | {show(ours)} | {peer} {show(measured[peer])} "
        f"| {show(ratio)} × | ≥ {show(target.least)} × | {verdict} |"
    )


def limit_row(mine: Results, target: Within) -> str | None:
    ours = best(mine.get(("golib", target.workload)), *target.figures)
    if ours is None:
        return None
    name = " + ".join(FIGURES[f] for f in target.figures)
    verdict = "met" if ours <= target.most else "missed"
    return f"| {target.workload}, {name} | {show(ours)} |  |  | ≤ {show(target.most)} | {verdict} |"


def parallel_row(mine: Results) -> str | None:
    one, two = (
        best(mine.get(("golib", "parallel_1")), "ms"),
        best(mine.get(("golib", "parallel")), "ms"),
    )
    if one is None or two is None:
        return None
    verdict = "met" if one / two >= PARALLEL_LEAST else "missed"
    return (
        f"| parallel, sha256 on all cores, ms | {show(two)} | golib on one core {show(one)} "
        f"| {show(one / two)} × | ≥ {PARALLEL_LEAST} × | {verdict} |"
    )


def targets_table(mine: Results) -> list[str]:
    """golib's best beside the best peer's; a peer that was not measured leaves its row out."""
    rows = [
        ratio_row(mine, target) if isinstance(target, Faster) else limit_row(mine, target)
        for target in TARGETS
    ]
    rows.append(parallel_row(mine))
    head = ["| workload | golib | beside | ratio | target | |", "|---" * 6 + "|"]
    return head + [row for row in rows if row]


def tables(results: dict[str, Any]) -> str:
    lines = []
    for label, mine in sorted(by_interpreter(results).items()):
        lines += [f"### {label}: ratios", "", *targets_table(mine), ""]
        lines += [f"### {label}: best (median)", "", *figures_table(mine), ""]
    return "\n".join(lines)
