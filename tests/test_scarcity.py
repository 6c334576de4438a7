"""Little memory, few threads, few descriptors."""

from __future__ import annotations

import re
import textwrap

import pytest

from support import measuring, run_ok, run_script


def test_too_little_address_space_raises_memory_error():
    out = run_ok(
        measuring(
            """
            import resource
            go(int).join()
            golib.sleep(0.01)
            with open("/proc/self/statm") as f:
                used = int(f.read().split()[0]) * os.sysconf("SC_PAGESIZE")
            resource.setrlimit(resource.RLIMIT_AS, (used + (3 << 30), resource.RLIM_INFINITY))
            errors, gs, ch = 0, [], Chan()
            for _ in range(300):
                try:
                    gs.append(golib.spawn(ch.recv_ok, stack_size=256 << 20))
                except MemoryError:
                    errors += 1
            while any(g.status() in ("runnable", "running") for g in gs):
                golib.sleep(0.001)
            ch.close()
            for g in gs:
                try:
                    g.join()
                except MemoryError:
                    errors += 1
            print(errors > 0, go(lambda: "usable").join())
            """
        ),
        timeout=60,
    )
    assert out == "True usable\n"


def test_a_kernel_without_guard_markers_and_no_mapping_to_spare_raises_memory_error():
    """As Linux before 6.13: a filter on system calls answers madvise(102) with EINVAL."""
    result = run_script(
        measuring(
            """
            import ctypes, struct
            LOAD, EQUAL, RETURN, ALLOW, EINVAL = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050016
            steps = [
                (LOAD, 0, 0, 0), (EQUAL, 0, 3, 28),  # madvise
                (LOAD, 0, 0, 32), (EQUAL, 0, 1, 102), (RETURN, 0, 0, EINVAL),
                (RETURN, 0, 0, ALLOW),
            ]
            code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
            program = struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.prctl(38, 1, 0, 0, 0) == 0
            assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, ctypes.get_errno()

            gs, ch, why = [], Chan(), ""
            while not why:
                try:
                    gs.append(go(ch.recv_ok))
                    golib.gosched()
                except MemoryError as error:
                    why = str(error)
                assert len(gs) < 200_000
            ch.close()
            for g in gs:
                assert g.join() == (None, False)
            print("vm.max_map_count" in why, len(gs) > 1000, go(lambda: "usable").join())
            """
        ),
        timeout=120,
    )
    assert (result.rc, result.out) == (0, "True True usable\n"), result
    assert "goroutines wait" in result.err, result
    assert result.err.count("\n") == 1, result


#: `limit(n)`: the OS gives this process's user no thread beyond n (root's are not counted).
FEW_THREADS = """
    import importlib, pkgutil, resource
    # Before root becomes another user, who may not be allowed to read golib.
    for module in pkgutil.iter_modules(golib.__path__):
        if module.name not in ("__main__", "_pytest"):
            importlib.import_module(f"golib.{module.name}")
    def limit(n):
        try:
            if os.geteuid() == 0:
                os.setresuid(65533, 65533, 65533)
            resource.setrlimit(resource.RLIMIT_NPROC, (n, hard))
        except (OSError, ValueError):
            print("cannot try")
            os._exit(0)
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    """


def with_few_threads(body: str):
    code = measuring(FEW_THREADS) + textwrap.dedent(body)
    result = run_script(code, timeout=60)
    if "cannot try" in result.out:
        pytest.skip("the number of processes cannot be limited here")
    return result


@pytest.mark.parametrize("n", [1, 6])
def test_goroutines_wait_for_one_of_the_threads_that_there_are(n):
    """Told once, on stderr: fewer threads than blocking calls make a program slow, not wrong."""
    result = with_few_threads(
        f"""
        assert go(int, 1).join() == 1  # one thread at least was to be had
        limit({n})
        gs = [go(lambda i: time.sleep(0.02) or i, i) for i in range(30)]
        print([g.join() for g in gs] == list(range(30)))
        """
    )
    assert (result.rc, result.out) == (0, "True\n"), result
    assert re.fullmatch(
        r"go-lib: goroutines wait for a thread: the OS refuses one more than \d+: .*\n", result.err
    ), result


def test_a_goroutine_is_refused_while_there_is_no_thread_at_all():
    result = with_few_threads(
        """
        limit(1)
        for start in (lambda: go(int), lambda: golib.run(int), lambda: golib.spawn(int)):
            try:
                start()
            except RuntimeError as error:
                print(error)
        limit(hard)
        print(go(str, "usable").join(), golib.run(lambda: "at once"))
        """
    )
    lines = result.out.splitlines()
    refused = "cannot start a thread for a goroutine: the OS refuses one more than 0: Resource temporarily"
    assert (result.rc, len(lines)) == (0, 4), result
    assert all(line.startswith(refused) for line in lines[:3]), result
    assert lines[3] == "usable at once", result
    assert re.fullmatch(r"go-lib: no thread for sysmon: .*\n", result.err), result


def test_a_memory_error_of_the_program_is_an_ordinary_exception():
    out = run_ok(
        measuring(
            """
            def task():
                try:
                    return bytearray(1 << 62)
                except MemoryError:
                    golib.gosched()
                    return "raised"
            print(go(task).join())
            """
        )
    )
    assert out == "raised\n"


def test_few_file_descriptors_do_not_matter():
    out = run_ok(
        measuring(
            """
            import resource
            resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
            print(golib.run(lambda: sum(g.join() for g in [go(int, 1) for _ in range(100)])))
            """
        )
    )
    assert out == "100\n"
