"""A headless Chromium for tests of pages, driven over a pipe: nothing listens, and no library is needed."""

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE_SECONDS = 120
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe "
    "--disable-background-networking --disable-component-update --disable-sync --hide-scrollbars"
)


class Browser:
    """One page of a browser.

    Attributes:
        requests: URLs that it asked for.
        complaints: what its console says: errors, warnings, violations of the page's own policy.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers, self._buffer = commands, answers, b""
        self._number, self._session = 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def open(self, path: Path, *, width: int, dark: bool = False, media: str = "") -> None:
        """Shows a file as a screen of some width does. `media`: `print` for paper."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.call("Page.navigate", url=path.as_uri())
        while self._next()["method"] != "Page.loadEventFired":
            pass

    def value(self, script: str) -> Any:
        """Gives what an expression is worth in the page."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """Takes a picture of the whole page, as PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"])

    def pdf(self) -> bytes:
        """Prints the page."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the browser's protocol, and waits for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._commands, json.dumps(message | self._in_session()).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _in_session(self) -> dict[str, str]:
        return {"sessionId": self._session} if self._session else {}

    def _next(self) -> dict[str, Any]:
        event = self._read()
        self._note(event)
        return event

    def _note(self, event: dict[str, Any]) -> None:
        match event["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(event["params"]["request"]["url"])
            case "Log.entryAdded" | "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.complaints.append(json.dumps(event["params"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE_SECONDS)
            part = os.read(self._answers, 1 << 20) if ready else b""
            assert part, "the browser says nothing any more"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Starts one that keeps its files in a folder; skips the test where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here: `apt-get install chromium`")
    theirs, ours, our_answers, their_answers = *os.pipe(), *os.pipe()
    options = f"{OPTIONS} --user-data-dir={folder}"
    # the browser looks for its ends at 3 and 4
    command = f"exec 3<&{theirs} 4>&{their_answers}; exec timeout {PATIENCE_SECONDS} {program} {options} about:blank"
    process = subprocess.Popen(
        ["bash", "-c", command], pass_fds=(theirs, their_answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.close(their_answers)
    try:
        yield Browser(ours, our_answers)
    finally:
        process.terminate()
        process.wait()
        os.close(ours)
        os.close(our_answers)
