"""Every program of examples/python, run as a user would, with small input and its output checked."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import script_environment

EXAMPLES = Path(__file__).parent.parent / "examples" / "python"
#: A regular file whose content is another at each read.
ALWAYS_DIFFERENT = Path("/proc/sys/kernel/random/uuid")


def run_example(name: str, *args: str, rc: int = 0) -> str:
    """Runs an example, asserts how it ended and that stderr is empty, and returns its output."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=script_environment(),
    )
    assert (done.returncode, done.stderr) == (rc, ""), done
    return done.stdout


def test_every_example_has_a_test() -> None:
    tested = {"compare", "hello", "index_tree", "pipeline", "prime_sieve", "select_fanin"}
    tested |= {"worker_pool", "echo_server", "chat_server", "http_server", "proxy", "crawler"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_hello_greets_twice() -> None:
    assert run_example("hello.py") == "['hello, goroutine', 'hello, world']\n"


def test_compare_measures_every_peer_at_every_work(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    lines = run_example("compare.py", "--quick", "--json", str(figures)).splitlines()
    assert lines[0].split() == ["one", "loop", "threads", "asyncio", "golib"]
    rows = json.loads(figures.read_text())
    assert len(lines) == 1 + len(rows) == 7
    for title, of_peers in rows.items():
        assert {"threads", "asyncio", "golib"} <= set(of_peers), title
        assert all(isinstance(figure, float) and figure > 0 for figure in of_peers.values()), title
    # asyncio's figures show what blocks: each call waits for the one before.
    calls, gap = (rows[title] for title in list(rows)[:2])
    assert calls["asyncio"] > 0.45
    assert gap["asyncio"] > 0.04


def test_pipeline_sums_squares() -> None:
    assert run_example("pipeline.py") == f"{sum(n * n + 1 for n in range(1000))}\n"


def test_prime_sieve_finds_the_primes_below_its_limit() -> None:
    assert run_example("prime_sieve.py", "50") == "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47\n"


def test_select_fanin_receives_every_message_in_each_producers_order() -> None:
    lines = run_example("select_fanin.py").splitlines()
    assert [line for line in lines if line.startswith("fast")] == [f"fast {i}" for i in range(6)]
    assert [line for line in lines if line.startswith("slow")] == [f"slow {i}" for i in range(2)]
    assert lines[-1] == "8 messages"


def test_worker_pool_answers_every_job_once() -> None:
    lines = run_example("worker_pool.py").splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(20))
    assert lines[0].split()[1] == "e3b0c44298fc1c14"  # the SHA-256 of nothing


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few text files, one of them in a directory, and a cache that does not count."""
    (tmp_path / "a.py").write_text("import os\nprint(os.name, os.sep)\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("print größe 12 _x1 os\n")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"\0")
    return tmp_path


def test_index_tree_counts_identifiers(tree: Path) -> None:
    lines = run_example("index_tree.py", str(tree), "--workers", "3", "--check").splitlines()
    assert lines[0].startswith("2 files, 0.0 MB, 11 identifiers, 7 different")
    assert [line.split() for line in lines[1:8]] == [
        ["4", "os"],
        ["2", "print"],
        ["1", "_x1"],
        ["1", "größe"],
        ["1", "import"],
        ["1", "name"],
        ["1", "sep"],
    ]
    assert lines[-1] == "check: the same as a sequential pass"


def test_index_tree_prints_the_twenty_commonest_identifiers(tmp_path: Path) -> None:
    words = [f"word{i:02}" for i in range(25)]
    (tmp_path / "a.txt").write_text(" ".join(w for i, w in enumerate(words) for _ in range(i + 1)))
    lines = run_example("index_tree.py", str(tmp_path)).splitlines()
    assert lines[0].startswith("1 files, 0.0 MB, 325 identifiers, 25 different")
    ranked = [[str(i + 1), words[i]] for i in range(24, 4, -1)]
    assert [line.split() for line in lines[1:]] == ranked


#: index_tree.py with files that take long and ticks that come often.
SLOW_INDEX_TREE = """
    import sys
    sys.path.insert(0, sys.argv.pop(1))
    import golib, index_tree
    scan = index_tree.scan
    index_tree.TICK_SECONDS = 0.005
    index_tree.scan = lambda path: golib.sleep(0.05) or scan(path)
    sys.exit(index_tree.main())
    """


def on_terminal(program: str, *args: str) -> tuple[str, str]:
    """Runs a program whose stderr is a terminal; returns what that showed, and the short output."""
    ours, its = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=its,
            env=script_environment(),
        )
    finally:
        os.close(its)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: the program ended
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    output, _ = process.communicate()
    assert process.returncode == 0, shown
    return shown.decode(), output.decode()


def test_index_tree_shows_its_progress_on_a_terminal_and_wipes_it_out(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text("word " * 40_000)
    arguments = (str(EXAMPLES), str(tmp_path), "--workers", "1")
    shown, output = on_terminal(SLOW_INDEX_TREE, *arguments)
    assert output.startswith("5 files, 1.0 MB, 200,000 identifiers, 1 different\n")
    nothing, *lines, last = shown.split("\r")
    assert (nothing, last) == ("", "\x1b[K"), shown
    counts = []
    for line in lines:
        progress = re.fullmatch(r"(\d) files, (\d\.\d) MB \.\.\.\x1b\[K", line)
        assert progress, shown
        assert progress[2] == f"{0.2 * int(progress[1]):.1f}", shown
        counts.append(int(progress[1]))
    assert counts == sorted(counts), shown
    assert len(set(counts)) >= 2, shown


def test_index_tree_lists_what_it_cannot_read_and_goes_on(tree: Path) -> None:
    (tree / "gone.py").symlink_to(tree / "nowhere")
    os.mkfifo(tree / "fifo")
    (tree / "data.bin").write_bytes(b"x\0y")
    (tree / "latin.txt").write_bytes(b"gr\xf6\xdfe")
    output = run_example("index_tree.py", str(tree), "--check")
    assert output.startswith("4 files, ")
    assert f"2 binary, not counted:\n  {tree}/data.bin\n  {tree}/latin.txt\n" in output
    assert f"{tree}/fifo: not a regular file\n" in output
    assert f"{tree}/gone.py: No such file or directory\n" in output


def test_index_tree_lists_ten_of_many_binary_files_unless_told_to_list_all(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i:02}.bin").write_bytes(b"\0")
    assert "... and 2 more" in run_example("index_tree.py", str(tmp_path))
    assert "11.bin" in run_example("index_tree.py", str(tmp_path), "--all")


def test_index_tree_survives_file_names_that_are_not_text(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin"))).write_bytes(b"\0")
    assert "\\udcff.bin" in run_example("index_tree.py", str(tmp_path))


def test_index_tree_check_ends_with_1_when_the_tree_changed(tree: Path) -> None:
    (tree / "changing").symlink_to(ALWAYS_DIFFERENT)
    output = run_example("index_tree.py", str(tree), "--check", rc=1)
    assert f"content of {tree}/changing" in output


def test_index_tree_of_an_empty_directory_is_empty(tmp_path: Path) -> None:
    output = run_example("index_tree.py", str(tmp_path), "--check")
    assert output.startswith("0 files, 0.0 MB, 0 identifiers, 0 different\n")


@pytest.mark.parametrize("args", [["/nonexistent"], ["--workers", "0"]])
def test_index_tree_refuses_wrong_arguments(args: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "index_tree.py"), *args], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "usage:" in done.stderr


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("echo_server", "hello from 0\nhello from 1\nhello from 2\n"),
        (
            "chat_server",
            "welcome, anna\nwelcome, ben\nben: is here\nben: good morning\nben: has left\n",
        ),
        ("http_server", "200 hello\n200 SHOUT\n404 no such page\n"),
        ("proxy", "stressed\ndesserts\n"),
    ],
)
def test_a_server_talks_with_its_clients(name: str, output: str) -> None:
    assert run_example(f"{name}.py") == output


def test_the_crawler_visits_every_page_and_keeps_its_limits() -> None:
    pages, rate = run_example("crawler.py").splitlines()
    assert re.fullmatch(r"40 pages, at most [1-8] at once", pages)
    assert rate == "no faster than allowed"
