"""The documentation as a reader sees it: the built pages in a headless Chromium. Run by `make test-site`.

Needs the folder of the pages in GOLIB_SITE, and Chromium; skipped with a word elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import browser
from test_docs import DOCUMENTED

SITE = os.environ.get("GOLIB_SITE")
pytestmark = [
    pytest.mark.skipif(not SITE, reason="`make test-site` builds the pages first"),
    pytest.mark.skipif(not browser.CHROMIUM, reason="Chromium is not installed"),
]


#: Serves a folder, in a process of its own, and prints at which port.
SERVER = """
import functools, http.server, sys
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=sys.argv[1])) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@pytest.fixture
def site() -> Iterator[str]:
    """The address under which the pages are served."""
    command = [sys.executable, "-c", SERVER, str(SITE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
        server.terminate()


@pytest.fixture
def page() -> Iterator[browser.Page]:
    with browser.page() as opened:
        opened.call("Browser.grantPermissions", permissions=["clipboardReadWrite"])
        yield opened


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("pytest", "testing.html"),
        ("Jupyter", "faq.html"),
        ("subprocess", ".html"),
        ("FAQ", "faq.html"),
        ("deadlock", "debugging.html"),
        ("WaitGroup", "reference/sync.html"),
        ("asyncio", "why.html"),
        ("notebook", "interactive.html"),
        ("py-spy", "tools.html"),
        ("blocked", "debugging.html"),
        ("patch", "patch.html"),
    ],
)
def test_search_finds(page: browser.Page, site: str, word: str, found: str) -> None:
    page.open(f"{site}search.html?q={word}")
    links = page.wait_until(
        "document.querySelectorAll('ul.search li a').length &&"
        " /finished|found/i.test(document.querySelector('#search-results').innerText) &&"
        " [...document.querySelectorAll('ul.search li a')].map(a => a.getAttribute('href'))"
    )
    assert any(found in link for link in links), links


def test_the_search_box_leads_to_results(page: browser.Page, site: str) -> None:
    page.open(f"{site}index.html")
    page.click(".sidebar-search")
    for key in "scope":
        page.call("Input.dispatchKeyEvent", type="char", text=key)
    page.evaluate("document.querySelector('.sidebar-search').form.requestSubmit()")
    page.loaded(f"{site}search.html?q=scope")
    assert page.wait_until("document.querySelectorAll('ul.search li').length") > 0


def test_the_copy_button_copies_the_code_and_not_its_output(page: browser.Page, site: str) -> None:
    page.open(f"{site}first-steps.html")
    page.wait_until("document.querySelector('.highlight-python button.copybtn')")
    page.click(".highlight-python button.copybtn")
    copied = page.wait_until(
        "window.copied || (navigator.clipboard.readText().then(t => window.copied = t), '')"
    )
    assert copied.startswith("import golib")
    assert "g.join()" in copied
    assert "[0, 1, 4" not in copied


def test_the_copy_button_leaves_out_the_prompt(page: browser.Page, site: str) -> None:
    page.open(f"{site}first-steps.html")
    page.wait_until("document.querySelector('.highlight-console button.copybtn')")
    page.click(".highlight-console button.copybtn")
    copied = page.wait_until(
        "window.copied || (navigator.clipboard.readText().then(t => window.copied = t), '')"
    )
    assert copied.strip() == "pip install ."


def test_a_card_of_the_landing_page_and_the_sidebar_lead_to_their_pages(page, site: str) -> None:
    page.open(f"{site}index.html")
    page.click(".sd-card:has(a[href='why.html'])")
    page.loaded(f"{site}why.html")
    page.click(".sidebar-tree a[href='tutorial.html']")
    page.loaded(f"{site}tutorial.html")
    assert "Tutorial" in page.evaluate("document.querySelector('h1').innerText")


def test_every_link_of_the_sidebar_opens_a_page_with_a_heading(page, site: str) -> None:
    page.open(f"{site}index.html")
    links = page.evaluate("[...document.querySelectorAll('.sidebar-tree a')].map(a => a.href)")
    assert len(links) > 15
    for link in links:
        page.open(link)
        assert page.evaluate("document.querySelector('h1').innerText.length") > 2, link


def test_a_reference_page_has_names_signatures_and_sources(page: browser.Page, site: str) -> None:
    page.open(f"{site}reference/sync.html#golib.sync.WaitGroup")
    assert page.evaluate("!!document.getElementById('golib.sync.WaitGroup')")
    page.open(f"{site}genindex.html")
    names = page.evaluate("[...document.querySelectorAll('.genindextable li')].length")
    assert names > 100


def names_in_the_index() -> set[str]:
    """What the pages describe: the inventory that Sphinx writes for other projects."""
    packed = Path(str(SITE), "objects.inv").read_bytes().split(b"\n", 4)[4]
    return {
        line.split()[0] for line in zlib.decompress(packed).decode().splitlines() if " py:" in line
    }


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_name_and_method_is_described(module: str) -> None:
    mod = importlib.import_module(module)
    found = names_in_the_index()
    for name in mod.__all__:
        thing = getattr(mod, name)
        if inspect.ismodule(thing) or name == "__version__":
            continue
        assert f"{module}.{name}" in found
        if inspect.isclass(thing) and not issubclass(thing, BaseException):
            of_tuples = ("count", "index") if issubclass(thing, tuple) else ()
            public = [m for m in dir(thing) if not m.startswith("_") and m not in of_tuples]
            missing = [m for m in public if f"{module}.{name}.{m}" not in found]
            assert missing == [], name


def test_no_page_needs_another_server(page: browser.Page, site: str) -> None:
    page.open(f"{site}index.html")
    foreign = page.evaluate(
        "performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin))"
    )
    assert foreign == []


def test_pages_can_be_looked_at(page: browser.Page, site: str) -> None:
    """Leaves pictures of two pages beside the site."""
    for name in ("index", "reference/sync"):
        page.open(f"{site}{name}.html")
        picture = page.screenshot()
        assert picture.startswith(b"\x89PNG")
        assert len(picture) > 20_000
        Path(str(SITE), f"{name.replace('/', '-')}.png").write_bytes(picture)
