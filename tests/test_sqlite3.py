"""sqlite3 in goroutines: connections follow them, or keep them on their thread if asked to."""

from __future__ import annotations

import sys
import textwrap

import golib
import pytest
from golib import go, gosched

from support import MIGRATE, Thread, run_ok

sqlite3 = pytest.importorskip("sqlite3", reason="this CPython has no sqlite3")


def test_a_sqlite3_connection_follows_the_goroutine_that_made_it():
    def task(i):
        con = sqlite3.connect(":memory:")
        con.create_function("twice", 1, lambda x: 2 * x)
        for _ in range(20):
            golib.sleep(0)
            assert con.execute("select twice(?)", (i,)).fetchone() == (2 * i,)
        con.close()
        return True

    assert all(g.join() for g in [go(task, i) for i in range(20)])


#: Runs `task` in ten goroutines at once and prints what they return.
SQLITE = """
    import sqlite3
    import golib
    from golib import go, gosched
    from support import moves, stays
    def connect(**options):
        return sqlite3.connect(":memory:", **options)
    def locked():
        con = connect(check_same_thread=True)
        assert stays()
        return con
    def refused(call):
        try:
            call()
        except sqlite3.ProgrammingError as error:
            return "thread" in str(error)
    def ten(task):
        def main():
            return {g.join() for g in [go(task) for _ in range(10)]}
        print(golib.run(main))
    """


def sqlite(body: str) -> str:
    return run_ok(textwrap.dedent(SQLITE) + textwrap.dedent(body), env=MIGRATE)


def test_check_same_thread_true_locks_the_goroutine_to_its_thread():
    out = sqlite(
        """
        def task():
            free = connect(), connect(check_same_thread=False)
            moved = moves()
            con = connect(check_same_thread=True)
            stayed = stays()
            con.execute("select 1")
            for c in (*free, con):
                c.close()
            return moved, stayed
        ten(task)
        """
    )
    assert out == "{(True, True)}\n"


def test_a_closed_connection_lets_the_goroutine_move_again():
    out = sqlite(
        """
        def task():
            locked().close()
            return moves()
        ten(task)
        """
    )
    assert out == "{True}\n"


def test_a_dropped_connection_lets_the_goroutine_move_again():
    out = sqlite(
        """
        import gc, warnings
        warnings.simplefilter("ignore", ResourceWarning)
        def task():
            con = locked()
            del con
            gc.collect()  # it is in a cycle with its cache of statements
            return moves()
        # In turns: what another goroutine's collector frees keeps its thread.
        print(golib.run(lambda: {go(task).join() for _ in range(10)}))
        """
    )
    assert out == "{True}\n"


def test_one_of_two_open_connections_keeps_the_goroutine_on_its_thread():
    out = sqlite(
        """
        def task():
            first, second = locked(), locked()
            first.close()
            stayed = stays()
            second.execute("select 1")
            second.close()
            return stayed, moves()
        ten(task)
        """
    )
    assert out == "{(True, True)}\n"


def test_a_connection_closed_twice_releases_its_thread_once():
    out = sqlite(
        """
        def task():
            first, second = locked(), locked()
            first.close()
            first.close()
            stayed = stays()
            del first
            stayed = stayed and stays()
            second.close()
            return stayed, moves()
        ten(task)
        """
    )
    assert out == "{(True, True)}\n"


def test_a_connection_closed_by_another_goroutine_releases_no_thread():
    out = sqlite(
        """
        def task():
            con = locked()
            was_refused = go(refused, con.close).join()
            stayed = stays()
            con.execute("select 1")
            con.close()
            return was_refused, stayed, moves()
        ten(task)
        """
    )
    assert out == "{(True, True, True)}\n"


def test_sqlite3_keeps_its_check_on_ordinary_threads():
    con = sqlite3.connect(":memory:")
    try:
        with pytest.raises(sqlite3.ProgrammingError):
            Thread(con.execute, "select 1").join()
    finally:
        con.close()


# -- other ways to a connection ----------------------------------------------------------------

#: Made before the first goroutine of a script; its __init__ is the base class's own.
WAYS = """
    class Early(sqlite3.Connection):
        pass
    class Earlier(Early):
        pass
    golib.go(int).join()
    class Late(Early):
        pass
    class Own(sqlite3.Connection):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
    class Explicit(Early):
        def __init__(self, path, check_same_thread=None, **_):
            options = {} if check_same_thread is None else {"check_same_thread": check_same_thread}
            sqlite3.Connection.__init__(self, path, **options)
    def made(path, check_same_thread=None, factory=None):  # takes less than connect() does
        return Explicit(path, check_same_thread)
    def again(path, **options):
        con = sqlite3.Connection(path, check_same_thread="check_same_thread" not in options)
        con.__init__(path, **options)
        return con
    ways = [functools.partial(sqlite3.connect, factory=made),
        sqlite3.connect,
        sqlite3.Connection, Early, Earlier, Late, Own, Explicit,
        *[functools.partial(sqlite3.connect, factory=f)
          for f in (sqlite3.Connection, Early, Late, Own, Explicit)],
        again,
    ]
    """


def every_way(body: str) -> str:
    code = (
        textwrap.dedent(SQLITE)
        + "import functools\n"
        + textwrap.dedent(WAYS)
        + textwrap.dedent(body)
    )
    return run_ok(code, env=MIGRATE)


def test_a_connection_made_in_any_way_follows_the_goroutine():
    out = every_way(
        """
        def task():
            done = []
            for make in ways:
                con = make(":memory:")
                moved = moves()
                con.execute("select 1")
                with con:
                    cursor = con.cursor()
                    moved = moved and moves()
                    cursor.execute("select 2")
                con.close()
                done.append(moved)
            return all(done)
        ten(task)
        """
    )
    assert out == "{True}\n"


def test_a_connection_made_in_any_way_keeps_its_thread_if_asked_to():
    out = every_way(
        """
        def task():
            done = []
            for make in ways:
                con = make(":memory:", check_same_thread=True)
                done.append(stays())
                con.execute("select 1")
                con.close()
                done.append(moves())
            return all(done)
        ten(task)
        """
    )
    assert out == "{True}\n"


def test_a_factory_gets_the_arguments_that_connect_was_given():
    def factory(*args, **options):
        return args, options

    def task():
        plain = sqlite3.connect("x", factory=factory)
        return plain, sqlite3.connect("x", factory=factory, check_same_thread=True)

    first, second = go(task).join()
    assert first[0] == second[0] == ("x",)
    assert "check_same_thread" not in first[1]
    assert second[1]["check_same_thread"] is True


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="by keyword only since 3.15")
@pytest.mark.filterwarnings("ignore:Passing more than 1 positional:DeprecationWarning")
def test_check_same_thread_may_be_given_by_position():
    out = sqlite(
        """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        def task():
            done = []
            for check, expected in ((True, stays), (1, stays), (False, moves), (0, moves)):
                for make in (sqlite3.connect, sqlite3.Connection):
                    con = make(":memory:", 5.0, 0, "", check)
                    done.append(expected())
                    con.close()
            return all(done)
        ten(task)
        """
    )
    assert out == "{True}\n"


def test_a_connection_that_could_not_be_made_keeps_no_thread():
    out = sqlite(
        """
        def task():
            failed = 0
            for make in (sqlite3.connect, sqlite3.Connection):
                for options in ({"database": "/no/such/directory/x"}, {"database": 1.5}, {"no": 1}):
                    try:
                        make(**options, check_same_thread=True)
                    except (sqlite3.OperationalError, TypeError):
                        failed += 1
            return failed, moves()
        ten(task)
        """
    )
    assert out == "{(6, True)}\n"


def test_a_connection_made_anew_gives_back_the_thread_it_held():
    out = sqlite(
        """
        def task():
            con = locked()
            con.__init__(":memory:")
            moved = moves()
            con.execute("select 1")
            con.__init__(":memory:", check_same_thread=True)
            stayed = stays()
            con.close()
            return moved, stayed, moves()
        ten(task)
        """
    )
    assert out == "{(True, True, True)}\n"


def test_backups_blobs_and_iterdump_follow_the_goroutine():
    def task():
        with sqlite3.connect(":memory:") as con, sqlite3.connect(":memory:") as other:
            con.execute("create table t(x blob)")
            con.execute("insert into t values (zeroblob(10))")
            gosched()
            blob = con.blobopen("t", "x", 1)
            gosched()
            blob.write(b"0123456789")
            blob.seek(0)
            gosched()
            assert blob.read() == b"0123456789"
            blob.close()
            con.commit()
            con.backup(other, pages=1, progress=lambda *_: gosched())
            lines = [line for line in con.iterdump() if gosched() is None]
            copy = con.serialize()
            gosched()
            other.deserialize(copy)
            rows = other.execute("select * from t").fetchall()
        con.close()
        other.close()
        return len(lines) > 2 and rows == [(b"0123456789",)]

    assert all(g.join() for g in [go(task) for _ in range(10)])


def test_a_sub_interpreter_in_a_goroutine_may_use_sqlite3():
    interpreters = pytest.importorskip("_interpreters")

    def task():
        interpreter = interpreters.create()
        try:
            return interpreters.exec(
                interpreter,
                "import sqlite3\n"
                "con = sqlite3.connect(':memory:', check_same_thread=True)\n"
                "con.execute('select 1')\n"
                "con.close()\n",
            )
        finally:
            interpreters.destroy(interpreter)

    assert [g.join() for g in [go(task) for _ in range(3)]] == [None] * 3


@pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")
def test_dbm_and_shelve_over_sqlite3_follow_the_goroutine(tmp_path):
    import dbm.sqlite3
    import shelve

    def task(i):
        with dbm.sqlite3.open(tmp_path / f"dbm{i}", "c") as db:
            for j in range(5):
                db[str(j)] = str(i)
                golib.sleep(0)
            assert [db[str(j)] for j in range(5)] == [str(i).encode()] * 5
        with shelve.Shelf(dbm.sqlite3.open(tmp_path / f"shelf{i}", "c")) as shelf:
            shelf["x"] = [i]
            gosched()
            return shelf["x"] == [i]

    assert all(g.join() for g in [go(task, i) for i in range(10)])
