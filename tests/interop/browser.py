"""Headless Chromium, asked through its debugging pipe: a page as a reader sees it, and whatever it complains about."""

from __future__ import annotations

import json
import os
import subprocess

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1000",
)
LOGGED = ("--enable-logging=stderr", "--v=0")
NOISE = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.requestWillBeSent")


class Browser:
    """One page of a headless Chromium. `events` keeps every console entry, exception and request by its method's name."""

    def __init__(self, chromium, profile):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        self.events = []
        self._number = 0
        self._rest = b""
        self._session = None

        # The browser reads its commands from descriptor 3 and answers on 4; a shell puts them there.
        script = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$0" "$@"'
        self.process = subprocess.Popen(
            ["bash", "-c", script, str(chromium), *OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe"],
            pass_fds=(to_browser, from_browser),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method, **parameters):
        """Send a command and return its result; what happens meanwhile is kept in `events`."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        return self._read_until(lambda answer: answer.get("id") == self._number)["result"]

    def _read_until(self, wanted):
        while True:
            while b"\0" not in self._rest:
                data = os.read(self._in, 1 << 16)
                assert data, "the browser ended"
                self._rest += data
            text, self._rest = self._rest.split(b"\0", 1)
            message = json.loads(text)
            if message.get("method") in NOISE:
                self.events.append(message)
            if wanted(message):
                return message

    def open(self, url):
        """Load a page afresh and wait until it is there."""
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)
        self._read_until(lambda message: message.get("method") == "Page.frameStoppedLoading")
        assert self.run("document.readyState") == "complete"

    def run(self, expression):
        """The value of an expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector):
        """The visible text of the first element that a selector finds."""
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText")

    def complaints(self):
        """Everything in the console that is no mere information, and every request that left the file."""
        return [
            event
            for event in self.events
            if event["method"] != "Network.requestWillBeSent"
            or not event["params"]["request"]["url"].startswith(("file:", "about:", "data:"))
        ]

    def close(self):
        """End the browser by its own process id."""
        os.close(self._out)
        os.close(self._in)
        self.process.kill()
        self.process.wait(timeout=30)
