"""Markdown tables of net.py's measurements: golib beside its peers and the targets, then every figure."""

from __future__ import annotations

from typing import NamedTuple

#: row -> peer -> figure -> value; the rows `uncontended` have an operation in place of a peer.
Cells = dict[str, dict[str, dict[str, float]]]


class Beside(NamedTuple):
    """A figure of ours is at most so many times a peer's, or at least."""

    row: str
    figure: str
    ours: str
    peer: str
    most: float | None = None
    least: float | None = None


class AtMost(NamedTuple):
    """A figure of ours has a limit of its own."""

    row: str
    figure: str
    ours: str
    most: float


#: `echo 64` and `echo 1000` have the same; a row's number may be smaller in a smoke run.
ECHO: list[Beside | AtMost] = [
    target
    for row in ("echo 64", "echo 1000")
    for target in (
        Beside(row, "cpu_us", "golib.net", "uvloop", most=0.85),
        Beside(row, "cpu_us", "patched", "uvloop", most=0.95),
        Beside(row, "requests_s", "golib.net", "uvloop", least=1),
        Beside(row, "requests_s", "patched", "uvloop", least=1),
        Beside(row, "p99_us", "golib.net", "uvloop", most=1),
        Beside(row, "p99_us", "patched", "uvloop", most=1),
    )
]
TARGETS: list[Beside | AtMost] = [
    *ECHO,
    Beside("tls", "cpu_us", "patched", "uvloop", most=1),
    AtMost("tls", "threads", "patched", 30),
    AtMost("idle", "kib", "golib.net", 10),
    AtMost("idle", "kib", "patched", 10.5),
    AtMost("requests", "wall_s", "patched", 1.5),
    AtMost("requests", "threads", "patched", 20),
    Beside("requests", "cpu_s", "patched", "gevent", most=1),
    Beside("redis", "wall_s", "patched", "gevent", most=1),
    AtMost("redis", "threads", "patched", 10),
    Beside("psycopg", "wall_s", "patched", "gevent", most=1),
    AtMost("psycopg", "threads", "patched", 10),
]
#: How many times a thread's an operation in a goroutine may take, and how many ns more it may on a thread.
MOST_UNCONTENDED = 1.2
MOST_ON_A_THREAD_NS = 27
MOST_SWITCH = 0.5
#: The operations that the first of these bounds; what the others take is only told.
BOUNDED = ["with Lock", "Event.wait", "Queue.put, get"]
#: How many patched functions an operation calls.
PATCHED_CALLS = {"Queue.put, get": 8}

UNITS = {
    "cpu_us": "CPU, µs",
    "requests_s": "requests/s",
    "p99_us": "p99, µs",
    "wall_us": "wall, µs",
    "wall_s": "wall, s",
    "cpu_s": "CPU, s",
    "kib": "KiB each",
    "threads": "OS threads",
}


def show(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def verdict(met: bool) -> str:
    return "met" if met else "missed"


def found(cells: Cells, row: str) -> tuple[str, dict[str, dict[str, float]]] | None:
    """The row of that name, or the one that begins with it and a number."""
    for name, peers in cells.items():
        if name == row or name.rpartition(" ")[0] == row:
            return name, peers
    return None


def target_row(cells: Cells, target: Beside | AtMost) -> str | None:
    row = found(cells, target.row)
    if row is None or target.ours not in row[1]:
        return None
    name, peers = row
    ours = peers[target.ours][target.figure]
    head = f"| {name}, {UNITS[target.figure]} | {target.ours} {show(ours)} |"
    if isinstance(target, AtMost):
        return f"{head} | | ≤ {target.most:g} | {verdict(ours <= target.most)} |"
    if target.peer not in peers:
        return None
    theirs = peers[target.peer][target.figure]
    ratio = ours / theirs
    if target.most is not None:
        bound, met = f"≤ {target.most:g} ×", ratio <= target.most
    else:
        bound, met = f"≥ {target.least:g} ×", ratio >= (target.least or 0)
    cells_after = f"{target.peer} {show(theirs)} | {ratio:.2f} × | {bound} | {verdict(met)} |"
    return f"{head} {cells_after}"


def uncontended_rows(
    name: str, thread: float, patched_thread: float, goroutine: float
) -> list[str]:
    """An operation that need not wait, in a goroutine and on a thread, beside a thread without the patch."""
    ratio = goroutine / thread
    bound = f"≤ {MOST_UNCONTENDED} × | {verdict(ratio <= MOST_UNCONTENDED)}"
    more = (patched_thread - thread) / PATCHED_CALLS.get(name, 2)
    beside = f"thread {show(thread)}"
    bound = bound if name in BOUNDED else "|"
    per_call = f"{more:+.0f} ns a call"
    most = f"≤ {MOST_ON_A_THREAD_NS} ns | {verdict(more <= MOST_ON_A_THREAD_NS)}"
    columns = [
        [f"{name}, ns", f"patched {show(goroutine)}", beside, f"{ratio:.2f} ×", bound],
        [f"{name} on a thread, ns", f"patched {show(patched_thread)}", beside, per_call, most],
    ]
    return ["| " + " | ".join(cells) + " |" for cells in columns]


def targets_table(cells: Cells) -> list[str]:
    rows = [target_row(cells, target) for target in TARGETS]
    for name, sides in cells.get("uncontended", {}).items():
        rows += uncontended_rows(name, **{side.replace(" ", "_"): ns for side, ns in sides.items()})
    switches = cells.get("switches", {})
    for name, theirs in switches.get("gevent", {}).items():
        ours = switches["patched"][name]
        rows.append(
            f"| there and back by {name}, ns | patched {show(ours)} | gevent {show(theirs)} "
            f"| {ours / theirs:.2f} × | ≤ {MOST_SWITCH} × | {verdict(ours / theirs <= MOST_SWITCH)} |"
        )
    return [
        "| workload | golib | beside | ratio | target | |",
        "|---" * 6 + "|",
        *filter(None, rows),
    ]


def figures_table(cells: Cells) -> list[str]:
    lines = ["| workload | peer | figures |", "|---|---|---|"]
    for row, peers in cells.items():
        if row in ("uncontended", "switches"):
            continue
        for peer, figures in peers.items():
            shown = ", ".join(f"{UNITS[key]} {show(value)}" for key, value in figures.items())
            lines.append(f"| {row} | {peer} | {shown} |")
    return lines


def tables(cells: Cells) -> str:
    return "\n".join([*targets_table(cells), "", *figures_table(cells)])
