"""The three signature headers as text: what a server reads out of them before any cryptography.

Omni's server is a Go program and reads JSON as Go does; where that differs from Python, this module follows Go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, cast

__all__ = ["VERSION", "PayloadError", "parse_payload", "parse_signature_field", "parse_timestamp"]

VERSION = "siderov1"

_FINGERPRINT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LONGEST_INTEGER = 20


class PayloadError(ValueError):
    """A header that no server accepts; the text says why."""


def parse_signature_field(value: str) -> tuple[str, bytes]:
    """Split `siderov1 <identity> <fingerprint> <base64>`.

    Returns:
        The fingerprint and the signature's bytes. The identity is not looked at, nor is anything behind the fourth
        field.

    Raises:
        PayloadError: A field is missing or malformed.
    """
    fields = value.split(" ")
    # The real server is said to run out of its list here; refusing is the only sane answer.
    if len(fields) < 4:
        raise PayloadError("the signature header has fewer than four fields")
    version, _identity, fingerprint, encoded = fields[:4]
    if version != VERSION:
        raise PayloadError(f"signature version {version!r} is unknown")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise PayloadError(f"{fingerprint!r} is no fingerprint")
    try:
        return fingerprint, base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise PayloadError("the signature is not standard base64 with padding") from None


def parse_timestamp(text: str) -> int:
    """Read Unix seconds.

    Raises:
        PayloadError: The text is no integer of 64 bits.
    """
    # int() takes its time over very long texts, and accepts blanks and underscores.
    if not _INTEGER.fullmatch(text) or len(text) > _LONGEST_INTEGER:
        raise PayloadError("the timestamp is no integer")
    return int(text)


def parse_payload(text: str) -> tuple[str, dict[str, list[str] | None]]:
    """Read the signed JSON text.

    Names of fields count in any case, the last of several wins, several maps of headers merge, `null` is nothing, and
    fields of no meaning are skipped. Names of headers count exactly.

    Returns:
        The method (`""` where there is none) and the headers with their values.

    Raises:
        PayloadError: The text is no such JSON.
    """
    try:
        fields = json.loads(
            text,
            object_pairs_hook=_Pairs,
            parse_constant=_refuse_constant,
            # Numbers carry nothing here, and very long ones are expensive to convert.
            parse_int=_Number,
            parse_float=_Number,
        )
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, _Pairs):
        raise PayloadError("the payload is no JSON object")
    method = ""
    headers: dict[str, list[str] | None] = {}
    for name, value in cast("list[tuple[str, Any]]", fields):
        field = name.casefold()
        if field == "method" and value is not None:
            if not isinstance(value, str) or isinstance(value, _Number):
                raise PayloadError("the payload's method is no string")
            method = value
        elif field == "headers":
            headers = {} if value is None else headers | _parse_headers(value)
    return method, headers


def _parse_headers(value: Any) -> dict[str, list[str] | None]:
    if not isinstance(value, _Pairs):
        raise PayloadError("the payload's headers are no object")
    headers: dict[str, list[str] | None] = {}
    for name, values in cast("list[tuple[str, Any]]", value):
        headers[name] = None if values is None else _strings(name, values)
    return headers


def _strings(name: str, value: Any) -> list[str]:
    # An object is a list here too, of a class of its own.
    if not isinstance(value, list) or isinstance(value, _Pairs):
        raise PayloadError(f"the payload's header {name} is no list")
    strings: list[str] = []
    for item in cast("list[object]", value):
        if item is None:
            strings.append("")
        elif isinstance(item, str) and not isinstance(item, _Number):
            strings.append(item)
        else:
            raise PayloadError(f"the payload's header {name} holds something other than strings")
    return strings


class _Pairs(list[Any]):
    """A JSON object with its repeated names, told apart from an array."""


class _Number(str):
    """A JSON number, told apart from a string."""

    __slots__ = ()


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
