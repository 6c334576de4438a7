"""golib.signal in whole programs: deadlock, fork, exit."""

from __future__ import annotations

import signal

import pytest

from support import finish, run_ok, start_script, wait_line

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


PROGRAM = """
    import golib, signal, threading
    from golib.signal import notify, stop

    def serve():
        ch = golib.Chan(1)
        notify(ch, signal.{name})
        print("ready", flush=True)
        print(ch.recv().name, flush=True)
        stop(ch)

    def on_thread(fn):
        thread = threading.Thread(target=fn)
        thread.start()
        # Waits in golib: in a call of CPython's the main thread misses a signal that comes as it enters.
        while thread.is_alive():
            golib.sleep(0.01)

    def in_goroutine(fn):
        golib.go(fn).join()

    {start}
    """

STARTS = {
    "main": "serve()",
    "goroutine": "in_goroutine(serve)",
    "thread": "in_goroutine(int); on_thread(serve)",
    "run": "golib.run(serve)",
    "run, goroutine": "golib.run(in_goroutine, serve)",
    "run, thread": "golib.run(on_thread, serve)",
}


@pytest.mark.parametrize("start", list(STARTS))
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_program_receives_its_signals(name, start):
    process = start_script(PROGRAM.format(name=name, start=STARTS[start]))
    wait_line(process, "ready")
    process.send_signal(getattr(signal, name))
    assert finish(process) == (0, f"{name}\n", "")


@pytest.mark.parametrize("start", ["main()", "golib.run(main)"])
def test_keyboard_interrupt_comes_back_after_stop(start):
    process = start_script(
        f"""
        import golib, signal
        from golib.signal import notify, stop
        def main():
            ch = golib.Chan(1)
            notify(ch, signal.SIGINT)
            print("first", flush=True)
            ch.recv()
            stop(ch)
            try:
                print("second", flush=True)
                golib.sleep(60)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
        {start}
        """
    )
    wait_line(process, "first")
    process.send_signal(signal.SIGINT)
    wait_line(process, "second")
    process.send_signal(signal.SIGINT)
    assert finish(process) == (0, "interrupted\n", "")


@pytest.mark.parametrize("start", ["main()", "golib.run(main)"])
def test_waiting_for_a_signal_is_no_deadlock_and_after_stop_it_is_one(start):
    out = run_ok(
        f"""
        import golib, signal
        from golib.signal import notify, stop
        def main():
            ch = golib.Chan(1)
            notify(ch, signal.SIGALRM)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            print(ch.recv().name)
            stop(ch)
            try:
                ch.recv()
            except golib.Deadlock as error:
                print(error)
        {start}
        """
    )
    assert out == "SIGALRM\nall goroutines are asleep - deadlock!\n"


@pytest.mark.parametrize("how", ["thread", "goroutine"])
def test_a_deadlock_begins_when_notify_is_stopped_while_all_wait(how):
    code = """
        import golib, signal, threading
        ch = golib.Chan(1)
        golib.signal.notify(ch, signal.SIGUSR1)
        def later():
            golib.sleep(0.2)
            golib.signal.stop(ch)
        {start}
        try:
            golib.run(ch.recv)
        except golib.Deadlock as error:
            print(error)
        """
    start = {"thread": "threading.Thread(target=later).start()", "goroutine": "golib.go(later)"}
    assert run_ok(code.format(start=start[how])) == "all goroutines are asleep - deadlock!\n"


@pytest.mark.parametrize("where", ["golib.go(int).join(); main()", "golib.run(main)", "main()"])
def test_a_forked_child_begins_without_notify(where):
    out = run_ok(
        f"""
        import golib, os, signal
        def main():
            ch = golib.Chan(1)
            golib.signal.notify(ch, signal.SIGTERM)
            pid = os.fork()
            if pid == 0:
                while True:
                    golib.sleep(0.01)
            os.kill(pid, signal.SIGTERM)
            print(os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            print(ch.recv().name)
        {where}
        """
    )
    assert out == "True\nSIGTERM\n"


@pytest.mark.parametrize("where", ["golib.go(int).join(); main()", "golib.run(main)", "main()"])
def test_a_forked_child_may_notify(where):
    out = run_ok(
        f"""
        import golib, os, signal
        def main():
            ch = golib.Chan(1)
            golib.signal.notify(ch, signal.SIGTERM)
            pid = os.fork()
            if pid == 0:
                golib.signal.notify(ch, signal.SIGUSR1)
                os.kill(os.getpid(), signal.SIGUSR1)
                print(ch.recv().name, flush=True)
                golib.signal.stop(ch)
                os._exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        {where}
        """
    )
    assert out == "SIGUSR1\n7\n"


def test_exit_while_notified_is_clean():
    out = run_ok(
        """
        import golib, signal
        ch = golib.Chan(1)
        golib.signal.notify(ch)
        golib.go(lambda: [print(s) for s in ch])
        golib.gosched()
        print("end")
        """
    )
    assert out == "end\n"


def test_importing_sets_no_handler():
    out = run_ok(
        """
        import signal
        before = [signal.getsignal(n) for n in signal.valid_signals()]
        import golib.signal
        print(before == [signal.getsignal(n) for n in signal.valid_signals()])
        """
    )
    assert out == "True\n"
