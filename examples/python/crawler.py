"""A crawler that asks at most so many pages at once, and so many a second.

It crawls a site that it serves to itself: page n links to pages 2n and 2n + 1.
"""

import re
import time

import golib
from golib import net
from golib.sync import Semaphore

PAGES = 40


def site(conn: net.Conn) -> None:
    """Answers one request."""
    found = re.match(rb"GET /(\d+) ", conn.read_until(b"\r\n\r\n"))
    n = int(found[1]) if found else 0
    golib.sleep(0.01)  # a slow site
    links = [f'<a href="/{m}">' for m in (2 * n, 2 * n + 1) if 0 < m <= PAGES]
    conn.write(b"HTTP/1.0 200 OK\r\n\r\n" + "".join(links).encode())


class Crawler:
    """Visits every page once."""

    def __init__(self, addr: tuple[str, int], at_once: int, per_second: float) -> None:
        self.addr = addr
        self.seen: set[str] = set()
        self.slots = Semaphore(at_once)
        self.ticker = golib.time.Ticker(1 / per_second)
        self.running = self.most = 0

    def crawl(self, scope: golib.Scope, path: str) -> None:
        if path in self.seen:
            return
        self.seen.add(path)
        scope.go(self.visit, scope, path)

    def visit(self, scope: golib.Scope, path: str) -> None:
        with self.slots:
            self.ticker.c.recv()
            self.running += 1
            self.most = max(self.most, self.running)
            page = self.get(path)
            self.running -= 1
        for link in re.findall(r'href="([^"]+)"', page):
            self.crawl(scope, link)

    def get(self, path: str) -> str:
        with net.dial(self.addr, timeout=5) as conn:
            conn.set_deadline(5)
            conn.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            return b"".join(iter(conn.read, b"")).decode()


@golib.main
def main() -> None:
    with net.listen("127.0.0.1:0") as listener:
        server = golib.go(listener.serve, site)
        crawler = Crawler(listener.addr, at_once=8, per_second=200)
        start = time.monotonic()
        with crawler.ticker, golib.scope() as scope:
            crawler.crawl(scope, "/1")
        seconds = time.monotonic() - start
        rate = len(crawler.seen) / seconds
        print(f"{len(crawler.seen)} pages, at most {crawler.most} at once")
        print("no faster than allowed" if rate <= 220 else f"too fast: {rate:.0f} a second")
        listener.shutdown(timeout=5)
        server.join()


if __name__ == "__main__":
    main()
