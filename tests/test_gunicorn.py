"""golib.integrations.gunicorn: the worker class, under gunicorn."""

from __future__ import annotations

import http.client
import importlib.util
import signal
import socket
import subprocess
import sys
import textwrap
import time

import golib
import pytest

from support import eventually, script_environment

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gunicorn") is None, reason="there is no gunicorn"
)

APPLICATION = """
    import os, threading, time
    import golib
    active, peak = [0], [0]

    def app(environ, start_response):
        path = environ["PATH_INFO"]
        if path == "/sleep":
            active[0] += 1
            peak[0] = max(peak[0], active[0])
            time.sleep(0.5)
            active[0] -= 1
        body = {
            "/where": f"{golib._golib._in_goroutine()} {os.getpid()}",
            "/peak": f"{peak[0]} {golib.runtime.stats()['threads']}",
            "/echo": environ["wsgi.input"].read().decode(),
        }.get(path, "ok").encode()
        if path == "/fail":
            raise ValueError("on purpose")
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
"""


@pytest.fixture
def server(tmp_path):
    """A server with one worker; its port and its process."""
    (tmp_path / "application.py").write_text(textwrap.dedent(APPLICATION))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--worker-class",
            "golib.integrations.gunicorn.Worker",
            "--workers",
            "1",
            "--worker-connections",
            "200",
            "--bind",
            f"127.0.0.1:{port}",
            "--graceful-timeout",
            "10",
            "application:app",
        ],
        cwd=tmp_path,
        stdout=log,
        stderr=log,
        env=script_environment(),
    )

    def is_up():
        assert process.poll() is None, (tmp_path / "log").read_text()
        try:
            return get(port, "/") == (200, "ok")
        except OSError:
            return False

    try:
        eventually(is_up)
        yield port, process
    finally:
        process.kill()
        process.wait()
        log.close()


def get(port, path, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_a_request_is_served_in_a_goroutine(server):
    port, _ = server
    status, text = get(port, "/where")
    assert status == 200 and text.startswith("True")


def test_requests_are_served_side_by_side(server):
    port, _ = server
    began = time.monotonic()
    gs = [golib.go(get, port, "/sleep") for _ in range(50)]
    assert {g.join() for g in gs} == {(200, "ok")}
    assert time.monotonic() - began < 10
    assert int(get(port, "/peak")[1].split()[0]) >= 25


def test_a_connection_is_kept_for_several_requests(server):
    port, _ = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for n in range(5):
        connection.request("POST", "/echo", f"number {n}")
        assert connection.getresponse().read() == f"number {n}".encode()
    connection.close()


def test_an_application_that_fails_is_a_500_and_the_worker_goes_on(server):
    port, _ = server
    assert get(port, "/fail")[0] == 500
    assert get(port, "/") == (200, "ok")


def test_a_graceful_end_lets_requests_end(server):
    port, process = server
    g = golib.go(get, port, "/sleep")
    eventually(lambda: int(get(port, "/peak")[1].split()[0]) > 0)
    process.send_signal(signal.SIGTERM)
    assert g.join() == (200, "ok")
    assert process.wait(timeout=20) == 0
