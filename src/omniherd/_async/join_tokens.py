"""Join tokens: what machines show when they come."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncService
from omniherd.services import JoinConfig

if TYPE_CHECKING:
    from datetime import datetime

    from omniherd._core.service_requests import Lifetime

__all__ = ["AsyncJoinTokens"]


class AsyncJoinTokens(AsyncService):
    """Calls about join tokens. A token is a secret, and its own id."""

    service: ClassVar[str] = "management.ManagementService"

    async def create_join_token(
        self, name: str, *, expires: datetime | Lifetime | None = None, timeout: Timeout = DEFAULT
    ) -> str:
        """Make a join token and return it.

        Args:
            name: For people, up to 16 characters; several tokens may share it.
            expires: A moment with its time zone, or a length of time from now (a duration, or seconds); never by
                default.
            timeout: Seconds, instead of the client's.

        Raises:
            InputError: The moment has no time zone, or the length is not positive.
            InvalidArgument: The name is empty or too long.
            PermissionDenied: The caller is no Admin.
        """
        from omniherd._core.service_requests import expiration, time_message
        from omniherd.wire import management

        end = expiration(expires)
        request = management.CreateJoinTokenRequest(name=name)
        if end is not None:
            request.expiration_time.CopyFrom(time_message(end))
        answer = await self._call("CreateJoinToken", request, timeout=timeout)
        token: str = answer.id
        return token

    async def revoke_join_token(self, token: str, *, revoked: bool = True, timeout: Timeout = DEFAULT) -> None:
        """Stop accepting a join token, or with `revoked=False` accept it again. Machines that joined by it stay.

        Raises:
            NotFound: There is no such token.
        """
        from omniherd.resources import JoinToken

        async with self._omni.edit(JoinToken, token, timeout=timeout) as change:
            change.spec.revoked = revoked

    async def rename_join_token(self, token: str, name: str, *, timeout: Timeout = DEFAULT) -> None:
        """Give a join token another name.

        Raises:
            NotFound: There is no such token.
        """
        from omniherd.resources import JoinToken

        async with self._omni.edit(JoinToken, token, timeout=timeout) as change:
            change.spec.name = name

    async def set_default_join_token(self, token: str, *, timeout: Timeout = DEFAULT) -> None:
        """Make a join token the one that images and configurations hold by default.

        It is looked up first: the server takes any text, and a default that names no token can neither be removed nor
        used.

        Raises:
            NotFound: There is no such token.
        """
        from omniherd.resources import DefaultJoinToken, JoinToken

        await self._omni.get(JoinToken, token, timeout=timeout)
        async with self._omni.edit(DefaultJoinToken, "default", timeout=timeout) as change:
            change.spec.token_id = token

    async def delete_join_token(self, token: str, *, timeout: float | None = 60.0) -> None:
        """Remove a join token, for good.

        Args:
            token: The token.
            timeout: Seconds to wait for the server's controllers to let go of it.

        Raises:
            NotFound: There is no such token.
            DeleteTimeout: It is still held.
        """
        from omniherd.resources import JoinToken

        await self._omni.delete(JoinToken, token, timeout=timeout)

    async def machine_join_config(
        self, *, join_token: str = "", grpc_tunnel: bool = False, timeout: Timeout = DEFAULT
    ) -> JoinConfig:
        """Return what a machine needs to find this Omni: kernel arguments, and the same as a configuration.

        Args:
            join_token: The token to put in, the default one by default. The server does not check it.
            grpc_tunnel: Let the machine tunnel its connection through gRPC, where UDP does not get through.
            timeout: Seconds, instead of the client's.
        """
        from omniherd.wire import management

        request = management.GetMachineJoinConfigRequest(use_grpc_tunnel=grpc_tunnel, join_token=join_token)
        answer = await self._call("GetMachineJoinConfig", request, timeout=timeout, safe=True)
        return JoinConfig(tuple(answer.kernel_args), answer.config)
