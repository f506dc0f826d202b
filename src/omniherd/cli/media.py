"""`omniherd media` and `omniherd download`: presets of installation media, and the media themselves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import os_text, told
from omniherd.cli.flags import BOOL, command, flag, listed, option
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd import Omni
    from omniherd.resource import Resource
    from omniherd.services import Bootloader, GRPCTunnel, MediaRecipe

__all__ = [
    "create_preset",
    "delete_preset",
    "download",
    "download_medium",
    "label_pairs",
    "list_presets",
    "preset_rows",
]

_TITLES = ("NAME", "ARCH", "TALOS VERSION", "TYPE", "PLATFORM/OVERLAY")
_WIDE = ("SECURE BOOT", "EXTENSIONS", "LABELS", "BOOTLOADER", "GRPC TUNNEL", "KERNEL ARGS", "EMBEDDED CONFIG")
# What people call the boot loaders, and what the API calls them; and those by the API's numbers.
_BOOTLOADERS: dict[str, Bootloader] = {"auto": "auto", "uefi": "sd", "bios": "grub", "dual": "dual"}
_LOADER_WORDS = ("auto", "dual", "uefi", "bios")
_TUNNELS = ("auto", "enabled", "disabled")

_EXTENSIONS = option("--extensions", multiple=True, default=(), metavar="NAME", help="extensions, or parts of names")
_KERNEL_ARGS = option("--extra-kernel-args", multiple=True, default=(), metavar="ARGUMENT", help="kernel arguments")
_LABELS = option("--initial-labels", multiple=True, default=(), metavar="KEY=VALUE", help="labels of its machines")
_OUTPUT = option("--output", default=".", metavar="PATH", help="file or directory, the working directory by default")
_TUNNEL = option(
    "--use-siderolink-grpc-tunnel",
    type=BOOL,
    default=None,
    metavar="",
    help="let machines tunnel their connection through gRPC; only where UDP does not get through",
)
_EMBEDDED = option(
    "--embedded-machine-config-file", metavar="FILE", help="a machine configuration to put into it, - for stdin"
)


# --- presets ----------------------------------------------------------------------------------------------------------


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@option("--arch", default="amd64", metavar="NAME", help="amd64 or arm64")
@option("--bootloader", default="auto", metavar="NAME", help=", ".join(_BOOTLOADERS))
@_EMBEDDED
@_EXTENSIONS
@_KERNEL_ARGS
@_LABELS
@option("--join-token", metavar="ID", help="the token, by default the one that is the default at a download")
@option("--overlay", metavar="NAME", help="a board: rpi_generic")
@option("--overlay-options", metavar="YAML", help="options of the board")
@option("--platform", metavar="NAME", help="a cloud: aws")
@flag("--secureboot", help="an image that is signed for UEFI Secure Boot")
@option("--talos-version", metavar="VERSION", help="the version, by default the one that is the default at a download")
@_TUNNEL
def create_preset(**values: Any) -> None:
    """Store what goes into an image, under a name."""
    settings = Settings(values)
    refuse_read_only(settings, "`media preset create`")
    name = values["words"][0]
    if values["platform"] and values["overlay"]:
        raise InputError(
            "--platform and --overlay cannot be used together; a preset can be for a cloud platform, an SBC overlay or "
            "Bare-metal"
        )
    if values["overlay_options"] and not values["overlay"]:
        raise InputError("--overlay-options requires --overlay to be set")
    bootloader = _BOOTLOADERS.get(values["bootloader"].lower())
    if bootloader is None:
        raise InputError(f'unknown bootloader "{values["bootloader"]}", must be one of: {", ".join(_BOOTLOADERS)}')
    labels = label_pairs(listed(values["initial_labels"]))
    embedded = _embedded(values["embedded_machine_config_file"])
    with connected(settings) as omni, told():
        omni.media.create_preset(
            name,
            architecture=values["arch"],
            talos_version=values["talos_version"],
            platform=values["platform"],
            overlay=values["overlay"],
            overlay_options=values["overlay_options"],
            extensions=listed(values["extensions"]),
            kernel_args=" ".join(values["extra_kernel_args"]),
            labels=labels,
            secure_boot=values["secureboot"],
            join_token=values["join_token"],
            grpc_tunnel=_tunnel(values) or "auto",
            bootloader=bootloader,
            embedded_machine_config=embedded or "",
        )
    sys.stdout.write(f'Created installation media preset "{name}"\n')


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def delete_preset(**values: Any) -> None:
    """Remove a preset. Images that were made of it stay."""
    settings = Settings(values)
    refuse_read_only(settings, "`media preset delete`")
    name = values["words"][0]
    with connected(settings) as omni, told():
        omni.media.delete_preset(name)
    sys.stdout.write(f'Deleted installation media preset "{name}"\n')


@command()
@option("-o", "--output", metavar="FORMAT", help="table, wide, json or yaml")
def list_presets(**values: Any) -> None:
    """List the presets."""
    from omniherd.cli.output.records import check_format, write_records

    settings = Settings(values)
    form = check_format(values["output"], ("wide",))
    with connected(settings) as omni:
        presets = omni.media.presets()
    wide = form == "wide"
    titles = (*_TITLES, *_WIDE) if wide else _TITLES
    rows = [row if wide else row[: len(_TITLES)] for row in preset_rows(presets)]
    write_records("table" if wide else form, [_record(preset) for preset in presets], titles, rows)


def _record(preset: Resource[Any]) -> dict[str, Any]:
    from omniherd._core.media import ARCHITECTURES, DEFAULT_TALOS_VERSION

    spec = preset.spec
    cloud, board = spec.HasField("cloud"), spec.HasField("sbc")
    return {
        "name": preset.id,
        "arch": ARCHITECTURES[spec.architecture],
        "talos_version": spec.talos_version or DEFAULT_TALOS_VERSION,
        "type": "cloud" if cloud else "sbc" if board else "metal",
        "platform": spec.cloud.platform if cloud else None,
        "overlay": spec.sbc.overlay if board else None,
        "secure_boot": spec.secure_boot,
        "extensions": list(spec.install_extensions),
        "labels": dict(sorted(spec.machine_labels.items())),
        "bootloader": _LOADER_WORDS[spec.bootloader],
        "grpc_tunnel": _TUNNELS[spec.grpc_tunnel],
        "kernel_args": spec.kernel_args,
        "embedded_config": bool(spec.embedded_machine_config),
    }


def preset_rows(presets: Sequence[Resource[Any]]) -> list[tuple[str, ...]]:
    """Return the cells of the wide table of presets.

    Args:
        presets: InstallationMediaConfigs, in the order of the table.
    """
    rows: list[tuple[str, ...]] = []
    for record in map(_record, presets):
        labels = [f"{key}={value}" if value else key for key, value in record["labels"].items()]
        rows.append(
            (
                record["name"],
                record["arch"],
                record["talos_version"],
                record["type"],
                record["platform"] or record["overlay"] or "-",
                "true" if record["secure_boot"] else "false",
                " ".join(record["extensions"]) or "-",
                " ".join(labels) or "-",
                record["bootloader"],
                record["grpc_tunnel"],
                record["kernel_args"] or "-",
                "yes" if record["embedded_config"] else "-",
            )
        )
    return rows


# --- downloads --------------------------------------------------------------------------------------------------------


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="PRESET")
@option("--arch", default=None, metavar="NAME", help="amd64 or arm64, instead of the preset's")
@_EMBEDDED
@_EXTENSIONS
@_KERNEL_ARGS
@option("--format", metavar="FORMAT", help="for bare metal: iso, raw, qcow2, or pxe to print the address to boot from")
@_LABELS
@option("--join-token", default=None, metavar="ID", help="the token, instead of the preset's")
@_OUTPUT
@option("--secureboot", type=BOOL, default=None, metavar="", help="signed for UEFI Secure Boot, or not")
@option("--talos-version", default=None, metavar="VERSION", help="the version, instead of the preset's")
@_TUNNEL
def download(**values: Any) -> None:
    """Download the image of a preset. Flags go before what the preset says."""
    settings = Settings(values)
    refuse_read_only(settings, "`media download`, which registers the image with the server,")
    target = _place(values["output"])
    labels = label_pairs(listed(values["initial_labels"])) if values["initial_labels"] else None
    embedded = _embedded(values["embedded_machine_config_file"])
    with connected(settings) as omni, told():
        recipe = omni.media.preset_recipe(
            values["words"][0],
            format=values["format"],
            architecture=values["arch"],
            talos_version=values["talos_version"],
            extensions=listed(values["extensions"]) if values["extensions"] else None,
            kernel_args=values["extra_kernel_args"] or None,
            labels=labels,
            secure_boot=values["secureboot"],
            join_token=values["join_token"],
            grpc_tunnel=_tunnel(values),
            embedded_machine_config=embedded,
        )
        _fetch(omni, recipe, target, pxe=values["format"] == "pxe")


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@option("--arch", default="amd64", metavar="NAME", help="amd64 or arm64")
@_EXTENSIONS
@_KERNEL_ARGS
@_LABELS
@_OUTPUT
@flag("--pxe", help="print the address to boot from over the network")
@flag("--secureboot", help="signed for UEFI Secure Boot")
@option("--talos-version", metavar="VERSION", help="the Talos version")
@_TUNNEL
def download_medium(**values: Any) -> None:
    """Download an image by its name, cloud or board; `iso` for bare metal. Presets (`media`) can do more."""
    settings = Settings(values)
    sys.stderr.write("Command \"download\" is deprecated, use 'omniherd media download <preset-name>' instead\n")
    refuse_read_only(settings, "`download`, which registers the image with the server,")
    name = values["words"][0]
    if not name:
        raise InputError("image name is required")
    target = _place(values["output"])
    labels = label_pairs(listed(values["initial_labels"]))
    with connected(settings) as omni, told():
        recipe = omni.media.medium_recipe(
            name,
            architecture=values["arch"],
            talos_version=values["talos_version"],
            extensions=listed(values["extensions"]),
            kernel_args=values["extra_kernel_args"],
            labels=labels,
            secure_boot=values["secureboot"],
            grpc_tunnel=_tunnel(values) or "auto",
        )
        _fetch(omni, recipe, target, pxe=values["pxe"])


def _place(output: str) -> Path:
    """Return the file or the directory to write to; a directory is made, a file must not be there yet."""
    path = Path(os.path.abspath(output))  # noqa: PTH100 - `resolve` would follow links in what is shown
    if not path.is_dir() and path.suffix:
        if path.exists():
            raise InputError(f"destination {path} already exists")
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        path.mkdir(parents=True, exist_ok=True)
    return path


def _fetch(omni: Omni, recipe: MediaRecipe, target: Path, *, pxe: bool) -> None:
    for extension in recipe.extensions:
        sys.stdout.write(f"Install Extension: {extension}\n")
    sys.stdout.flush()
    file = omni.media.build(recipe)
    through = file.schematic.grpc_tunnel
    if recipe.grpc_tunnel == "auto":
        sys.stderr.write(f"Using server's SideroLink gRPC tunnel setting: {str(through).lower()}\n")
    elif recipe.grpc_tunnel == "disabled" and through:
        sys.stderr.write("WARNING: the server tunnels through gRPC whatever --use-siderolink-grpc-tunnel says\n")
    if pxe:
        if not file.pxe_url:
            raise OmniError("the image factory of this image does not boot machines over the network")
        sys.stdout.write(f"{file.pxe_url}\n")
        return
    if target.is_dir():
        target /= file.file_name
    _say("Generating the image...")
    from omniherd.cli.progress import Progress

    with Progress(f"downloading {target.name}", bytes_=True) as progress:
        omni.media.download(file, target, begun=lambda: _say(f"Downloading to {target}"), progress=progress.at)
    _say(f"Downloaded to {target}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# --- what flags say ---------------------------------------------------------------------------------------------------


def label_pairs(pairs: Sequence[str]) -> dict[str, str]:
    """Return labels from `key=value` and `key`.

    Args:
        pairs: What stands on the command line.

    Raises:
        InputError: One has more than one `=`.

    Example:
        >>> label_pairs(["site=fra", "edge"])
        {'site': 'fra', 'edge': ''}
    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if "=" in value:
            raise InputError(f'invalid label format "{pair}", expected key=value')
        found[key] = value
    return found


def _tunnel(values: dict[str, Any]) -> GRPCTunnel | None:
    said: bool | None = values["use_siderolink_grpc_tunnel"]
    return None if said is None else "enabled" if said else "disabled"


def _embedded(path: str) -> str | None:
    """Return the machine configuration of a file, None when none is named."""
    if not path:
        return None
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text()
    except OSError as error:
        raise InputError(f'failed to read embedded machine config file "{path}": {os_text(error)}') from None
