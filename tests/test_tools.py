"""Coverage, debuggers and profilers see goroutines as they see threads; each is run as its users run it."""

import importlib.util
import json
import re
import shutil
import socket
import sys
from pathlib import Path

import pytest

import support

PROGRAM = """\
import golib

def leaf(n):
    total = sum(range(n))
    return total            # 5

def crawl(n):
    for _ in range(3):
        leaf(10)
        golib.sleep(0.001)
    return n                # 11

def never():
    return 1                # 14

def helper(n):
    return leaf(n)          # 17

@golib.main
def main():
    crawlers = [golib.spawn(crawl, (n,), name=f"crawler-{n}") for n in range(10)]
    helper(5)
    print(sum(g.join() for g in crawlers))

main()
"""


def needs(package):
    found = importlib.util.find_spec(package.replace("-", "_")) or shutil.which(
        package, path=str(Path(sys.executable).parent)
    )
    return pytest.mark.skipif(not found, reason=f"this Python has no {package}")


@pytest.fixture
def program(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def run(*arguments):
    """Runs `python ARGUMENTS`, which must succeed, and returns its output."""
    result = support.finish(support.start([sys.executable, *arguments]))
    assert result.rc == 0, result
    return result.out + result.err


# -- coverage ----------------------------------------------------------------------------------


@needs("coverage")
@needs("_sqlite3")
@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage_counts_the_lines_of_goroutines_and_of_main(program, tmp_path, monkeypatch, core):
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in 3.12")
    monkeypatch.setenv("COVERAGE_CORE", core)
    assert run("-m", "coverage", "run", program) == "45\n"
    run("-m", "coverage", "json", "-q", "-o", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["files"]["program.py"]["missing_lines"] == [14]


# -- debuggers ---------------------------------------------------------------------------------


def pdb(program, *commands):
    """The output of pdb for commands typed as by a user."""
    script = f"""
        import io, pdb, sys
        sys.argv = ["pdb", {program!r}]
        sys.stdin = io.StringIO({chr(10).join(commands) + chr(10)!r})
        pdb.main()
        """
    result = support.run_script(script)
    assert result.rc == 0, result
    return result.out


@pytest.mark.parametrize("line", [5, 17])
def test_pdb_stops_below_main(program, line):
    out = pdb(program, f"b {line}", "c", "p (n, 'here')", "w", "q")
    assert f"> {program}({line})" in out
    assert "(5, 'here')" in out
    assert "-> helper(5)" in out


def test_pdb_steps_out_of_main_into_what_called_it(program):
    out = pdb(program, "b 17", "c", "r", "r", "n", "n", "q")
    assert f"> {program}(25)<module>()" in out


def test_pdb_can_be_entered_in_a_goroutine(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import golib, io, pdb, sys\n"
        "def task():\n"
        "    value = 41\n"
        "    pdb.Pdb(nosigint=True, readrc=False).set_trace()\n"
        "    value += 1\n"
        "    return value\n"
        "sys.stdin = io.StringIO('n\\nn\\np [value]\\nc\\n')\n"
        "print(golib.go(task).join())\n"
    )
    out = run(str(path))
    assert out.splitlines()[-1].endswith("42")
    assert "-> return value" in out
    assert "[42]" in out


class Debugger:
    """A client of debugpy, as an editor is one."""

    def __init__(self, program):
        self.requests = 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(30)
            connect = f"127.0.0.1:{server.getsockname()[1]}"
            command = ["-Xfrozen_modules=off", "-m", "debugpy", "--connect", connect]
            self.process = support.start([sys.executable, *command, "--wait-for-client", program])
            self.connection, _ = server.accept()
        self.connection.settimeout(30)
        self.file = self.connection.makefile("rwb")

    def send(self, command, **arguments):
        self.requests += 1
        message = {"seq": self.requests, "type": "request", "command": command}
        body = json.dumps(message | {"arguments": arguments}).encode()
        self.file.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self.file.flush()

    def ask(self, command, **arguments):
        self.send(command, **arguments)
        return self.until(type="response", command=command)

    def until(self, **wanted):
        """The body of the next message that has these fields; one of another kind is skipped."""
        while True:
            length = 0
            while line := self.file.readline().strip():
                length = int(line.rpartition(b":")[2])
            message = json.loads(self.file.read(length))
            if wanted.items() <= message.items():
                return message.get("body")

    def run_to(self, program, line):
        self.ask("initialize", adapterID="golib", pathFormat="path")
        self.send("attach", justMyCode=False)
        self.until(event="initialized")
        self.ask("setBreakpoints", source={"path": program}, breakpoints=[{"line": line}])
        self.send("configurationDone")
        return self.until(event="stopped")["threadId"]

    def finish(self, program, thread):
        self.ask("setBreakpoints", source={"path": program}, breakpoints=[])
        self.ask("continue", threadId=thread)
        result = support.finish(self.process)
        self.file.close()
        self.connection.close()
        return result


@needs("debugpy")
@pytest.mark.parametrize(("line", "frames"), [(11, ["crawl"]), (17, ["helper", "main"])])
def test_debugpy_stops_in_goroutines_and_in_main(program, line, frames):
    debugger = Debugger(program)
    thread = debugger.run_to(program, line)
    names = {t["id"]: t["name"] for t in debugger.ask("threads")["threads"]}
    stack = debugger.ask("stackTrace", threadId=thread)["stackFrames"]
    result = debugger.finish(program, thread)
    assert [frame["name"] for frame in stack][: len(frames)] == frames
    assert re.fullmatch("crawler-[0-9]" if line == 11 else "MainThread", names[thread])
    assert (result.rc, result.out) == (0, "45\n")


def test_gdb_shows_the_python_stack_of_a_goroutine_that_blocks():
    helper = Path(sys.base_prefix) / f"bin/python{sys.version_info[0]}.{sys.version_info[1]}-gdb.py"
    if not (shutil.which("gdb") and helper.exists()):
        pytest.skip("no gdb, or none of CPython's script for it")
    script = support.start_script(
        """
        import golib, time
        def blocks():
            time.sleep(60)
        def main():
            golib.go(blocks)
            golib.sleep(0.2)
            print("ready")
            golib.sleep(60)
        golib.run(main)
        """
    )
    support.wait_line(script, "ready")
    look = ["-ex", f"source {helper}", "-ex", "thread apply all py-bt"]
    gdb = support.start(["gdb", "-nx", "-batch", "-p", str(script.pid), *look])
    result = support.finish(gdb)
    script.kill()
    support.finish(script)
    if "ptrace: Operation not permitted" in result.err:
        pytest.skip("this machine lets nobody look into other processes")
    assert re.search(r'File "<string>", line 4, in blocks', result.out), result


# -- profilers ---------------------------------------------------------------------------------


def test_cprofile_sees_main(program):
    out = run("-m", "cProfile", program)
    for function in ("main", "helper"):
        assert re.search(rf"^ +1 .*program.py:\d+\({function}\)$", out, re.MULTILINE), out


def test_cprofile_profiles_the_goroutine_that_it_is_started_in():
    out = support.run_ok(
        """
        import cProfile, golib, pstats
        def leaf():
            golib.sleep(0.001)
        def work():
            for _ in range(5): leaf()
        def profiled():
            with cProfile.Profile() as profile:
                work()
            return pstats.Stats(profile).get_stats_profile().func_profiles
        print(golib.go(profiled).join()["leaf"].ncalls)
        """
    )
    assert out == "5\n"


@needs("yappi")
def test_yappi_has_a_line_for_each_goroutine():
    out = support.run_ok(
        """
        import golib, yappi
        def work():
            return sum(range(1000))
        def main():
            yappi.set_clock_type("wall")
            yappi.start()
            for g in [golib.go(work) for _ in range(3)]:
                g.join()
            yappi.stop()
            print(len(yappi.get_thread_stats()))
        golib.run(main)
        """
    )
    assert out == "4\n"


@needs("yappi")
def test_yappi_counts_the_calls_of_goroutines(program):
    out = run("-m", "yappi", "-b", program)
    assert re.search(r"crawl +10 ", out), out
    assert re.search(r"leaf +31 ", out), out
    assert re.search(r"helper +1 ", out), out


@needs("viztracer")
def test_viztracer_records_the_calls_of_goroutines(program, tmp_path):
    run("-m", "viztracer", "--quiet", "-o", "trace.json", program)
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    calls = {e["name"].partition(" ")[0] for e in events if "program.py" in e["name"]}
    # Not how often: it keeps a stack of calls per OS thread, which mixes those of goroutines.
    assert calls >= {"crawl", "leaf", "helper", "main"}


@needs("memray")
@pytest.mark.parametrize("options", [[], ["--trace-python-allocators"], ["--native"]])
def test_memray_records_a_program(program, options):
    run("-m", "memray", "run", "-q", "-f", "-o", "memray.bin", *options, program)
    assert "Total allocations" in run("-m", "memray", "stats", "memray.bin")


def skip_if_others_are_hidden(result):
    if re.search("permission|not permitted", result.err, re.IGNORECASE):
        pytest.skip("this machine lets nobody look into other processes")


@needs("py-spy")
def test_py_spy_record_counts_the_holder_of_the_gil(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import golib, time\n"
        "def computes():\n"
        "    end = time.monotonic() + 1.5\n"
        "    while time.monotonic() < end: sum(range(100))\n"
        "def waits(ch): ch.recv()\n"
        "def main():\n"
        "    golib.go(waits, golib.Chan())\n"
        "    golib.go(computes).join()\n"
        "golib.run(main)\n"
    )
    spy = str(Path(sys.executable).parent / "py-spy")
    raw = tmp_path / "raw.txt"
    options = ["record", "--gil", "--format", "raw", "--output", str(raw)]
    result = support.finish(support.start([spy, *options, "--", sys.executable, str(path)]))
    skip_if_others_are_hidden(result)
    assert raw.exists(), result
    samples = re.findall(r"(\w+) \(program.py:\d+\) (\d+)$", raw.read_text(), re.MULTILINE)
    count = {name: sum(int(n) for at, n in samples if at == name) for name, _ in samples}
    assert count["computes"] > 20, raw.read_text()
    assert count.get("waits", 0) <= 2, count


@needs("py-spy")
def test_py_spy_shows_goroutines_by_their_names():
    script = support.start_script(
        """
        import golib, sys, threading
        def crawl(ch):
            threading.current_thread()  # as a log does
            ch.recv()
        def main():
            ch = golib.Chan()
            g = golib.spawn(crawl, (ch,), name="crawler")
            golib.sleep(0.01)
            print("ready")
            sys.stdin.read()
            golib.sleep(60)
        golib.run(main)
        """
    )
    support.wait_line(script, "ready")
    spy = [str(Path(sys.executable).parent / "py-spy"), "dump", "--pid", str(script.pid)]
    result = support.finish(support.start(spy))
    script.kill()
    support.finish(script)
    skip_if_others_are_hidden(result)
    assert result.rc == 0, result
    assert re.search(r'Thread .*: "crawler"\n +crawl ', result.out), result.out
