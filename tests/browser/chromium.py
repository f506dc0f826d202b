"""A headless Chromium, driven over a pipe with its own protocol: nothing is needed besides the program."""

import itertools
import json
import os
import shutil
import signal
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
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


def program():
    """Return the path of a Chromium, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Chromium:
    """A browser with one tab.

    Attributes:
        troubles: What the tab complained about: broken rules of its pages, failed requests.
    """

    def __init__(self, path: str, directory: Path) -> None:
        theirs_in, self._write = os.pipe()
        self._read, theirs_out = os.pipe()
        # It wants to hear on descriptor 3 and to speak on 4.
        moves = [
            (os.POSIX_SPAWN_DUP2, theirs_in, 103),
            (os.POSIX_SPAWN_DUP2, theirs_out, 104),
            (os.POSIX_SPAWN_DUP2, 103, 3),
            (os.POSIX_SPAWN_DUP2, 104, 4),
        ]
        log = os.open(directory / "chromium.log", os.O_WRONLY | os.O_CREAT, 0o600)
        moves += [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        arguments = [path, *FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"]
        environ = {**os.environ, "HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
        self._pid = os.posix_spawn(path, arguments, environ, file_actions=moves, setpgroup=0)
        for descriptor in (theirs_in, theirs_out, log):
            os.close(descriptor)
        self._numbers = itertools.count(1)
        self._rest = b""
        self._events = []
        self.troubles = []
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        self._session = None
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Accessibility", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """Make a call of the protocol, and return its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _next(self):
        while b"\0" not in self._rest:
            data = os.read(self._read, 1 << 20)
            assert data, "the browser is gone"
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        self._events.append(event)
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            self.troubles.append(f"{entry['text']} {entry.get('url', '')}")

    def _wait_for(self, method):
        while not any(event.get("method") == method for event in self._events):
            self._note(self._next())

    def go(self, url):
        """Open an address, and wait until its page is there."""
        self._events.clear()
        self.call("Page.navigate", url=url)
        self._wait_for("Page.loadEventFired")

    def press(self, *keys):
        """Press keys of the keyboard, and wait for the page that the last one leads to."""
        self._events.clear()
        for key in keys:
            text = "\r" if key == "Enter" else ""
            code = {"Tab": 9, "Enter": 13, "ArrowDown": 40}[key]
            for kind in ("keyDown", "keyUp"):
                more = {"text": text} if text and kind == "keyDown" else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)
        self._wait_for("Page.loadEventFired")

    def click(self, name):
        """Click on the button with a name, and wait for the page that it leads to."""
        self._events.clear()
        node = next(one for one in self.tree() if one["role"] == "button" and one["name"] == name)
        self.call("DOM.scrollIntoViewIfNeeded", backendNodeId=node["id"])
        quad = self.call("DOM.getBoxModel", backendNodeId=node["id"])["model"]["content"]
        spot = {"x": sum(quad[0::2]) / 4, "y": sum(quad[1::2]) / 4, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **spot)
        self._wait_for("Page.loadEventFired")

    def choose(self, text):
        """Choose an option by its text, as assistive programs do."""
        node = next(one for one in self.tree() if one["role"] == "combobox")
        found = self.call("DOM.resolveNode", backendNodeId=node["id"])["object"]["objectId"]
        choose = "function(text) { this.value = text; return this.value }"
        answer = self.call(
            "Runtime.callFunctionOn", objectId=found, functionDeclaration=choose, arguments=[{"value": text}]
        )
        assert answer["result"]["value"] == text

    def tree(self):
        """Return what assistive programs see: roles and names, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                "id": node.get("backendDOMNodeId"),
            }
            for node in nodes
            if not node["ignored"]
        ]

    def text(self):
        """Return all text of the page."""
        return " ".join(node["name"] for node in self.tree() if node["role"] == "StaticText")

    def close(self):
        """End the browser and all its processes."""
        os.close(self._write)
        os.close(self._read)
        try:
            os.killpg(self._pid, signal.SIGKILL)
        finally:
            os.waitpid(self._pid, 0)
