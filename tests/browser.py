"""A headless Chromium, driven by its debugging protocol over two pipes; the little of it that test_site.py needs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

#: Debian's name, and others'.
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


class Page:
    """One tab. What it evaluates may be a promise; a page's error is raised here."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._numbers = itertools.count(1)
        self._unread = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; what happened meanwhile is dropped."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            data = os.read(self._from, 1 << 16)
            assert data, "the browser has ended"
            self._unread += data
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript."""
        result = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def wait_until(self, expression: str, seconds: int = 20) -> Any:
        """Waits until an expression is true, and returns its value."""
        return self.evaluate(
            f"""new Promise((resolve, reject) => {{
                const began = performance.now();
                (function look() {{
                    const value = (() => {{ try {{ return {expression}; }} catch {{ return null; }} }})();
                    if (value) resolve(value);
                    else if (performance.now() - began > {seconds * 1000})
                        reject(new Error("never became true at " + location.href));
                    else setTimeout(look, 20);
                }})();
            }})"""
        )

    def open(self, url: str) -> None:
        """Loads a page, with its scripts."""
        self.call("Page.navigate", url=url)
        self.loaded(url)

    def loaded(self, url: str) -> None:
        """Waits until the page that was asked for is there."""
        deadline_in_script = (
            f"location.href.startsWith({json.dumps(url)}) && document.readyState === 'complete'"
        )
        while True:
            try:
                self.wait_until(deadline_in_script)
                return
            except AssertionError as error:  # the page that was asked is gone: ask the next one
                if "Execution context" not in str(error) and "navigated" not in str(error):
                    raise

    def click(self, selector: str) -> None:
        """Clicks on an element as a person does: at its middle, once it can be seen."""
        element = f"document.querySelector({json.dumps(selector)})"
        x, y = self.evaluate(
            f"""(() => {{
                const element = {element};
                element.scrollIntoView({{block: "center", behavior: "instant"}});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        at = {"x": x, "y": y}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def screenshot(self) -> bytes:
        import base64

        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextlib.contextmanager
def page() -> Iterator[Page]:
    """A page of a browser of its own, which ends with the block."""
    assert CHROMIUM
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # It reads from descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
        arguments = [
            "--headless=new",
            "--no-sandbox",  # which refuses root, as whom CI runs
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(browser_reads, browser_writes),
        )
        os.close(browser_reads)
        os.close(browser_writes)
        try:
            yield Page(to_browser, from_browser)
        finally:
            os.close(to_browser)
            os.close(from_browser)
            process.terminate()
            process.wait(20)
