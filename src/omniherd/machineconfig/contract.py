"""What a version of Talos implies for a machine's configuration."""

from __future__ import annotations

import re
from typing import NamedTuple

from omniherd.errors import InputError

__all__ = ["Contract"]

_VERSION = re.compile(r"v*(?P<major>[0-9]+)\.(?P<minor>[0-9]+)(\.|$)")


class Contract(NamedTuple):
    """The part of a Talos version that decides what its configurations look like.

    Contracts compare as versions do.

    Attributes:
        major: First number.
        minor: Second number.
    """

    major: int
    minor: int

    @classmethod
    def of(cls, version: str) -> Contract:
        """Return the contract of a Talos version.

        Args:
            version: The version, with or without a `v`; what follows the second number does not count.

        Raises:
            InputError: The text is no version.

        Example:
            >>> Contract.of("v1.13.4")
            Contract(major=1, minor=13)
        """
        match = _VERSION.match(version)
        if match is None:
            raise InputError(f'"{version}" is no version of Talos', hint="write it as v1.13.4 or 1.13")
        return cls(int(match["major"]), int(match["minor"]))

    def since(self, minor: int) -> bool:
        """Tell whether this is Talos 1.`minor` or later."""
        return self >= (1, minor)
