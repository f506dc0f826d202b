"""The part of ManagementService that is about images: schematics and where to fetch what they describe."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omniherd._async.channel import DEFAULT, Timeout
from omniherd._async.service import AsyncService
from omniherd.services import BootAsset, Bootloader, GRPCTunnel, Schematic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["AsyncImages"]


class AsyncImages(AsyncService):
    """Calls about installation images."""

    service: ClassVar[str] = "management.ManagementService"

    async def create_schematic(
        self,
        *,
        talos_version: str = "",
        extensions: Iterable[str] = (),
        extra_kernel_args: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        meta_values: Mapping[int, str] | None = None,
        media_id: str = "",
        grpc_tunnel: GRPCTunnel = "auto",
        join_token: str = "",
        overlay: tuple[str, str, str] | None = None,
        bootloader: Bootloader = "auto",
        embedded_machine_config: str = "",
        image_factory_url: str = "",
        timeout: Timeout = 120.0,
    ) -> Schematic:
        """Register an image's contents with the image factory. The same contents give the same id.

        The server refuses neither unknown extensions nor unknown join tokens: an image with one of them is of no use.

        Args:
            talos_version: The Talos version, without a leading `v`; some contents depend on it.
            extensions: Names of system extensions, `siderolabs/gvisor`.
            extra_kernel_args: Kernel arguments in addition to those that make the machine join.
            labels: What machines of this image are labelled with from the start (see `image_labels`).
            meta_values: Values of Talos's META partition by key.
            media_id: Id of an InstallationMedia resource.
            grpc_tunnel: Whether machines tunnel their connection through gRPC; `auto` leaves it to the server.
            join_token: The token in the image, the default one by default.
            overlay: Image, name and options (YAML text) of a board's overlay.
            bootloader: The boot loader.
            embedded_machine_config: A machine configuration that is in the image.
            image_factory_url: Another image factory.
            timeout: Seconds; the server asks the factory.

        Raises:
            InvalidArgument: The version is none.
            UnknownError: There is no such installation medium, or the factory refuses.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd._core.service_requests import enum_value, image_labels, texts
        from omniherd.wire import management

        request = management.CreateSchematicRequest(
            talos_version=talos_version,
            extensions=texts(extensions),
            extra_kernel_args=texts(extra_kernel_args),
            media_id=media_id,
            siderolink_grpc_tunnel_mode=enum_value(
                "management.CreateSchematicRequest.SiderolinkGRPCTunnelMode", "", grpc_tunnel
            ),
            join_token=join_token,
            bootloader=enum_value("management.SchematicBootloader", "BOOT_", bootloader),
            embedded_machine_config=embedded_machine_config,
            image_factory_url=image_factory_url,
        )
        values = {**(image_labels(labels) if labels else {}), **(meta_values or {})}
        for key, value in values.items():
            request.meta_values[key] = value
        if overlay is not None:
            request.overlay.image, request.overlay.name, request.overlay.options = overlay
        return _schematic(await self._call("CreateSchematic", request, timeout=timeout))

    async def create_schematic_from_raw(
        self, schematic: str | bytes, *, talos_version: str = "", timeout: Timeout = 120.0
    ) -> Schematic:
        """Register a schematic that is written as the factory's YAML.

        Args:
            schematic: The YAML.
            talos_version: The Talos version, without a leading `v`.
            timeout: Seconds; the server asks the factory.

        Raises:
            UnknownError: It is no schematic.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.wire import management

        request = management.CreateSchematicFromRawRequest(
            raw_schematic=schematic.encode() if isinstance(schematic, str) else schematic, talos_version=talos_version
        )
        return _schematic(await self._call("CreateSchematicFromRaw", request, timeout=timeout))

    async def boot_asset_url(
        self,
        schematic_id: str,
        talos_version: str,
        *,
        kind: Literal["pxe", "iso", "disk"],
        platform: str = "metal",
        architecture: str = "amd64",
        format: str = "",  # noqa: A002 - the field's name for it
        secure_boot: bool = False,
        standalone_url: bool = False,
        timeout: Timeout = DEFAULT,
    ) -> BootAsset:
        """Return where an image is fetched from. Servers up to 1.9.3 do not know this call.

        Args:
            schematic_id: The image's contents.
            talos_version: The Talos version.
            kind: What it is for.
            platform: `metal`, or a cloud.
            architecture: `amd64` or `arm64`.
            format: Of a disk image: `raw.xz`, `qcow2`.
            secure_boot: Whether it is signed for UEFI Secure Boot.
            standalone_url: A URL that works without headers.
            timeout: Seconds, instead of the client's.

        Raises:
            Unimplemented: The server is too old.
        """
        from omniherd._core.service_requests import enum_value
        from omniherd.wire import management

        request = management.BootAssetURLRequest(
            schematic_id=schematic_id,
            talos_version=talos_version,
            boot_asset_kind=enum_value("management.BootAssetURLRequest.BootAssetKind", "BOOT_ASSET_KIND_", kind),
            platform=platform,
            architecture=architecture,
            format=format,
            secure_boot=secure_boot,
            standalone_url=standalone_url,
        )
        answer = await self._call("GetBootAssetURL", request, timeout=timeout, safe=True)
        return BootAsset(answer.url, dict(answer.headers), answer.image_factory_host, answer.storage_key)


def _schematic(answer: Any) -> Schematic:
    return Schematic(answer.schematic_id, answer.pxe_url, answer.grpc_tunnel_enabled, answer.schematic_yml)
