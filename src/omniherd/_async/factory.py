"""The image factory that Omni names, asked from here."""
# ruff: noqa: ASYNC109 - a timeout here is seconds of silence

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from omniherd._backend import aio as backend
from omniherd._core.status import during
from omniherd.errors import OmniError

if TYPE_CHECKING:
    from omniherd._async.client import AsyncOmni

__all__ = ["AsyncFactory", "basic_authorization"]

_SILENCE = 10.0


class AsyncFactory:
    """An image factory.

    Args:
        omni: The client of the Omni that names it.
    """

    def __init__(self, omni: AsyncOmni) -> None:
        self._omni = omni

    async def features(self) -> Any:
        """Return the spec of the resource that names the factory."""
        from omniherd.resources import FeaturesConfig

        return (await self._omni.get(FeaturesConfig, "features-config")).spec

    async def login(self, features: Any) -> tuple[str, str] | None:
        """Return the user and password that it wants, None where it wants none.

        Args:
            features: What `features` returned.
        """
        from omniherd.resources import ImageFactoryAuth

        if not features.is_enterprise_image_factory:
            return None
        with during("failed to get image factory auth"):
            login = (await self._omni.get(ImageFactoryAuth, "image-factory-auth")).spec
        return (login.username, login.password) if login.username and login.password else None

    async def ensure(self, schematic: str, *, timeout: float = _SILENCE) -> str:
        """Make sure that it knows a schematic; return the id that it gives to it.

        Args:
            schematic: Its YAML text.
            timeout: Seconds of silence after which it is given up.

        Raises:
            OmniError: It refuses, or Omni names none.
            Unavailable: It cannot be reached.
        """
        from omniherd._backend.web import post

        with during("error reading features config"):
            features = await self.features()
        url = features.image_factory_base_url
        if not url:
            raise OmniError("image factory base URL is empty")
        authorization = basic_authorization(await self.login(features))

        def work() -> bytes:
            return post(
                url.rstrip("/") + "/schematics",
                schematic.encode(),
                kind="application/yaml",
                refused="failed to create schematic",
                authorization=authorization,
                tls=self._omni.channel.tls,
                timeout=timeout,
            )

        try:
            id_ = json.loads(await backend.in_thread(work))["id"]
        except (ValueError, KeyError, TypeError):
            raise OmniError("failed to create schematic: the image factory's answer makes no sense") from None
        return str(id_)


def basic_authorization(login: tuple[str, str] | None) -> str:
    """Return the header for a user and password, empty for none."""
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}" if login else ""
