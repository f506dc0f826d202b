"""What an image may be made of: extensions, tokens, platforms and boards, looked up at the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omniherd._core.status import during
from omniherd.errors import APIError, InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from omniherd._async.client import AsyncOmni
    from omniherd.resource import Resource

__all__ = ["AsyncMediaChecks"]


class AsyncMediaChecks:
    """Checks of the parts of an image.

    Args:
        omni: The client.
    """

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._omni!r}>"

    async def extensions(self, names: Iterable[str], talos_version: str) -> list[str]:
        """Return the full names of system extensions.

        Args:
            names: Names; a part of one stands for every extension that has it.
            talos_version: The Talos version that they are for.

        Raises:
            InputError: No extension has such a name.
            NotFound: Omni does not know that Talos version.
        """
        from omniherd._core.media import matching_extensions
        from omniherd._core.service_requests import texts
        from omniherd.resources import TalosExtension

        wanted = texts(names)
        if not wanted:
            return []
        version = talos_version.lstrip("v")
        with during(f'failed to get extensions for talos version "{talos_version}"'):
            known = await self._omni.get(TalosExtension, version)
        return matching_extensions((item.name for item in known.spec.items), wanted, talos_version)

    async def _looked_up(self, names: Iterable[str], talos_version: str) -> tuple[str, ...]:
        """Return the names for an image that is made now; omnictl says so of what fails only then."""
        what = "failed to lookup extensions"
        try:
            return tuple(await self.extensions(names, talos_version))
        except InputError as error:
            raise InputError(f"{what}: {error}") from None
        except APIError as error:
            error.details["during"] = f"{what}: {error.details.get('during', '')}"
            raise

    async def check_join_token(self, token: str = "") -> str:
        """Return the id of a join token that machines can join with.

        Args:
            token: Its id, empty for the default one.

        Raises:
            InputError: It is revoked, or has expired.
            NotFound: There is no such token.
        """
        from omniherd._core.media import check_token
        from omniherd.resources import DefaultJoinToken, JoinTokenStatus

        if not token:
            with during("failed to get default join token"):
                token = (await self._omni.get(DefaultJoinToken, "default")).spec.token_id
        with during(f'join token "{token}" not found'):
            status = await self._omni.get(JoinTokenStatus, token)
        check_token(status)
        return token

    async def _check_talos(self, version: str) -> None:
        from omniherd.resources import TalosVersion

        try:
            await self._omni.get(TalosVersion, version)
        except NotFound as error:
            error.details["during"] = f'unknown Talos version "{version}"'
            raise

    async def _check_embedding(self, version: str) -> None:
        from omniherd.resources import Quirk

        with during(f'failed to look up quirks for Talos version "{version}"'):
            quirks = await self._omni.get(Quirk, version)
        if not quirks.spec.supports_embedded_config:
            raise InputError(f'embedded machine config is not supported by Talos version "{version}"')

    async def _platform(self, name: str, architecture: str, version: str, *, secure_boot: bool) -> Resource[Any]:
        from omniherd._core.media import check_platform
        from omniherd.resources import CloudPlatformConfig

        with during(f'failed to get cloud platform config for "{name}"'):
            platform = await self._omni.get(CloudPlatformConfig, name)
        check_platform(platform, architecture, version, secure_boot=secure_boot)
        return platform

    async def _board(self, overlay: str, version: str) -> Resource[Any]:
        from omniherd._core.media import check_version
        from omniherd.resources import SBCConfig

        with during(f'failed to get SBC config for overlay "{overlay}"'):
            board = await self._omni.get(SBCConfig, overlay)
        check_version(version, board.spec.min_version, f'SBC overlay "{overlay}"')
        return board
