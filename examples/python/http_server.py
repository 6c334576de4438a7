"""A server of HTTP/1.1 in sixty lines: keep-alive, bodies, limits, time-outs.

`http_server.py` asks itself and ends; `http_server.py 127.0.0.1:8000` serves until Ctrl-C.
"""

import http.client
import sys

import golib
from golib import net

MAX_BODY = 1 << 20


def answer(method: str, path: str, body: bytes) -> tuple[str, bytes]:
    """What the site says; it may block."""
    if method == "POST":
        return "200 OK", body.upper()
    if path == "/":
        return "200 OK", b"hello\n"
    return "404 Not Found", b"no such page\n"


def handle(conn: net.Conn) -> None:
    """The requests of one connection."""
    while True:
        conn.set_read_deadline(60)  # for the next request
        try:
            head = conn.read_until(b"\r\n\r\n", limit=16384)
        except (EOFError, TimeoutError):
            return
        except ValueError:
            respond(conn, "431 Request Header Fields Too Large", b"", close=True)
            return
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)
        }
        try:
            method, path, version = line.split()
            size = int(headers.get("content-length", "0"))
        except ValueError:
            respond(conn, "400 Bad Request", b"", close=True)
            return
        if not 0 <= size <= MAX_BODY:
            respond(conn, "413 Content Too Large", b"", close=True)
            return
        close = version == "HTTP/1.0" or headers.get("connection", "").lower() == "close"
        respond(conn, *answer(method, path, conn.read_exactly(size)), close)
        if close:
            return


def respond(conn: net.Conn, status: str, body: bytes, close: bool) -> None:
    connection = "close" if close else "keep-alive"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    conn.write(head.encode() + body)


def ask(addr: tuple[str, int]) -> None:
    client = http.client.HTTPConnection(*addr)
    for method, path, body in (
        ("GET", "/", None),
        ("POST", "/x", b"shout"),
        ("GET", "/nowhere", None),
    ):
        client.request(method, path, body)
        response = client.getresponse()
        print(response.status, response.read().decode().strip())
    client.close()


@golib.main
def main(addr: str | None = None) -> None:
    with net.listen(addr or "127.0.0.1:0") as listener:
        if addr is not None:
            listener.serve(handle, limit=10_000)
            return
        server = golib.go(listener.serve, handle)
        ask(listener.addr)
        listener.shutdown(timeout=5)
        server.join()


if __name__ == "__main__":
    main(*sys.argv[1:2])
