"""Clients that wait, many at once: `net_clients.py WORKLOAD PEER N ADDRESS` runs N of them and prints seconds as JSON.

| workload | a client |
|---|---|
| requests | one `requests.get` from a server that answers after a second |
| redis | one BLPOP by redis-py, answered after a second |
| psycopg | `select pg_sleep(1)` by psycopg 3 |
| tls | a TLS connection to a server in the same process: a handshake, then ROUNDS messages there and back |

Peers: patched (goroutines under golib.patch()), gevent (under its monkey patch), threads; for tls also uvloop, by
streams. `net_clients.py serve http` and `serve redis` are the servers. The latter speaks as much of Redis as a client
asks for here.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

HOST = "127.0.0.1"
ROUNDS = 20
MESSAGE = b"x" * 64

Client = Callable[[int], object]
#: Runs a function with each of these arguments at once, and returns when all have ended.
Each = Callable[[Client, Iterable[int]], None]


# -- servers ---------------------------------------------------------------------------------------


async def slow_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = b"x" * 3000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(1)
    writer.write(head + body)
    await writer.drain()
    writer.close()


async def read_command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readline())[1:])
    words = []
    for _ in range(count):
        size = int((await reader.readline())[1:])
        words.append((await reader.readexactly(size + 2))[:-2])
    return words


async def slow_redis(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            name, *rest = await read_command(reader)
            if name == b"BLPOP":
                await asyncio.sleep(1)
                writer.write(b"*2\r\n$%d\r\n%b\r\n$5\r\nvalue\r\n" % (len(rest[0]), rest[0]))
            elif name == b"HELLO":
                writer.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
            else:
                writer.write(b"+OK\r\n")
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        writer.close()


async def serve(handler: Callable[..., Any]) -> None:
    server = await asyncio.start_server(handler, HOST, 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# -- clients ---------------------------------------------------------------------------------------


def use_requests(address: str) -> Client:
    import requests

    def get(_: int) -> None:
        assert len(requests.get(f"http://{HOST}:{address}/", timeout=60).content) == 3000

    return get


def use_redis(address: str) -> Client:
    import redis

    def pop(i: int) -> None:
        with redis.Redis(HOST, int(address)) as client:
            assert client.blpop([f"list{i}"], 30)

    return pop


def use_psycopg(address: str) -> Client:
    import psycopg

    def sleep(_: int) -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("select pg_sleep(1)")

    return sleep


CLIENTS: dict[str, Callable[[str], Client]] = {
    "requests": use_requests,
    "redis": use_redis,
    "psycopg": use_psycopg,
}


# -- TLS, both ends in one process -------------------------------------------------------------------


def contexts(cert: str, key: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    client = ssl.create_default_context(cafile=cert)
    return server, client


def tls_patched(n: int, cert: str, key: str) -> dict[str, float]:
    import golib

    for_servers, for_clients = contexts(cert, key)
    at_start, at_end = golib.sync.WaitGroup(), golib.sync.WaitGroup()
    at_start.add(n)
    at_end.add(n)
    gate, exit_gate = threading.Event(), threading.Event()

    def echo(sock: socket.socket) -> None:
        with for_servers.wrap_socket(sock, server_side=True) as tls:
            while data := tls.recv(4096):
                tls.sendall(data)

    def client(port: int) -> None:
        with (
            socket.create_connection((HOST, port)) as sock,
            for_clients.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            for i in range(ROUNDS + 1):
                if i == 1:
                    at_start.done()
                    gate.wait()
                tls.sendall(MESSAGE)
                got = 0
                while got < len(MESSAGE):
                    got += len(tls.recv(4096))
            at_end.done()
            exit_gate.wait()

    def accept(listener: socket.socket) -> None:
        for _ in range(n):
            golib.go(echo, listener.accept()[0])

    with socket.create_server((HOST, 0), backlog=4096) as listener:
        server = golib.go(accept, listener)
        clients = [golib.go(client, listener.getsockname()[1]) for _ in range(n)]
        at_start.wait()
        begin = time.process_time(), time.perf_counter()
        gate.set()
        at_end.wait()
        end = time.process_time(), time.perf_counter()
        exit_gate.set()
        for handle in [server, *clients]:
            handle.join()
    return tls_figures(n, begin, end)


async def tls_streams(n: int, cert: str, key: str) -> dict[str, float]:
    for_servers, for_clients = contexts(cert, key)
    started, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
    gate, exit_gate = asyncio.Event(), asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection(
            HOST, port, ssl=for_clients, server_hostname="localhost", ssl_handshake_timeout=600
        )
        for i in range(ROUNDS + 1):
            if i == 1:
                started.release()
                await gate.wait()
            writer.write(MESSAGE)
            await writer.drain()
            await reader.readexactly(len(MESSAGE))
        ended.release()
        await exit_gate.wait()
        writer.close()

    server = await asyncio.start_server(
        echo, HOST, 0, ssl=for_servers, backlog=4096, ssl_handshake_timeout=600
    )
    port = server.sockets[0].getsockname()[1]
    clients = [asyncio.ensure_future(client(port)) for _ in range(n)]
    for _ in clients:
        await started.acquire()
    begin = time.process_time(), time.perf_counter()
    gate.set()
    for _ in clients:
        await ended.acquire()
    end = time.process_time(), time.perf_counter()
    exit_gate.set()
    await asyncio.gather(*clients)
    server.close()
    return tls_figures(n, begin, end)


def tls_figures(n: int, begin: tuple[float, float], end: tuple[float, float]) -> dict[str, float]:
    rounds = n * ROUNDS
    return {
        "cpu_us": (end[0] - begin[0]) / rounds * 1e6,
        "wall_us": (end[1] - begin[1]) / rounds * 1e6,
    }


# -- running -----------------------------------------------------------------------------------------


def goroutines(client: Client, numbers: Iterable[int]) -> None:
    import golib

    for handle in [golib.go(client, i) for i in numbers]:
        handle.join()


def greenlets(client: Client, numbers: Iterable[int]) -> None:
    import gevent

    gevent.joinall([gevent.spawn(client, i) for i in numbers], raise_error=True)


def os_threads(client: Client, numbers: Iterable[int]) -> None:
    all_of_them = [threading.Thread(target=client, args=(i,)) for i in numbers]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()


def measure(each: Each, client: Client, n: int) -> dict[str, float]:
    begin = time.process_time(), time.perf_counter()
    each(client, range(n))
    end = time.process_time(), time.perf_counter()
    return {"wall_s": end[1] - begin[1], "cpu_s": end[0] - begin[0]}


def run(workload: str, peer: str, n: int, address: str) -> dict[str, float]:
    if peer == "gevent":
        from gevent import monkey

        monkey.patch_all()
    if workload == "tls":
        cert, key = address.split(",")
        if peer == "uvloop":
            import uvloop

            return dict(uvloop.run(tls_streams(n, cert, key)))
        import golib

        golib.patch()
        return dict(golib.run(tls_patched, n, cert, key))
    client = CLIENTS[workload](address)
    if peer == "patched":
        import golib

        golib.patch()
        return dict(golib.run(measure, goroutines, client, n))
    return measure(greenlets if peer == "gevent" else os_threads, client, n)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve({"http": slow_http, "redis": slow_redis}[sys.argv[2]]))
    else:
        print(json.dumps(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])), flush=True)
        os._exit(0)
