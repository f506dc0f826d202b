"""`omni.auth`: keys of people, registered, confirmed and revoked."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncService
from omniherd.errors import DeadlineExceeded, WaitTimeout
from omniherd.services import Confirmation

if TYPE_CHECKING:
    from datetime import datetime

    from omniherd.signing import PGPKey, PublicKey

__all__ = ["AsyncAuth"]

CONFIRM_TIMEOUT = 300.0
"""Seconds in which a person is expected to confirm a key; the server, too, waits for five minutes at a time."""


class AsyncAuth(AsyncService):
    """Omni's AuthService; `omni.auth`. A whole login in the browser is `omniherd.AsyncLogin`."""

    service: ClassVar[str] = "auth.AuthService"

    async def register_public_key(
        self,
        key: PGPKey | PublicKey | str | bytes,
        email: str,
        *,
        role: str | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Confirmation:
        """Register a person's OpenPGP key. It is refused in use until its owner confirms it.

        The server also answers so for people that it does not know. Registering a key again is fine.

        Args:
            key: The key; of a private one the public half is sent. Text is armored, bytes are as they come.
            email: The identity that it is for.
            role: The role to register for the key, instead of the person's own.
            timeout: Seconds, instead of the client's.

        Raises:
            UnknownError: The key lives over 8 hours, has expired, or is none.
        """
        from omniherd.wire import auth

        request = auth.RegisterPublicKeyRequest(
            public_key=auth.PublicKey(pgp_data=_public(key)), identity=auth.Identity(email=email)
        )
        if role is not None:
            request.role, request.skip_user_role = role, True
        return await self._register(request, timeout)

    async def register_plain_key(
        self,
        pem: str,
        email: str,
        *,
        not_before: datetime,
        not_after: datetime,
        role: str | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Confirmation:
        """Register a person's plain ECDSA key, as browsers make them.

        Args:
            pem: The public key.
            email: The identity that it is for.
            not_before: From when it is good; with a time zone.
            not_after: From when it is refused; at most 8 hours from now.
            role: The role to register for the key, instead of the person's own.
            timeout: Seconds, instead of the client's.

        Raises:
            InvalidArgument: The key is none, or has expired.
        """
        from omniherd._core.service_requests import time_message
        from omniherd.wire import auth

        plain = auth.PublicKey.Plain(key_pem=pem)
        plain.not_before.CopyFrom(time_message(not_before))
        plain.not_after.CopyFrom(time_message(not_after))
        request = auth.RegisterPublicKeyRequest(
            public_key=auth.PublicKey(plain_key=plain), identity=auth.Identity(email=email)
        )
        if role is not None:
            request.role, request.skip_user_role = role, True
        return await self._register(request, timeout)

    async def _register(self, request: Any, timeout: Timeout) -> Confirmation:
        # Registering twice does no harm, so that a broken connection is no reason to give up.
        answer = await self._call("RegisterPublicKey", request, timeout=timeout, safe=True)
        return Confirmation(answer.login_url, answer.public_key_id)

    async def await_confirmation(self, public_key_id: str, *, timeout: float | None = CONFIRM_TIMEOUT) -> None:
        """Wait until a key is confirmed. A confirmed one returns at once; an unknown one never does.

        Args:
            public_key_id: The key's id.
            timeout: Seconds, None for no bound.

        Raises:
            WaitTimeout: Nobody confirmed it in time.
        """
        from omniherd.wire import auth

        request = auth.AwaitPublicKeyConfirmationRequest(public_key_id=public_key_id).SerializeToString()
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise WaitTimeout(
                    f"nobody confirmed the key {public_key_id} within {timeout:g} s",
                    hint="log in again, and confirm the key in the browser",
                )
            try:
                await self._omni.channel.unary(
                    f"/{self.service}/AwaitPublicKeyConfirmation", request, timeout=left, safe=True, long=True
                )
            except DeadlineExceeded:
                # Ours, which the next round sees, or the server's own, after which it is asked again.
                continue
            return

    async def confirm(self, public_key_id: str, id_token: str, *, timeout: Timeout = DEFAULT) -> None:
        """Confirm a key, as the login page does.

        Args:
            public_key_id: The key's id.
            id_token: The identity provider's token of the key's owner.
            timeout: Seconds, instead of the client's.

        Raises:
            Unauthenticated: The token is none.
            UnknownError: The token names no verified e-mail address.
        """
        from omniherd.wire import auth

        await self._omni.call(
            f"/{self.service}/ConfirmPublicKey",
            auth.ConfirmPublicKeyRequest(public_key_id=public_key_id),
            metadata=[("authorization", f"Bearer {id_token}")] if id_token else [],
            timeout=timeout,
        )

    async def revoke(self, public_key_id: str, *, timeout: Timeout = DEFAULT) -> None:
        """Revoke a key of the caller's own that was registered.

        Raises:
            PermissionDenied: It is somebody else's.
            UnknownError: There is no such key, or it is a service account's.
        """
        from omniherd.wire import auth

        await self._call("RevokePublicKey", auth.RevokePublicKeyRequest(public_key_id=public_key_id), timeout=timeout)


def _public(key: PGPKey | PublicKey | str | bytes) -> bytes:
    from omniherd.signing import PGPKey, PublicKey

    if isinstance(key, PGPKey):
        return key.public_armored.encode()
    if isinstance(key, PublicKey):
        return key.armored.encode()
    return key.encode() if isinstance(key, str) else key
