"""Versions of Kubernetes and Talos in a template, read as tolerantly as omnictl does."""

from __future__ import annotations

import re
from typing import NamedTuple

from omniherd.template.problems import go_quote

__all__ = ["Version", "VersionRefused", "parse_version"]

_LARGEST = (1 << 64) - 1
_DIGITS = frozenset("0123456789")
_NAME = re.compile(r"[0-9A-Za-z-]*")


class VersionRefused(ValueError):
    """The text is no version; the error's text is the one that omnictl gives."""


class Version(NamedTuple):
    """A version.

    Attributes:
        major: First number.
        minor: Second number.
        patch: Third number.
        prerelease: What follows a `-`, empty for a release.
    """

    major: int
    minor: int
    patch: int
    prerelease: str = ""

    def before(self, major: int, minor: int, patch: int) -> bool:
        """Tell whether this is an earlier version than a release; its own pre-releases are."""
        numbers = (self.major, self.minor, self.patch)
        return numbers < (major, minor, patch) or (numbers == (major, minor, patch) and bool(self.prerelease))


def parse_version(text: str) -> Version:
    """Read a version: blanks around it, one `v` before it, leading zeros and missing parts are forgiven.

    Args:
        text: The version.

    Raises:
        VersionRefused: The text is no version.

    Example:
        >>> parse_version("v1.05")
        Version(major=1, minor=5, patch=0, prerelease='')
    """
    parts = [_tolerate(part) for part in text.strip().removeprefix("v").split(".", 2)]
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise VersionRefused("Short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    major = _number(parts[0], "major")
    minor = _number(parts[1], "minor")
    rest, plus, build = parts[2].partition("+")
    rest, dash, prerelease = rest.partition("-")
    patch = _number(rest, "patch")
    for part in prerelease.split(".") if dash else ():
        _check_prerelease(part)
    for part in build.split(".") if plus else ():
        if not part:
            raise VersionRefused("Build meta data is empty")
        if not _NAME.fullmatch(part):
            raise VersionRefused(f"Invalid character(s) found in build meta data {go_quote(part)}")
    return Version(major, minor, patch, prerelease)


def _tolerate(part: str) -> str:
    if len(part) <= 1:
        return part
    part = part.lstrip("0")
    return part if part and part[0] in _DIGITS else "0" + part


def _number(text: str, name: str) -> int:
    if not _DIGITS.issuperset(text):
        raise VersionRefused(f"Invalid character(s) found in {name} number {go_quote(text)}")
    if len(text) > 1 and text[0] == "0":
        raise VersionRefused(f"{name.capitalize()} number must not contain leading zeroes {go_quote(text)}")
    return _unsigned(text)


def _unsigned(text: str) -> int:
    if not text:
        raise VersionRefused('strconv.ParseUint: parsing "": invalid syntax')
    if len(text) > 20 or int(text) > _LARGEST:
        raise VersionRefused(f"strconv.ParseUint: parsing {go_quote(text)}: value out of range")
    return int(text)


def _check_prerelease(part: str) -> None:
    if not part:
        raise VersionRefused("Prerelease is empty")
    if _DIGITS.issuperset(part):
        if len(part) > 1 and part[0] == "0":
            raise VersionRefused(f"Numeric PreRelease version must not contain leading zeroes {go_quote(part)}")
        _unsigned(part)
    elif not _NAME.fullmatch(part):
        raise VersionRefused(f"Invalid character(s) found in prerelease {go_quote(part)}")
