"""golib.patch under clients of real servers: redis, MariaDB, MQTT, ssh, gRPC; and Flask, waitress and uvicorn as servers.

What makes threads of its own runs as a script with `patch(thread=True)`.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import golib
import pytest

import servers
from measures import threads
from support import run_ok, start_poller

start_poller()


@pytest.fixture(autouse=True, scope="module")
def patched() -> Iterator[None]:
    golib.patch()
    yield
    golib.unpatch()


def at_once(n: int, fn: Callable[[int], Any]) -> list[Any]:
    """The results of `fn(0)` to `fn(n - 1)`, in a goroutine each; they hold no threads."""
    before, pinned = threads(), golib.runtime.stats()["parks_pinned"]
    with golib.scope() as s:
        gs = [s.go(fn, i) for i in range(n)]
    assert threads() <= before + max(
        10, n // 3
    )  # a busy machine takes some from calls that do not wait
    assert golib.runtime.stats()["parks_pinned"] == pinned
    return [g.join() for g in gs]


# ---- redis ----


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@pytest.fixture
def redis_server(redis_port: int) -> Iterator[Any]:
    redis = pytest.importorskip("redis")
    client = redis.Redis(port=redis_port)
    yield client
    client.flushall()
    client.connection_pool.disconnect()


def test_redis_pipelines(redis_server: Any) -> None:
    def one(i: int) -> list[Any]:
        with redis_server.pipeline() as p:
            for k in range(20):
                p.set(f"{i}.{k}", f"value {i} {k}")
            for k in range(20):
                p.get(f"{i}.{k}")
            return p.execute()[20:]  # type: ignore[no-any-return]

    expected = [[b"value %d %d" % (i, k) for k in range(20)] for i in range(100)]
    assert at_once(100, one) == expected


def test_redis_waits_for_lists(redis_server: Any) -> None:
    def one(i: int) -> Any:
        if i % 2:
            return redis_server.rpush("queue", i)
        return int(redis_server.blpop(["queue"], timeout=20)[1])

    results = at_once(100, one)
    assert sorted(results[::2]) == list(range(1, 100, 2))


def test_redis_a_wait_that_is_left_spoils_nothing(redis_server: Any) -> None:
    def one(i: int) -> Any:
        for _ in range(3):
            with pytest.raises(TimeoutError), golib.timeout(0.01):
                redis_server.blpop([f"nothing {i}"], timeout=20)
            redis_server.set(f"left {i}", i)
            assert redis_server.get(f"left {i}") == str(i).encode()
        return i

    assert at_once(20, one) == list(range(20))


def test_redis_publishes(redis_server: Any) -> None:
    def subscriber() -> list[bytes]:
        with redis_server.pubsub() as p:
            p.subscribe("news")
            begun.done()
            got = (m["data"] for m in p.listen() if m["type"] == "message")
            return [next(got) for _ in range(10)]

    begun = golib.sync.WaitGroup()
    begun.add(20)
    gs = [golib.go(subscriber) for _ in range(20)]
    golib.go(begun.wait).join(20)

    def publish() -> None:
        while redis_server.pubsub_numsub("news")[0][1] < 20:
            golib.sleep(0.001)
        for i in range(10):
            redis_server.publish("news", f"item {i}")

    golib.go(publish).join(20)
    assert [g.join(20) for g in gs] == [[b"item %d" % i for i in range(10)]] * 20


# ---- MariaDB ----


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    pymysql = pytest.importorskip("pymysql")
    with servers.mariadb(tmp_path_factory.mktemp("mariadb")) as port:
        # Without TLS: the work of reading the system's certificates takes a thread for each connection.
        where = {"host": "127.0.0.1", "port": port, "user": "root", "ssl_disabled": True}
        with pymysql.connect(**where) as connection, connection.cursor() as cursor:
            cursor.execute("create database tests")
            cursor.execute("create table tests.t (i integer primary key, s varchar(100))")
        yield {**where, "database": "tests"}


def test_mysql_connections_hold_no_threads(database: dict[str, Any]) -> None:
    pymysql = pytest.importorskip("pymysql")

    def one(i: int) -> Any:
        with pymysql.connect(**database, autocommit=True) as connection:
            with connection.cursor() as cursor:
                cursor.execute("insert into t values (%s, %s)", (i, f"row {i}"))
                cursor.execute("select s, sleep(0.05) from t where i = %s", (i,))
                return cursor.fetchone()

    assert at_once(40, one) == [(f"row {i}", 0) for i in range(40)]


def test_sqlalchemys_pool_of_mysql(database: dict[str, Any]) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    pytest.importorskip("pymysql")
    url = "mysql+pymysql://root@{host}:{port}/{database}".format(**database)
    engine = sqlalchemy.create_engine(
        url, pool_size=5, max_overflow=0, connect_args={"ssl_disabled": True}
    )

    def one(i: int) -> Any:
        with engine.connect() as connection:
            return connection.execute(
                sqlalchemy.text("select :i + sleep(0.01)"), {"i": i}
            ).scalar_one()

    def left() -> None:
        with pytest.raises(TimeoutError), golib.timeout(0.05), engine.connect() as connection:
            connection.execute(sqlalchemy.text("select sleep(10)"))

    assert at_once(40, one) == list(range(40))
    golib.go(left).join(20)
    assert at_once(10, one) == list(range(10))
    engine.dispose()


# ---- ssh, MQTT, gRPC: they make threads ----


def test_paramiko(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("paramiko")
    with servers.sshd(tmp_path) as (port, key):
        out = run_ok(
            """
            import sys, warnings
            warnings.simplefilter("ignore")
            import golib
            golib.patch(thread=True)
            import paramiko

            def one(i):
                client = paramiko.SSHClient()
                client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
                client.connect("127.0.0.1", int(sys.argv[1]), "root", key_filename=sys.argv[2],
                               allow_agent=False, look_for_keys=False)
                with client:
                    _, out, _ = client.exec_command(f"echo {i}; sleep 0.2; echo {i * i}")
                    answer = out.read().split()
                    with client.open_sftp() as sftp, sftp.open(f"{sys.argv[3]}/{i}", "w") as f:
                        f.write("x" * 100_000)
                    return answer

            def main():
                with golib.scope() as s:
                    gs = [s.go(one, i) for i in range(10)]
                print([[int(n) for n in g.join()] for g in gs] == [[i, i * i] for i in range(10)])
                print(golib.runtime.stats()["threads"])

            golib.run(main)
            """,
            str(port),
            str(key),
            str(tmp_path),
        )
    whole, threads_there = out.split()
    assert whole == "True"
    assert int(threads_there) <= 18  # of 10 that wait, and one more for each connection
    assert [(tmp_path / str(i)).stat().st_size for i in range(10)] == [100_000] * 10


def test_paho_mqtt(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("paho.mqtt.client")
    with servers.mosquitto(tmp_path) as port:
        out = run_ok(
            """
            import sys, threading
            import golib
            golib.patch(thread=True)
            import paho.mqtt.client as mqtt

            def client(i, got, subscribed):
                c = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"c{i}")
                c.on_connect = lambda c, *_: c.subscribe("all/#", qos=1)
                c.on_subscribe = lambda *_: subscribed.done()
                c.on_message = lambda c, _, message: got.send((i, message.payload))
                c.connect("127.0.0.1", int(sys.argv[1]))
                c.loop_start()
                return c

            def main():
                got, subscribed = golib.Chan(1000), golib.sync.WaitGroup()
                subscribed.add(20)
                clients = [client(i, got, subscribed) for i in range(20)]
                subscribed.wait()
                for i, c in enumerate(clients):
                    c.publish(f"all/{i}", b"from %d" % i, qos=1).wait_for_publish(20)
                seen = sorted(got.recv() for _ in range(400))
                print(seen == sorted((i, b"from %d" % k) for i in range(20) for k in range(20)))
                print(golib.runtime.stats()["threads"] <= 15)  # of 20
                for c in clients:
                    c.disconnect()
                    c.loop_stop()

            golib.run(main)
            """,
            str(port),
        )
    assert out.split() == ["True", "True"]


def test_grpc() -> None:
    """Its core waits by itself: a call costs a thread, and nothing is lost."""
    pytest.importorskip("grpc")
    out = run_ok(
        """
        import os, time
        os.environ["GRPC_VERBOSITY"] = "NONE"
        import golib
        golib.patch(thread=True)
        from concurrent.futures import ThreadPoolExecutor
        import grpc

        def reverse(request, context):
            time.sleep(0.05)
            return request[::-1]

        def count(request, context):
            yield from (b"%d" % i for i in range(int(request)))

        def main():
            server = grpc.server(ThreadPoolExecutor(20))
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test", {
                "reverse": grpc.unary_unary_rpc_method_handler(reverse),
                "count": grpc.unary_stream_rpc_method_handler(count),
            }),))
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                call, stream = channel.unary_unary("/test/reverse"), channel.unary_stream("/test/count")
                with golib.scope() as s:
                    gs = [s.go(call, b"request %d" % i, timeout=20) for i in range(20)]
                    n = s.go(lambda: len(list(stream(b"100", timeout=20))))
                print([g.join() for g in gs] == [(b"request %d" % i)[::-1] for i in range(20)], n.join())
            server.stop(0).wait()

        golib.run(main)
        """
    )
    assert out.split() == ["True", "100"]


# ---- servers ----

#: Indented as the scripts are.
ASK = """
        # One for all: each urlopen() would make its own, and load the system's certificates, which keeps a thread busy.
        opener = urllib.request.build_opener()

        def ask(i):
            with opener.open(f"http://127.0.0.1:{port}/{i}", timeout=20) as answer:
                return answer.read()

        def ask_all():
            with golib.scope() as s:
                gs = [s.go(ask, i) for i in range(40)]
            print([g.join() for g in gs] == [b"number %d" % i for i in range(40)])
            print(golib.runtime.stats()["threads"] <= 25)  # of 40 that wait
"""


def test_flask_under_waitress() -> None:
    pytest.importorskip("flask")
    pytest.importorskip("waitress")
    out = run_ok(
        """
        import logging, time, urllib.request
        import golib
        golib.patch(thread=True)
        import flask, waitress
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        """
        + ASK
        + """
        app = flask.Flask("app")

        @app.route("/<int:i>")
        def number(i):
            time.sleep(0.02)
            return f"number {i}"

        server = waitress.create_server(app, host="127.0.0.1", port=0, threads=20)
        port = server.effective_port

        def main():
            golib.go(server.run)
            ask_all()

        golib.run(main)
        """
    )
    assert out.split() == ["True", "True"]


def test_uvicorn() -> None:
    pytest.importorskip("uvicorn")
    out = run_ok(
        """
        import asyncio, urllib.request
        import golib
        golib.patch()
        import uvicorn
        """
        + ASK
        + """
        async def app(scope, receive, send):
            assert scope["type"] == "http"
            await asyncio.sleep(0.02)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"number " + scope["path"][1:].encode()})

        config = uvicorn.Config(app, port=0, lifespan="off", log_level="error", loop="asyncio")
        server = uvicorn.Server(config)

        def main():
            global port
            serving = golib.go(server.run)
            while not server.started:
                golib.sleep(0.001)
            port = server.servers[0].sockets[0].getsockname()[1]
            ask_all()
            server.should_exit = True
            serving.join(20)

        golib.run(main)
        """
    )
    assert out.split() == ["True", "True"]
