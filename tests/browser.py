"""Headless Chromium driven over WebDriver, by chromedriver and the standard library alone."""

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_FLAGS = (
    "--headless=new --window-size=1600,1000 --no-sandbox --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage "
    "--use-angle=swiftshader --enable-unsafe-swiftshader"
)
_KEYS = {"Escape": "\ue00c", "ArrowRight": "\ue014", "ArrowLeft": "\ue012", "End": "\ue010", "Home": "\ue011"}


class Browser:
    """A page in a window of some size."""

    def __init__(self, base: str) -> None:
        self._base = base

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The value of a WebDriver command."""
        data = json.dumps({} if body is None else body).encode() if method == "POST" else None
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {json.load(error)['value']['message']}") from None

    def open(self, path: Path | str, ready: str = "typeof viewer === 'object' && viewer && viewer.drawn > 0") -> None:
        """A file, once the expression `ready` is true in it."""
        self.call("POST", "/url", {"url": "about:blank"})  # another fragment alone would not load the page again
        self.call("POST", "/url", {"url": path.resolve().as_uri() if isinstance(path, Path) else path})
        self.until(ready)

    def run(self, script: str) -> Any:
        """What the script returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, expression: str, seconds: float = 20) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.time() + seconds
        while not self.run(f"return Boolean({expression})"):
            if time.time() > end:
                raise TimeoutError(f"not true after {seconds} s: {expression}; log: {self.log()}")
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """A key, by its name in `KeyboardEvent.key`."""
        value = _KEYS.get(key, key)
        actions = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def drag(self, start: tuple[int, int], by: tuple[int, int], kind: str = "mouse") -> None:
        """A pointer pressed at a pixel of the window, and moved."""
        move = {"type": "pointerMove", "duration": 0, "x": start[0], "y": start[1]}
        on = {"type": "pointerMove", "duration": 60, "x": start[0] + by[0], "y": start[1] + by[1]}
        actions = [
            move,
            {"type": "pointerDown", "button": 0},
            *([on] if any(by) else []),
            {"type": "pointerUp", "button": 0},
        ]
        pointer = {"type": "pointer", "id": kind, "parameters": {"pointerType": kind}, "actions": actions}
        self.call("POST", "/actions", {"actions": [pointer]})

    def log(self) -> list[str]:
        """Errors and warnings of the console since the last call."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def media(self, **features: str) -> None:
        """Emulate media features, such as prefers_color_scheme="dark"."""
        values = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.cdp("Emulation.setEmulatedMedia", {"features": values})

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The size of the window in CSS pixels."""
        how = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone}
        self.cdp("Emulation.setDeviceMetricsOverride", how)

    def cdp(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self.call("GET", "/screenshot"))


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser for a while; the test is skipped where Chromium or its driver is not installed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found = Browser(f"http://127.0.0.1:{port}")
    try:
        session = _start(found, chromium)
        found._base += f"/session/{session}"
        yield found
        found.call("DELETE", "")
    finally:
        process.terminate()
        process.wait(timeout=10)


def _start(found: Browser, chromium: str) -> str:
    options = {"binary": chromium, "args": _FLAGS.split()}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    for _ in range(100):
        try:
            return found.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("chromedriver did not answer")
