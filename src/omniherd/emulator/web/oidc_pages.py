"""OIDC over HTTP: the endpoints that clients call, and the page on which people say who they are."""

from __future__ import annotations

import asyncio
import json
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from omniherd.emulator.names import IDENTITY
from omniherd.emulator.oidc import CALLBACK, LOGIN, OIDCFault
from omniherd.emulator.web.http import Answer
from omniherd.emulator.web.pages import page

if TYPE_CHECKING:
    from omniherd.emulator.oidc import OIDCProvider
    from omniherd.emulator.store import Store
    from omniherd.emulator.web.http import Request

__all__ = ["OIDCPages"]

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Vary": "Origin", "X-Content-Type-Options": "nosniff"}
_JSON = {"Content-Type": "application/json", "Vary": "Origin"}
# Listed in the discovery of the real server, for clients other than kubectl's.
_ABSENT = frozenset({"/oidc/oauth/introspect", "/oidc/revoke", "/oidc/end_session", "/oidc/device_authorization"})


class OIDCPages:
    """The endpoints.

    Args:
        store: Where people are.
        provider: What is behind them.
    """

    def __init__(self, store: Store, provider: OIDCProvider) -> None:
        self._store = store
        self._provider = provider

    async def answer(self, request: Request) -> Answer:
        """Answer a request under `/oidc/`."""
        path, asked = request.path, request.form() if request.method == "POST" else request.query
        try:
            if path == "/oidc":
                return _moved("/oidc/", HTTPStatus.TEMPORARY_REDIRECT, {})
            if path == "/oidc/authorize":
                return _moved(self._provider.authorize(asked))
            if path == CALLBACK:
                return _moved(self._provider.callback(asked.get("id", "")))
            found = await asyncio.to_thread(self._content, path, request, asked)
        except OIDCFault as fault:
            return _told(fault)
        if found is not None:
            return Answer(200, _JSON, _encoded(found))
        if path in _ABSENT:
            return Answer(501, _TEXT, f"{path} is not emulated\n".encode())
        return Answer(404, _TEXT, b"404 page not found\n")

    def _content(self, path: str, request: Request, asked: dict[str, str]) -> dict[str, Any] | None:
        """Return what an endpoint has to say; None for a path that is none. The first signature takes its time."""
        if path == "/oidc/.well-known/openid-configuration":
            return self._provider.discovery()
        if path == "/oidc/keys":
            return self._provider.keys()
        if path == "/oidc/healthz":
            return {"status": "ok"}
        if path == "/oidc/oauth/token":
            return self._provider.token(asked)
        if path == "/oidc/userinfo":
            return self._provider.userinfo(request.header("authorization").removeprefix("Bearer "))
        return None

    async def log_in(self, request: Request) -> Answer:
        """Show the page of a client that waits, or log somebody in there."""
        id_ = request.path.removeprefix(LOGIN)
        try:
            waiting = self._provider.find(id_)
            if request.method == "POST":
                identity = request.form().get("identity", "")
                if self._store.find("default", IDENTITY, identity) is None:
                    return page("Unknown user", f"There is no user {identity} on this server.", status=403)
                location, code = self._provider.log_in(id_, identity)
                if location:
                    return _moved(location, HTTPStatus.SEE_OTHER)
                return page("Logged in", "Type this code where you began the login.", facts={"Code": code})
        except OIDCFault as fault:
            return page("No login", f"{fault.text}. Start the login again.", status=404)
        people = [identity.id for identity in self._store.list("default", IDENTITY)]
        return page(
            "Log in to Kubernetes",
            "A client wants to use clusters in your name. Confirm only a login that you have just begun.",
            facts={"Asked for": " ".join(waiting.scopes), "Client at": waiting.redirect},
            form=(request.path, {}, "Log in"),
            choice=("identity", "Log in as", people),
        )


def _moved(location: str, status: int = HTTPStatus.FOUND, headers: dict[str, str] | None = None) -> Answer:
    text = f'<a href="{escape(location)}">{HTTPStatus(status).phrase}</a>.\n\n'
    kind = {"Content-Type": "text/html; charset=utf-8", "Location": location}
    return Answer(status, {**kind, **({"Vary": "Origin"} if headers is None else headers)}, text.encode())


def _told(fault: OIDCFault) -> Answer:
    if fault.location:
        return _moved(fault.location)
    if not fault.error:
        return Answer(fault.status, _TEXT, f"{fault.text}\n".encode())
    told = {"error": fault.error, **({"error_description": fault.text} if fault.text else {})}
    return Answer(fault.status, _JSON, _encoded(told))


def _encoded(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"
