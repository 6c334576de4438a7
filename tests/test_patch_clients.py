"""golib.patch with real clients over HTTP and TLS: requests, httpx, urllib3."""

from __future__ import annotations

import http.server
import pathlib
from collections.abc import Callable, Iterator

import golib
import pytest

from support import start_poller

start_poller()

ssl = pytest.importorskip("ssl", reason="this CPython has no ssl")
requests = pytest.importorskip("requests")
httpx = pytest.importorskip("httpx")
urllib3 = pytest.importorskip("urllib3")

PEM = str(pathlib.Path(__file__).with_name("localhost.pem"))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        golib.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *args: object) -> None:
        pass


class Server(http.server.HTTPServer):
    request_queue_size = 500

    def process_request(self, request, client_address) -> None:
        golib.go(self.handle_one, request, client_address)

    def handle_one(self, request, client_address) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass
        self.shutdown_request(request)

    def handle_error(self, request, client_address) -> None:
        raise


@pytest.fixture(autouse=True, scope="module")
def patched() -> Iterator[None]:
    golib.patch()
    yield
    golib.unpatch()


@pytest.fixture(params=["http", "https"])
def url(request) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Handler)
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(PEM)
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    serving = golib.go(server.serve_forever)
    yield f"{request.param}://127.0.0.1:{server.server_port}/"
    golib.go(server.shutdown).join(10)
    serving.join(10)
    server.server_close()


def by_requests(url: str, data: bytes) -> bytes:
    return requests.post(url, data=data, verify=PEM, timeout=30).content  # type: ignore[no-any-return]


def by_httpx(url: str, data: bytes) -> bytes:
    return httpx.post(
        url, content=data, verify=ssl.create_default_context(cafile=PEM), timeout=30
    ).content  # type: ignore[no-any-return]


def by_urllib3(url: str, data: bytes) -> bytes:
    with urllib3.PoolManager(ca_certs=PEM) as pool:
        return pool.request("POST", url, body=data, timeout=30, retries=False).data  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("post", [by_requests, by_httpx, by_urllib3])
def test_many_requests_at_once_hold_no_threads(
    post: Callable[[str, bytes], bytes], url: str
) -> None:
    before = golib.runtime.stats()["parks_pinned"]

    def one(i: int) -> bytes:
        return post(url, b"request %d" % i)

    with golib.scope() as s:
        gs = [s.go(one, i) for i in range(30)]
    assert [g.join() for g in gs] == [(b"request %d" % i)[::-1] for i in range(30)]
    assert golib.runtime.stats()["parks_pinned"] == before


def test_a_timeout_block_leaves_a_request(url: str) -> None:
    def body() -> None:
        with pytest.raises(TimeoutError), golib.timeout(0.02):
            by_urllib3(url, b"x" * 1000)

    golib.go(body).join(20)
