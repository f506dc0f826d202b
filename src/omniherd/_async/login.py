"""A person's login in the browser."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from omniherd._async.auth import CONFIRM_TIMEOUT, AsyncAuth
from omniherd._async.channel import AsyncChannel
from omniherd._async.client import AsyncOmni
from omniherd._backend.tls import TLS
from omniherd._core.login import login_key, login_target, present
from omniherd.credentials import USER_KEY_LIFETIME
from omniherd.errors import OmniError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from omniherd.credentials import Connection
    from omniherd.signing import PGPKey

__all__ = ["AsyncLogin"]


class AsyncLogin:
    """A login: a new key is made, registered, stored, and confirmed by its owner in the browser.

    The key goes where omnictl looks for it, too. It is stored before it is confirmed, so that a login that was broken
    off here and finished in the browser counts.

    Args:
        connection: What `omniherd.credentials.resolve` returned, for a context with an identity.
        ca: As in `AsyncOmni.connect`, like the next two.
        server_name: The name that the server's certificate bears.
        insecure_skip_tls_verify: Trust whatever certificate the server presents first.
        lifetime: How long the key lives; the server takes 8 hours at most.

    Attributes:
        key: The new key, once `start` made it.
        path: The file that it is in.

    Raises:
        ConfigError: The connection is no person's.

    Example:
        >>> connection = resolve(context="lab")
        >>> if connection.problem:
        ...     async with AsyncLogin(connection) as login:
        ...         connection = await login.run()
        >>> omni = AsyncOmni.connect(connection=connection)
    """

    def __init__(
        self,
        connection: Connection,
        *,
        ca: str | os.PathLike[str] | bytes | None = None,
        server_name: str | None = None,
        insecure_skip_tls_verify: bool = False,
        lifetime: timedelta = USER_KEY_LIFETIME,
    ) -> None:
        self._context, self.identity, self._store = login_target(connection)
        self._connection = connection
        self._lifetime = lifetime
        tls = TLS(ca=ca, server_name=server_name, insecure_skip_verify=insecure_skip_tls_verify)
        # Nothing is signed: there is no key that the server would take.
        channel = AsyncChannel(connection.endpoint, None, tls=tls)
        self._omni = AsyncOmni(connection, channel)
        self.key: PGPKey | None = None
        self.path: str | None = None

    async def start(self) -> str:
        """Make a key, register and store it in the place of the old one; return the page to confirm it on.

        Raises:
            APIError: The server refused, or did not answer.
            CredentialError: The key cannot be stored.
        """
        key = login_key(self.identity, self._lifetime)
        confirmation = await AsyncAuth(self._omni).register_public_key(key, self.identity)
        self._store.delete(self._context, self.identity)
        self.path = self._store.save(self._context, self.identity, key)
        self.key = key
        return confirmation.login_url

    async def wait(self, timeout: float | None = CONFIRM_TIMEOUT) -> Connection:
        """Wait until the key is confirmed, and return the connection with it.

        Args:
            timeout: Seconds, None for no bound.

        Raises:
            WaitTimeout: Nobody confirmed it in time.
            APIError: The server did not answer.
        """
        if self.key is None:
            raise OmniError("the login has not been started", hint="call start() first")
        await AsyncAuth(self._omni).await_confirmation(self.key.fingerprint, timeout=timeout)
        return dataclasses.replace(self._connection, signer=self.key, problem=None)

    async def run(
        self, show: Callable[[str], object] = present, *, timeout: float | None = CONFIRM_TIMEOUT
    ) -> Connection:
        """Do all of it.

        Args:
            show: Called with the page's URL. By default a browser opens on a desktop; off a terminal, over SSH, in CI
                and with `BROWSER=echo` the URL is written to standard error instead.
            timeout: Seconds for the confirmation, None for no bound.

        Returns:
            The connection with the new key, for `AsyncOmni.connect(connection=...)`.

        Raises:
            WaitTimeout: Nobody confirmed the key in time.
            APIError: The server refused, or did not answer.
            CredentialError: The key cannot be stored.
        """
        show(await self.start())
        return await self.wait(timeout)

    async def close(self) -> None:
        """Close the connection."""
        await self._omni.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.identity} at {self._connection.endpoint.url}>"
