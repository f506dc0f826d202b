"""JSON values as the validator of JSON schemas tells of them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from omniherd._core.shapes import is_list, is_mapping
from omniherd.emulator.queries import compile_regexp
from omniherd.emulator.records import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "display",
    "escaped",
    "is_number",
    "number_text",
    "pattern_of",
    "quote",
    "same",
    "type_of",
    "types_of",
]


def is_number(value: Any) -> bool:
    """Tell whether a value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def type_of(value: Any) -> str:
    """Return the JSON type of a value; all numbers are `number`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if is_number(value):
        return "number"
    if is_mapping(value):
        return "object"
    return "array" if is_list(value) else "string"


def types_of(value: Any) -> set[str]:
    """Return every JSON type that a value has: whole numbers are integers too."""
    whole = is_number(value) and math.isfinite(value) and float(value).is_integer()
    return {type_of(value), "integer"} if whole else {type_of(value)}


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal as JSON."""
    return type_of(one) == type_of(other) and one == other


def number_text(value: float) -> str:
    """Return a number as Go prints it."""
    return str(int(value)) if float(value).is_integer() else repr(value)


def quote(text: str) -> str:
    """Return a text in the quotes of the validator."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def display(value: Any) -> str:
    """Return a value that is no list or object as the validator shows it."""
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def escaped(step: str) -> str:
    """Return a step of an address, escaped."""
    return re.sub(r"[^\w.$/~-]", lambda found: f"%{ord(found[0]):02X}", step.replace("~", "~0").replace("/", "~1"))


def pattern_of(pattern: str) -> Callable[[str], bool]:
    """Return what tells whether a text has a match of a pattern.

    Raises:
        StateError: `UNKNOWN`: it is no pattern.
    """
    try:
        return compile_regexp(pattern)
    except StateError as error:
        raise StateError("UNKNOWN", error.message) from None
