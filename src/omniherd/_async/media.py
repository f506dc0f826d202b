"""`omni.media`: installation media, in the order of calls in which omnictl makes them."""
# ruff: noqa: ASYNC109 - a timeout here is a gRPC deadline

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd._async.factory import AsyncFactory, basic_authorization
from omniherd._async.media_checks import AsyncMediaChecks
from omniherd._backend import aio as backend
from omniherd._core.status import during
from omniherd.errors import InputError, NotFound
from omniherd.services import MediaFile, MediaRecipe

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from omniherd._async.channel import Timeout
    from omniherd.resource import Resource
    from omniherd.services import Bootloader, GRPCTunnel

__all__ = ["AsyncMedia"]

_SILENCE = 120.0
_TUNNELS: tuple[GRPCTunnel, ...] = ("auto", "enabled", "disabled")
_BOOTLOADERS: tuple[Bootloader, ...] = ("auto", "dual", "sd", "grub")


class AsyncMedia(AsyncMediaChecks):
    """Installation media; `omni.media`.

    A preset is stored at the server; a recipe is what goes into one image, from a preset or from a medium that Omni
    knows; building it gives a file that can be fetched.

    Example:
        >>> await omni.media.create_preset("edge", extensions=["gvisor"], labels={"site": "fra"})
        >>> recipe = await omni.media.preset_recipe("edge", format="raw")
        >>> path = await omni.media.download(await omni.media.build(recipe), "images")
    """

    # --- presets --------------------------------------------------------------------------------------------------

    async def presets(self) -> list[Resource[Any]]:
        """Return the presets, InstallationMediaConfigs."""
        from omniherd.resources import InstallationMediaConfig

        return list(await self._omni.list(InstallationMediaConfig))

    async def create_preset(
        self,
        name: str,
        *,
        architecture: str = "amd64",
        talos_version: str = "",
        platform: str = "",
        overlay: str = "",
        overlay_options: str = "",
        extensions: Iterable[str] = (),
        kernel_args: str = "",
        labels: Mapping[str, str] | None = None,
        secure_boot: bool = False,
        join_token: str = "",
        grpc_tunnel: GRPCTunnel = "auto",
        bootloader: Bootloader = "auto",
        embedded_machine_config: str = "",
    ) -> Resource[Any]:
        """Store a preset. Everything is checked first, as the server checks little of it.

        Args:
            name: Its id.
            architecture: `amd64` or `arm64`.
            talos_version: The Talos version; empty for the default one at the time of a download.
            platform: A cloud: `aws`. Empty for bare metal.
            overlay: A board: `rpi_generic`.
            overlay_options: Options of the board's overlay, as YAML.
            extensions: System extensions; a part of a name stands for every extension that has it.
            kernel_args: Kernel arguments in addition to those that make the machine join.
            labels: What machines of the image are labelled with from the start.
            secure_boot: Whether the image is signed for UEFI Secure Boot.
            join_token: Id of a token; empty for the default one at the time of a download.
            grpc_tunnel: Whether machines tunnel their connection through gRPC; `auto` leaves it to the server.
            bootloader: The boot loader.
            embedded_machine_config: A machine configuration to put into the image.

        Returns:
            The InstallationMediaConfig.

        Raises:
            InputError: The parts do not go together.
            NotFound: There is no such platform, board, token or Talos version; `details["during"]` says which.
            AlreadyExists: There is such a preset.
            PermissionDenied: The caller is no Operator.
        """
        from omniherd._core.media import DEFAULT_TALOS_VERSION, architecture_number
        from omniherd.resources import InstallationMediaConfig

        if platform and overlay:
            raise InputError("a preset is for a cloud or for a board, not for both")
        number = architecture_number(architecture)
        if join_token:
            await self.check_join_token(join_token)
        version = talos_version.removeprefix("v")
        checked = version or DEFAULT_TALOS_VERSION
        spec: dict[str, Any] = {
            "talos_version": version,
            "architecture": number,
            "install_extensions": await self.extensions(extensions, checked),
            "kernel_args": kernel_args,
            "machine_labels": dict(labels or {}),
            "join_token": join_token,
            "secure_boot": secure_boot,
            "grpc_tunnel": _TUNNELS.index(grpc_tunnel),
            "bootloader": _BOOTLOADERS.index(bootloader),
            "embedded_machine_config": embedded_machine_config,
        }
        if embedded_machine_config:
            await self._check_embedding(checked)
        if platform:
            await self._platform(platform, architecture, checked, secure_boot=secure_boot)
            spec["cloud"] = {"platform": platform}
        if overlay:
            await self._board(overlay, checked)
            spec["sbc"] = {"overlay": overlay, "overlay_options": overlay_options}
        preset = InstallationMediaConfig(name, spec=spec)
        # The server sets `created` alone, and takes this as it is given.
        preset.metadata.proto.updated.seconds = int(time.time())
        with during("failed to create installation media preset"):
            return await self._omni.create(preset)

    async def delete_preset(self, name: str) -> bool:
        """Remove a preset; tell whether there was one.

        Raises:
            PermissionDenied: The caller is no Operator.
        """
        from omniherd.resources import InstallationMediaConfig

        try:
            with during(f'failed to delete installation media preset "{name}"'):
                await self._omni.teardown_and_destroy(InstallationMediaConfig, name)
        except NotFound:
            return False
        return True

    # --- what an image is made of ---------------------------------------------------------------------------------

    async def medium_recipe(
        self,
        name: str,
        *,
        architecture: str = "amd64",
        talos_version: str = "",
        extensions: Iterable[str] = (),
        kernel_args: Iterable[str] = (),
        labels: Mapping[str, str] | None = None,
        secure_boot: bool = False,
        grpc_tunnel: GRPCTunnel = "auto",
    ) -> MediaRecipe:
        """Return the recipe for one of the media that Omni lists, InstallationMedias.

        Args:
            name: Its name, its cloud or its board, or `iso`.
            architecture: `amd64` or `arm64`, where there are several of that name.
            talos_version: The Talos version.
            extensions: System extensions; a part of a name stands for every extension that has it.
            kernel_args: Kernel arguments in addition to those that make the machine join.
            labels: What machines of the image are labelled with from the start.
            secure_boot: Whether it is signed for UEFI Secure Boot.
            grpc_tunnel: Whether machines tunnel their connection through gRPC; `auto` leaves it to the server.

        Raises:
            InputError: There is no such medium, or several; or the parts do not go together.
        """
        from omniherd._core.media import DEFAULT_TALOS_VERSION, matching_media, older
        from omniherd._core.service_requests import texts
        from omniherd.resources import InstallationMedia

        version = talos_version.removeprefix("v") or DEFAULT_TALOS_VERSION
        medium = matching_media(list(await self._omni.list(InstallationMedia)), name, architecture)
        spec = medium.spec
        if older(version, spec.min_talos_version):
            raise InputError(f"{spec.name} supports only Talos version >= {spec.min_talos_version}")
        if secure_boot and spec.no_secure_boot:
            raise InputError(f'"{spec.name}" doesn\'t support secure boot')
        return MediaRecipe(
            name=spec.name,
            file_prefix=spec.dest_file_prefix,
            talos_version=version,
            architecture=spec.architecture,
            profile="metal" if spec.overlay else spec.profile,
            extension=spec.extension,
            media_id=medium.id,
            legacy_board=spec.profile if spec.overlay else "",
            secure_boot=secure_boot,
            extensions=await self._looked_up(extensions, version),
            kernel_args=tuple(texts(kernel_args)),
            labels=dict(labels or {}),
            grpc_tunnel=grpc_tunnel,
        )

    async def preset_recipe(
        self,
        name: str,
        *,
        format: str = "",  # noqa: A002 - the word that people use
        architecture: str | None = None,
        talos_version: str | None = None,
        extensions: Iterable[str] | None = None,
        kernel_args: Iterable[str] | None = None,
        labels: Mapping[str, str] | None = None,
        secure_boot: bool | None = None,
        join_token: str | None = None,
        grpc_tunnel: GRPCTunnel | None = None,
        embedded_machine_config: str | None = None,
    ) -> MediaRecipe:
        """Return the recipe of a preset. What is given here goes before what the preset says.

        Args:
            name: The preset.
            format: For bare metal: `iso` (the default), `raw`, `qcow2`, or `pxe` to boot from the network.
            architecture: `amd64` or `arm64`.
            talos_version: The Talos version.
            extensions: System extensions; a part of a name stands for every extension that has it.
            kernel_args: Kernel arguments in addition to those that make the machine join.
            labels: What machines of the image are labelled with from the start.
            secure_boot: Whether it is signed for UEFI Secure Boot.
            join_token: Id of a token.
            grpc_tunnel: Whether machines tunnel their connection through gRPC.
            embedded_machine_config: A machine configuration to put into the image.

        Raises:
            NotFound: There is no such preset, platform, board, token or Talos version; `details["during"]` says which.
            InputError: The parts do not go together.
        """
        from omniherd._core.media import ARCHITECTURES, DEFAULT_TALOS_VERSION, FORMATS
        from omniherd._core.service_requests import texts
        from omniherd.resources import InstallationMediaConfig

        with during(f'failed to get installation media preset "{name}"'):
            spec = (await self._omni.get(InstallationMediaConfig, name)).spec
        cloud, board = spec.HasField("cloud"), spec.HasField("sbc")
        if format and (cloud or board):
            raise InputError(
                "--format is only valid for metal presets; cloud presets follow their platform's image suffix and SBC "
                "presets always produce a raw disk image"
            )
        if format and format not in FORMATS:
            raise InputError(f'unsupported format "{format}", must be one of: {", ".join(FORMATS)}')
        arch = ARCHITECTURES[spec.architecture] if architecture is None else architecture
        version = (talos_version or spec.talos_version).removeprefix("v") or DEFAULT_TALOS_VERSION
        secure = spec.secure_boot if secure_boot is None else secure_boot
        config = spec.embedded_machine_config if embedded_machine_config is None else embedded_machine_config
        profile, extension, overlay = "metal", FORMATS[format or "iso"], None
        if talos_version is not None:
            await self._check_talos(version)
        if board:
            found = await self._board(spec.sbc.overlay, version)
            overlay = (found.spec.overlay_image, found.spec.overlay_name, spec.sbc.overlay_options)
            extension = "raw.xz"
            if secure:
                raise InputError(f'"{name}" doesn\'t support secure boot')
        elif cloud:
            profile = spec.cloud.platform
            platform = await self._platform(profile, arch, version, secure_boot=secure)
            extension = platform.spec.disk_image_suffix or "raw.xz"
        if config and (talos_version is not None or embedded_machine_config is not None):
            await self._check_embedding(version)
        token = await self.check_join_token(spec.join_token if join_token is None else join_token)
        if talos_version is None and extensions is None:
            found_extensions = await self._looked_up(spec.install_extensions, version)
        else:
            wanted = spec.install_extensions if extensions is None else extensions
            found_extensions = tuple(await self.extensions(wanted, version))
        tunnel: GRPCTunnel = _TUNNELS[spec.grpc_tunnel] if grpc_tunnel is None else grpc_tunnel
        return MediaRecipe(
            name=name,
            file_prefix=name,
            talos_version=version,
            architecture=arch.lower(),
            profile=profile,
            extension=extension,
            overlay=overlay,
            legacy_board="metal" if board else "",
            secure_boot=secure,
            extensions=found_extensions,
            kernel_args=tuple(spec.kernel_args.split() if kernel_args is None else texts(kernel_args)),
            labels=dict(spec.machine_labels if labels is None else labels),
            join_token=token,
            grpc_tunnel=tunnel,
            bootloader=_BOOTLOADERS[spec.bootloader],
            embedded_machine_config=config,
            image_factory_url=spec.image_factory_url,
        )

    # --- the image ------------------------------------------------------------------------------------------------

    async def build(self, recipe: MediaRecipe, *, timeout: Timeout = _SILENCE) -> MediaFile:
        """Tell the image factory what an image is made of, and return where it can be had.

        Args:
            recipe: What goes into it.
            timeout: Seconds; the server asks the factory.

        Raises:
            PermissionDenied: The caller is no Operator.
            UnknownError: The factory refuses.
        """
        from omniherd._core.media import image_url, local_name, pxe_url

        with during("failed to create schematic"):
            schematic = await self._omni.management.create_schematic(
                talos_version=recipe.talos_version,
                extensions=recipe.extensions,
                extra_kernel_args=recipe.kernel_args,
                labels=recipe.labels,
                media_id=recipe.media_id,
                grpc_tunnel=recipe.grpc_tunnel,
                join_token=recipe.join_token,
                overlay=recipe.overlay,
                bootloader=recipe.bootloader,
                embedded_machine_config=recipe.embedded_machine_config,
                image_factory_url=recipe.image_factory_url,
                timeout=timeout,
            )
        source = AsyncFactory(self._omni)
        features = await source.features()
        credentials = await source.login(features)
        factory, pxe = features.image_factory_base_url, features.image_factory_pxe_base_url
        if recipe.image_factory_url and recipe.image_factory_url != factory:
            second = recipe.image_factory_url == features.secondary_image_factory_base_url
            factory, pxe = recipe.image_factory_url, features.secondary_image_factory_pxe_base_url if second else ""
            # The password is the first one's.
            credentials = None
        return MediaFile(
            schematic=schematic,
            url=image_url(factory, schematic.id, recipe),
            pxe_url=pxe_url(pxe, schematic.id, recipe, credentials) if pxe else "",
            file_name=local_name(recipe, schematic.id),
            authorization=basic_authorization(credentials),
        )

    async def download(
        self,
        file: MediaFile,
        path: str | os.PathLike[str] = ".",
        *,
        begun: Callable[[], object] | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        timeout: float = 600.0,
    ) -> Path:
        """Fetch an image. The file appears once all of it is here, so that a broken download leaves none.

        Args:
            file: What to fetch.
            path: A file, or a directory that exists.
            begun: Called when the factory has made the image and begins to send it.
            progress: Called with the bytes that are here, and with all that there are, None where that is not known.
                With `AsyncOmni` it is called in another thread.
            timeout: Seconds of silence after which it is given up; the factory takes its time to make an image.

        Returns:
            The file.

        Raises:
            OmniError: The factory refuses; `details["status"]` is the HTTP status.
            Unavailable: The connection failed, or broke.
            OSError: The file cannot be written.
        """
        import threading

        from omniherd._backend.download import download

        target = _target(path, file.file_name)
        stop = threading.Event()

        def work() -> int:
            return download(
                file.url,
                target,
                authorization=file.authorization,
                tls=self._omni.channel.tls,
                mode=0o600,
                timeout=timeout,
                stop=stop,
                begun=begun,
                progress=progress,
            )

        try:
            await backend.in_thread(work)
        finally:
            # A task that is cancelled does not end its thread.
            stop.set()
        return target


def _target(path: str | os.PathLike[str], name: str) -> Path:
    target = Path(path)
    if not target.is_dir():
        return target
    # Parts of the name come from the server, which may choose a file and no folder.
    if name in {"", ".", ".."} or any(sign in name for sign in ("/", "\\", "\0")):
        raise InputError(
            f"the server calls the file {name!r}, which is no name of a file", hint="choose a path that names the file"
        )
    return target / name
