"""`omni.oidc`: the last step of a Kubernetes client's login."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import ClassVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncService
from omniherd.services import AuthorizationCode

__all__ = ["AsyncOIDC"]


class AsyncOIDC(AsyncService):
    """Omni's OIDCService; `omni.oidc`."""

    service: ClassVar[str] = "oidc.OIDCService"

    async def authenticate(self, auth_request_id: str, *, timeout: Timeout = DEFAULT) -> AuthorizationCode:
        """Approve the login of a Kubernetes client as the caller.

        Args:
            auth_request_id: From the URL of the page that the client opened.
            timeout: Seconds, instead of the client's.

        Raises:
            APIError: There is no such request, or it has been used.
        """
        from omniherd.wire import oidc

        answer = await self._call(
            "Authenticate", oidc.AuthenticateRequest(auth_request_id=auth_request_id), timeout=timeout
        )
        return AuthorizationCode(answer.redirect_url, answer.auth_code)
