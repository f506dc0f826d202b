"""The management calls that make schematics, as an image factory does: their id is the digest of their text."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from omniherd._core.pool import message
from omniherd.emulator.catalog import join_arguments
from omniherd.emulator.records import StateError
from omniherd.emulator.services.guards import PREFIX, found, missing_here, require

if TYPE_CHECKING:
    from omniherd.emulator.server import Incoming, Method
    from omniherd.emulator.store import Store

__all__ = ["SchematicCalls"]

_MEDIA = "InstallationMedias.omni.sidero.dev"
_KNOWN = frozenset({"extensions", "extra_kernel_args", "talos_version", "join_token"})


class SchematicCalls:
    """The calls.

    Args:
        store: The state.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def methods(self) -> dict[str, Method]:
        """Return what answers, by path."""
        return {PREFIX + "CreateSchematic": self.create}

    async def create(self, call: Incoming, request: Any) -> Any:
        """Answer CreateSchematic for kernel arguments and extensions."""
        require(call)
        if request.talos_version and not re.fullmatch(r"v?\d+\.\d+\.\d+(?:-[\w.]+)?", request.talos_version):
            raise StateError("INVALID_ARGUMENT", "invalid Talos version")
        if request.media_id:
            found(self._store, "ephemeral", _MEDIA, request.media_id)
        for field, _ in request.ListFields():
            if field.name not in _KNOWN:
                raise missing_here(call, f"make schematics with {field.name}")
        token = request.join_token
        if not token:
            token = self._store.get("default", "DefaultJoinTokens.omni.sidero.dev", "default").decode().token_id
        text = _text([*join_arguments(token), *request.extra_kernel_args], sorted(request.extensions))
        digest = hashlib.sha256(text.encode()).hexdigest()
        return message("management.CreateSchematicResponse")(schematic_id=digest, schematic_yml=text)


def _text(arguments: list[str], extensions: list[str]) -> str:
    from omniherd.yamlform import dump

    customization: dict[str, Any] = {"extraKernelArgs": arguments}
    if extensions:
        customization["systemExtensions"] = {"officialExtensions": extensions}
    return dump({"customization": customization})
