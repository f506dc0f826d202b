"""An image factory on this machine: it sends the same bytes for every image, and notes what it was asked."""

from __future__ import annotations

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = bytes(range(256)) * 4096


class Factory:
    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str | None]] = []
        # What is done instead of sending the image: a status with a text, or a number of bytes after which it breaks.
        self.refuse: tuple[int, str] | None = None
        self.break_after: int | None = None
        self.redirect: str | None = None
        # Sends the rest only when this is set.
        self.gate: threading.Event | None = None


@contextlib.contextmanager
def image_factory() -> Iterator[Factory]:
    factory = Factory()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None: ...

        def do_GET(self) -> None:
            factory.asked.append((self.path, self.headers.get("Authorization")))
            if factory.redirect is not None and not self.path.startswith("/elsewhere"):
                self.send_response(302)
                self.send_header("Location", factory.redirect)
                self.end_headers()
                return
            if factory.refuse is not None:
                status, text = factory.refuse
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(IMAGE)))
            self.end_headers()
            half = len(IMAGE) // 2
            if factory.break_after is not None:
                self.wfile.write(IMAGE[: factory.break_after])
                return
            with contextlib.suppress(OSError):
                self.wfile.write(IMAGE[:half])
                self.wfile.flush()
                if factory.gate is not None:
                    factory.gate.wait(30)
                self.wfile.write(IMAGE[half:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    factory.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield factory
    finally:
        if factory.gate is not None:
            factory.gate.set()
        server.shutdown()
        server.server_close()
