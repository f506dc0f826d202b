"""An image factory that knows schematics: it takes them, gives them their ids, and tells them again."""

from __future__ import annotations

import json
from http import HTTPStatus

from omniherd.emulator.records import StateError
from omniherd.emulator.services.schematics import canonical, schematic_id
from omniherd.emulator.web.http import Answer, Request

__all__ = ["ImageFactory"]

_PATH = "/schematics"


class ImageFactory:
    """The part of an image factory that imports ask; it makes no images."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def know(self, schematic: str) -> str:
        """Take a schematic; return its id.

        Args:
            schematic: Its text.

        Raises:
            StateError: It is none.
        """
        text = canonical(schematic.encode())
        id_ = schematic_id(text)
        self._known[id_] = text
        return id_

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path == _PATH:
            return self._create(request) if request.method == "POST" else Answer(HTTPStatus.METHOD_NOT_ALLOWED)
        found = self._known.get(request.path.removeprefix(_PATH + "/")) if request.path.startswith(_PATH) else None
        if found is None:
            return _text(HTTPStatus.NOT_FOUND, "not found")
        return Answer(headers={"Content-Type": "application/yaml"}, body=found.encode())

    def _create(self, request: Request) -> Answer:
        try:
            id_ = self.know(request.body.decode("utf-8", "replace"))
        except StateError as error:
            return _text(HTTPStatus.BAD_REQUEST, error.message)
        body = json.dumps({"id": id_, "schematic": self._known[id_]}).encode()
        return Answer(HTTPStatus.CREATED, {"Content-Type": "application/json"}, body)


def _text(status: HTTPStatus, text: str) -> Answer:
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8"}, text.encode() + b"\n")
