"""What answers which path, as the real server's front does it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from omniherd.emulator.oidc import LOGIN
from omniherd.emulator.resources_api.hosted import PREFIX as RESOURCES
from omniherd.emulator.web.gateway import Gateway
from omniherd.emulator.web.http import Answer
from omniherd.emulator.web.licence import LicencePage
from omniherd.emulator.web.login import LoginPage
from omniherd.emulator.web.oidc_pages import OIDCPages
from omniherd.emulator.web.pages import STYLE, page

if TYPE_CHECKING:
    from omniherd.emulator.auth_service import AuthService
    from omniherd.emulator.oidc import OIDCProvider
    from omniherd.emulator.server import Server
    from omniherd.emulator.store import Store
    from omniherd.emulator.validators import Validators
    from omniherd.emulator.web.http import Request

__all__ = ["Site"]

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
_ALLOW = {"Allow": "OPTIONS, GET, HEAD"}
_READS = frozenset({"GET", "HEAD"})


class Site:
    """The site.

    Args:
        server: What answers the gateway's calls.
        store: The state.
        auth: What confirms keys.
        oidc: What Kubernetes clients log in at.
        validators: What the acceptance of the licence has to say.
        hosted: Whether ResourceService is refused as the hosted service does.
    """

    def __init__(
        self,
        server: Server,
        store: Store,
        auth: AuthService,
        oidc: OIDCProvider,
        validators: Validators,
        *,
        hosted: bool = False,
    ) -> None:
        self._gateway = Gateway(server)
        self._login = LoginPage(store, auth)
        self._oidc = OIDCPages(store, oidc)
        self._licence = LicencePage(store, validators)
        self._hosted = hosted

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        path = request.path
        if path == "/api" or path.startswith("/api/"):
            if self._hosted and path.startswith("/api" + RESOURCES):
                return _read_only()
            return await self._gateway.answer(request) if path != "/api" else Answer(307, {"Location": "/api/"})
        if path == "/healthz":
            if request.method in _READS:
                return Answer()
            return Answer(405, _TEXT, b"Method not allowed\n")
        if path == "/oidc" or path.startswith("/oidc/"):
            return await self._oidc.answer(request)
        if request.method in _READS or request.method == "POST":
            if path == "/authenticate":
                return _foreign(request) or await self._login.answer(request)
            if path == "/eula":
                return _foreign(request) or await self._licence.answer(request)
            if path.startswith(LOGIN):
                return _foreign(request) or await self._oidc.log_in(request)
        return self._front(request)

    @staticmethod
    def _front(request: Request) -> Answer:
        """Answer as the front that has the web page: any path is a page, and nothing can be written."""
        if request.method == "OPTIONS":
            return Answer(200, _ALLOW, packs=True)
        if request.method not in _READS:
            kind = request.header("content-type")
            if kind.startswith("application/grpc-web"):
                return Answer(415, _TEXT, f'invalid gRPC request content-type "{kind}"\n'.encode())
            return _read_only()
        if request.path == "/style.css":
            return Answer(200, {"Content-Type": "text/css; charset=utf-8"}, STYLE.encode(), packs=True)
        return page(
            "omniherd emulator",
            "This is an emulator of Omni. It has no web interface: use omnictl, omniherd or the API.",
        )


def _read_only() -> Answer:
    return Answer(405, {**_TEXT, **_ALLOW}, b"read-only\n", packs=True)


def _foreign(request: Request) -> Answer | None:
    """Refuse a form that a page from somewhere else sends, or sends a browser to; None for our own."""
    origin = request.header("origin")
    if request.method != "POST" or not origin or urlsplit(origin).netloc == request.header("host"):
        return None
    return page("Refused", "Another site sent this form.", status=403)
