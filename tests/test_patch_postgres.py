"""Database drivers on goroutines, against a server that the test starts: how they are made to park, and that they do."""

from __future__ import annotations

import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import golib
import pytest

from support import eventually, start_poller

start_poller()

#: Where Debian keeps the programs of PostgreSQL.
BINARIES = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@pytest.fixture(scope="module")
def postgres():
    """The folder of a server's socket."""
    if not BINARIES:
        pytest.skip("there is no PostgreSQL")
    user = None
    if os.geteuid() == 0:  # it refuses to run as root
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL has no user")
    # Not in pytest's own folder, which each of its runs closes to other users.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="golib-postgres-"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(
        [BINARIES[-1], "-D", data, "-A", "trust", "-U", "postgres", "-N"],
        check=True,
        **quiet,
        **who,
    )
    server = subprocess.Popen(
        [
            BINARIES[-1].with_name("postgres"),
            "-D",
            data,
            "-k",
            folder,
            "-c",
            "listen_addresses=",
            "-c",
            "max_connections=150",
            "-c",
            "fsync=off",
        ],
        **quiet,
        **who,
    )
    try:
        eventually(lambda: list(folder.glob(".s.PGSQL.*[0-9]")))
        time.sleep(0.2)
        yield str(folder)
    finally:
        server.send_signal(signal.SIGINT)  # does not wait for clients
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def patched():
    golib.patch()
    yield
    golib.unpatch()


def sleep_in_the_database(connect, n=100):
    """So many goroutines ask for a row that takes a while; the OS threads there were meanwhile."""

    def ask(i):
        connection = connect()
        try:
            cursor = connection.cursor()
            cursor.execute("select pg_sleep(0.5), %s::int", (i,))
            return cursor.fetchone()[1]
        finally:
            connection.close()

    gs = [golib.go(ask, i) for i in range(n)]
    threads = 0
    while not all(g.done() for g in gs):
        threads = max(threads, golib.runtime.stats()["threads"])
        golib.sleep(0.01)
    assert [g.join() for g in gs] == list(range(n))
    return threads


def test_psycopg2_waits_in_golib_by_its_callback(postgres):
    psycopg2 = pytest.importorskip("psycopg2")
    from psycopg2 import extensions, extras

    def wait(connection):
        while (state := connection.poll()) != extensions.POLL_OK:
            wait_for = (
                golib.net.wait_readable
                if state == extensions.POLL_READ
                else golib.net.wait_writable
            )
            wait_for(connection.fileno())

    extensions.set_wait_callback(wait if hasattr(golib, "net") else extras.wait_select)
    try:
        # Its C code is below the callback, so each wait keeps a thread; but it can be left.
        sleep_in_the_database(
            lambda: psycopg2.connect(host=postgres, user="postgres", dbname="postgres"), 10
        )
        connection = psycopg2.connect(host=postgres, user="postgres", dbname="postgres")

        def too_long():
            with golib.timeout(0.05):
                connection.cursor().execute("select pg_sleep(10)")

        began = time.monotonic()
        with pytest.raises(TimeoutError):
            golib.go(too_long).join()
        assert time.monotonic() - began < 5
        connection.close()
    finally:
        extensions.set_wait_callback(None)


def test_psycopg_3_parks_by_itself(postgres):
    psycopg = pytest.importorskip("psycopg")
    if "select" not in golib.patched():
        pytest.skip("select is not patched")

    def connect():
        return psycopg.connect(host=postgres, user="postgres", dbname="postgres")

    assert sleep_in_the_database(connect) < 60
