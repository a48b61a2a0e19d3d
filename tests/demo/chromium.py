"""A headless Chromium controlled with the Chrome DevTools Protocol through a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
CONSOLE_EVENTS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
TIMEOUT = 60.0  # seconds to wait for an answer of the browser
Message = dict[str, object]
Point = tuple[float, float]


def find_chromium() -> str | None:
    """Return the path of the browser, or None if it is not installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, names) if path is not None), None)


class Chromium:
    """One page of a headless browser.

    Attributes:
        console: Console messages and uncaught errors of the page.
        requests: Addresses that the page requested.
    """

    def __init__(self, executable: str, profile: Path) -> None:
        commands, answers = _pipe(), _pipe()  # each a read end and a write end
        self._commands, self._answers = commands[1], answers[0]
        duplicates = [(os.POSIX_SPAWN_DUP2, commands[0], 3), (os.POSIX_SPAWN_DUP2, answers[1], 4)]
        quiet = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
        arguments = [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(
            executable, arguments, os.environ, file_actions=[*duplicates, *quiet]
        )
        for end in (commands[0], answers[1]):
            os.close(end)
        self._last_id = 0
        self._buffer = b""
        self._session: str | None = None
        self.console: list[object] = []
        self.requests: list[object] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the browser and wait until its process ends."""
        self._session = None
        with contextlib.suppress(OSError, TimeoutError):
            self.call("Browser.close")
        deadline = time.monotonic() + 10
        while os.waitpid(self._pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(self._pid, signal.SIGKILL)
            time.sleep(0.05)
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **parameters: object) -> Message:
        """Send a command, and return its result."""
        self._last_id += 1
        message: Message = {"id": self._last_id, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next_message()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, (method, answer["error"])
                result = answer["result"]
                assert isinstance(result, dict)
                return result
            self._record(answer)

    def _next_message(self) -> Message:
        while b"\0" not in self._buffer:
            if not select.select([self._answers], [], [], TIMEOUT)[0]:
                raise TimeoutError(f"the browser must answer within {TIMEOUT:g} s, got no answer")
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise BrokenPipeError("the browser must stay alive, got a closed pipe")
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: object = json.loads(text)
        assert isinstance(message, dict)
        return message

    def _record(self, event: Message) -> None:
        parameters = event.get("params")
        if not isinstance(parameters, dict):
            return
        if event["method"] in CONSOLE_EVENTS:
            self.console.append(parameters)
        elif event["method"] == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression in the page."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        result = found["result"]
        assert isinstance(result, dict)
        return result.get("value")

    def open(self, page: Path, *, width: int = 1280, height: int = 800) -> None:
        """Open a file, and wait until it is rendered."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=page.as_uri())
        while self.evaluate("document.readyState + location.href") != f"complete{page.as_uri()}":
            time.sleep(0.02)
        self.wait_for_frame()

    def wait_for_frame(self) -> None:
        """Wait until the current state of the page is rendered."""
        self.evaluate("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")

    def place(self, selector: str, x: float = 0.5, y: float = 0.5) -> Point:
        """Return a point of an element in window pixels; x and y are 0 to 1 across the element."""
        found = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        assert isinstance(found, list)
        left, top, width, height = found
        return left + x * width, top + y * height

    def mouse(self, kind: str, point: Point) -> None:
        """Move, press or release the mouse."""
        buttons = 0 if kind == "mouseMoved" else 1
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=point[0],
            y=point[1],
            button="left",
            buttons=buttons,
            clickCount=1,
        )

    def click(self, selector: str, x: float = 0.5, y: float = 0.5) -> None:
        """Click on a point of an element."""
        point = self.place(selector, x, y)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.mouse(kind, point)
        self.wait_for_frame()

    def draw(self, points: Iterable[Point]) -> None:
        """Draw one stroke on the board with the mouse; points are 0 to 1 across the board."""
        path = _interpolate(points)
        self.mouse("mousePressed", self.place("#board", *path[0]))
        for point in path[1:]:
            x, y = self.place("#board", *point)
            self.call(
                "Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y, button="left", buttons=1
            )
        self.mouse("mouseReleased", self.place("#board", *path[-1]))
        self.wait_for_frame()

    def touch(self, points: Iterable[Point]) -> None:
        """Draw one stroke on the board with a finger."""
        for index, point in enumerate(_interpolate(points)):
            x, y = self.place("#board", *point)
            kind = "touchStart" if index == 0 else "touchMove"
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
        self.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.wait_for_frame()

    def press(self, key: str, *, times: int = 1) -> None:
        """Press and release a key several times."""
        texts = {"Enter": "\r"}
        text = {"text": texts.get(key, key)} if key in texts or len(key) == 1 else {}
        codes = {
            "Tab": 9,
            "Enter": 13,
            "ArrowLeft": 37,
            "ArrowUp": 38,
            "ArrowRight": 39,
            "ArrowDown": 40,
        }
        number = {"windowsVirtualKeyCode": codes[key]} if key in codes else {}
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call("Input.dispatchKeyEvent", type=kind, key=key, **text, **number)
        self.wait_for_frame()


def _pipe() -> tuple[int, int]:
    """Return a pipe without the descriptors 3 and 4, which the browser uses."""
    ends = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return high[0], high[1]


def _interpolate(points: Iterable[Point], pieces: int = 6) -> list[Point]:
    """Return the corners of a stroke with intermediate points, like those of a hand."""
    corners = list(points)
    path = corners[:1]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        path += [
            (x0 + (x1 - x0) * k / pieces, y0 + (y1 - y0) * k / pieces) for k in range(1, pieces + 1)
        ]
    return path
