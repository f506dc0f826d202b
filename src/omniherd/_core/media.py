"""Installation images: names of files, addresses at the image factory, what a platform allows. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from omniherd.resource import Resource
    from omniherd.services import MediaRecipe

__all__ = [
    "ARCHITECTURES",
    "DEFAULT_TALOS_VERSION",
    "FORMATS",
    "architecture_number",
    "check_platform",
    "check_token",
    "check_version",
    "image_url",
    "local_name",
    "matching_extensions",
    "matching_media",
    "older",
    "pxe_url",
]

DEFAULT_TALOS_VERSION = "1.13.5"
"""The Talos version of an image for which none is named, the one of Omni 1.9.3."""

ARCHITECTURES = ("unknown", "amd64", "arm64")
"""Names of the values of `PlatformConfigSpec.Arch`, by number."""

FORMATS = {"iso": "iso", "raw": "raw.xz", "qcow2": "qcow2", "pxe": "iso"}
"""Endings of the files that bare metal can have, by the format's name."""

_TOKEN_STATES = {2: "has been revoked", 3: "has expired"}
_ACTIVE = 1
# From this version on, boards are an overlay of the plain image.
_OVERLAYS = (1, 7, 0)


def architecture_number(name: str) -> int:
    """Return the number of an architecture.

    Raises:
        InputError: There is no such architecture.
    """
    known = name.lower()
    if known not in ARCHITECTURES[1:]:
        raise InputError(f'unsupported architecture "{name}", must be amd64 or arm64')
    return ARCHITECTURES.index(known)


def check_platform(platform: Resource[Any], architecture: str, version: str, *, secure_boot: bool) -> None:
    """Compare an image with what a cloud takes.

    Args:
        platform: The CloudPlatformConfig.
        architecture: `amd64` or `arm64`.
        version: The Talos version.
        secure_boot: Whether it is to be signed.

    Raises:
        InputError: The cloud does not take it.
    """
    what = f'cloud platform "{platform.id}"'
    if architecture_number(architecture) not in platform.spec.architectures:
        raise InputError(f'{what} does not support architecture "{architecture.lower()}"')
    if secure_boot and not platform.spec.secure_boot_supported:
        raise InputError(f"{what} does not support secure boot")
    check_version(version, platform.spec.min_version, what)


def check_version(version: str, least: str, what: str) -> None:
    """Compare a Talos version with the first one that something can be used with; pre-releases count as the release.

    Args:
        version: The version.
        least: The first one, empty for any.
        what: What it is about: `SBC overlay "rpi_5"`.

    Raises:
        InputError: It is too old, or no version.
    """
    if older(version, least):
        raise InputError(f"{what} requires Talos version >= {least} (got {version})")


def older(version: str, least: str) -> bool:
    """Whether a Talos version comes before the first one that something can be used with, empty for any.

    Raises:
        InputError: It is no version.
    """
    return bool(least) and _numbers(version) < _numbers(least)


def _numbers(version: str) -> tuple[int, int, int]:
    from omniherd.template.versions import VersionRefused, parse_version

    try:
        return parse_version(version)[:3]
    except VersionRefused as error:
        raise InputError(f'failed to parse Talos version "{version}": {error}') from None


def check_token(status: Resource[Any]) -> None:
    """Refuse a join token that no machine can join with.

    Args:
        status: Its JoinTokenStatus.

    Raises:
        InputError: It is revoked, or has expired.
    """
    state = status.spec.state
    if state != _ACTIVE:
        why = _TOKEN_STATES.get(state, "is not active (state: UNKNOWN)")
        raise InputError(f'join token "{status.id}" {why}')


def matching_extensions(known: Iterable[str], wanted: Iterable[str], version: str) -> list[str]:
    """Return the full names of extensions; a part of a name stands for every extension that has it.

    Args:
        known: All extensions of the version.
        wanted: Names, or parts of names.
        version: The Talos version, for the error.

    Raises:
        InputError: No extension has such a name.

    Example:
        >>> matching_extensions(["siderolabs/gvisor", "siderolabs/zfs"], ["zfs"], "1.13.5")
        ['siderolabs/zfs']
    """
    names = list(known)
    found: list[str] = []
    for part in wanted:
        matched = [name for name in names if part in name]
        if not matched:
            raise InputError(f'failed to find extension with name "{part}" for talos version "{version}"')
        found += [name for name in matched if name not in found]
    return found


def matching_media(media: Sequence[Resource[Any]], name: str, architecture: str) -> Resource[Any]:
    """Return the installation medium of a name, a cloud or a board; of several, the one for an architecture.

    Args:
        media: All InstallationMedias.
        name: The name, the profile or the overlay, in any case; `iso` for the plain image of a disc.
        architecture: `amd64` or `arm64`.

    Raises:
        InputError: There is none, or several.
    """
    word = name.lower()

    def fits(medium: Resource[Any]) -> bool:
        spec = medium.spec
        if word == "iso":
            return word in spec.name.lower()
        return word in {spec.name.lower(), spec.profile.lower(), spec.overlay.lower()}

    found = [medium for medium in media if word and fits(medium)]
    if len(found) > 1:
        found = [medium for medium in found if medium.spec.architecture == architecture]
    if not found:
        raise InputError(f'no image found for "{name}"')
    if len(found) > 1:
        raise InputError("multiple images found:\n  " + "\n  ".join(medium.id for medium in found))
    return found[0]


def _stem(recipe: MediaRecipe) -> str:
    profile = recipe.profile
    if recipe.legacy_board:
        profile = "metal" if _numbers(recipe.talos_version) >= _OVERLAYS else f"metal-{recipe.legacy_board}"
    return f"{profile}-{recipe.architecture}{'-secureboot' if recipe.secure_boot else ''}"


def image_url(factory: str, schematic: str, recipe: MediaRecipe) -> str:
    """Return where an image is fetched.

    Args:
        factory: Address of the image factory. Nothing but a factory on this machine is spoken to in plain text.
        schematic: Id of the schematic.
        recipe: What goes into it.
    """
    parts = urlsplit(factory)
    scheme = parts.scheme if parts.hostname in {"localhost", "127.0.0.1", "::1"} else "https"
    path = _join(parts.path, "image", schematic, recipe.talos_version, f"{_stem(recipe)}.{recipe.extension}")
    query = "&".join(part for part in (parts.query, "secureboot=true" if recipe.secure_boot else "") if part)
    return urlunsplit((scheme, parts.netloc, path, query, ""))


def pxe_url(factory: str, schematic: str, recipe: MediaRecipe, credentials: tuple[str, str] | None) -> str:
    """Return what a machine boots from over the network.

    Args:
        factory: Address of the factory for that.
        schematic: Id of the schematic.
        recipe: What goes into it.
        credentials: User and password that the factory demands.
    """
    parts = urlsplit(factory)
    host = parts.netloc
    if credentials is not None:
        user, password = (quote(text, safe="") for text in credentials)
        host = f"{user}:{password}@{host}"
    path = _join(parts.path, "pxe", schematic, recipe.talos_version, _stem(recipe))
    return urlunsplit((parts.scheme, host, path, parts.query, ""))


def _join(base: str, *names: str) -> str:
    return "/".join([base.rstrip("/"), *(quote(name, safe="") for name in names)])


def local_name(recipe: MediaRecipe, schematic: str) -> str:
    """Return a name for the file.

    Args:
        recipe: What goes into it.
        schematic: Id of the schematic.
    """
    ending = recipe.extension.rpartition(".")[2]
    return f"{recipe.file_prefix}-{recipe.talos_version}-{schematic[:6]}.{ending}"
