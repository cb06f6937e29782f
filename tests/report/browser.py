"""A real browser for tests: headless Chromium, driven through its DevTools pipe, with real mouse and key events."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 20.0


def installed() -> str | None:
    """Path of a Chromium, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page in a fresh profile. ``errors`` holds what the page's scripts and its content policy complained about."""

    def __init__(self, profile: Path, *, width: int = 1280, height: int = 900) -> None:
        self.errors: list[str] = []
        self._number, self._held = 0, b""
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        high = [_above(fd) for fd in (to_read, to_write)]

        def fds() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe"]
        window = [f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"]
        self._process = subprocess.Popen(
            [str(installed()), *options, *window],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=fds,
        )
        for fd in (to_read, to_write, *high):
            os.close(fd)
        pages = self._send("Target.getTargets", at_browser=True)["targetInfos"]
        target = next(t["targetId"] for t in pages if t["type"] == "page")
        attached = self._send("Target.attachToTarget", at_browser=True, targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._send(f"{domain}.enable")
        self.resize(width, height)

    def open(self, path: Path) -> None:
        """Load a file and wait until it is whole."""
        self._send("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, script: str) -> Any:
        """What an expression gives, as JSON; a promise is awaited."""
        told = self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"]["exception"].get("description", script))
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> None:
        """Until an expression holds."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"still not so: {script}"
            time.sleep(0.02)

    def click(self, selector: str, number: int = 0) -> None:
        """A real click on the middle of an element, scrolled into view; fails where something else lies on top."""
        x, y = self.middle(selector, number)
        hit = f"document.elementFromPoint({x}, {y})"
        element = f"document.querySelectorAll({selector!r})[{number}]"
        assert self.value(f"{element}.contains({hit})"), f"{selector} is covered"
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, selector: str, share: float, number: int = 0) -> None:
        """Press at the middle of an element and pull to ``share`` of its width."""
        x, y = self.middle(selector, number)
        box = self.box(selector, number)
        end = box["x"] + share * box["width"]
        for kind, at in (
            ("mousePressed", x),
            ("mouseMoved", (x + end) / 2),
            ("mouseMoved", end),
            ("mouseReleased", end),
        ):
            self._send("Input.dispatchMouseEvent", type=kind, x=at, y=y, button="left", buttons=1, clickCount=1)

    def key(self, name: str, code: int, text: str = "") -> None:
        """Press one key on what has the focus."""
        facts = {"key": name, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        self._send("Input.dispatchKeyEvent", type="keyDown", **facts)
        self._send("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def middle(self, selector: str, number: int = 0) -> tuple[float, float]:
        """Its place on the screen, after it was scrolled into view."""
        element = f"document.querySelectorAll({selector!r})[{number}]"
        self.value(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.box(selector, number)
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def box(self, selector: str, number: int = 0) -> dict[str, float]:
        """x, y, width, height on the screen."""
        found: dict[str, float] = self.value(
            f"document.querySelectorAll({selector!r})[{number}].getBoundingClientRect().toJSON()"
        )
        return found

    def resize(self, width: int, height: int) -> None:
        """Another size of the window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, **features: str) -> None:
        """Media features, such as ``prefers_reduced_motion="reduce"``; ``media="print"`` is the printed page."""
        media = features.pop("media", "")
        wanted = [{"name": n.replace("_", "-"), "value": v} for n, v in features.items()]
        self._send("Emulation.setEmulatedMedia", media=media, features=wanted)

    def scripts(self, allowed: bool) -> None:
        """Whether pages that are opened from now on may run scripts."""
        self._send("Emulation.setScriptExecutionDisabled", value=not allowed)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """The window, or the whole page, as PNG."""
        told = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def close(self) -> None:
        """End it."""
        try:
            self._send("Browser.close", at_browser=True)
            self._process.wait(SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def _send(self, method: str, *, at_browser: bool = False, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        session = {} if at_browser else {"sessionId": self._session}
        message = {"id": self._number, "method": method, "params": parameters, **session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                answer: dict[str, Any] = told["result"]
                return answer
            self._heard(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            ready, _, _ = select.select([self._read], [], [], SECONDS)
            part = os.read(self._read, 1 << 20) if ready else b""
            assert part, "the browser does not answer"
            self._held += part
        first, _, self._held = self._held.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def _heard(self, told: dict[str, Any]) -> None:
        """Keep complaints."""
        about = told.get("params", {})
        if told.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"])[:400])
        if told.get("method") == "Log.entryAdded" and about["entry"]["level"] == "error":
            self.errors.append(about["entry"]["text"])


def _above(fd: int) -> int:
    """A copy of a file descriptor out of the way of 3 and 4."""
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
