"""File name patterns in Go's dialect: `*`, `?`, `[a-z]`, `[^a]` and backslashes; none of the first two matches `/`."""

from __future__ import annotations

import re

__all__ = ["BadPattern", "glob_matches"]


class BadPattern(ValueError):
    """A pattern that does not parse."""


def glob_matches(pattern: str, text: str) -> bool:
    """Whether a whole text fits a pattern.

    Args:
        pattern: The pattern.
        text: The text.

    Raises:
        BadPattern: A class is open or empty, or a backslash stands at the end.
    """
    return re.fullmatch(_translate(pattern), text, re.DOTALL) is not None


def _translate(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            # Runs of stars would make the search slow and mean the same.
            if not parts or parts[-1] != "[^/]*":
                parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[":
            part, at = _class(pattern, at)
            parts.append(part)
        elif character == "\\":
            if at == len(pattern):
                raise BadPattern(pattern)
            parts.append(re.escape(pattern[at]))
            at += 1
        else:
            parts.append(re.escape(character))
    return "".join(parts)


def _class(pattern: str, at: int) -> tuple[str, int]:
    inverted = pattern[at : at + 1] == "^"
    at += inverted
    ranges: list[str] = []
    while True:
        if pattern[at : at + 1] == "]" and ranges:
            found = "".join(ranges)
            if not found:
                return ("." if inverted else "(?!)"), at + 1
            return f"[{'^' if inverted else ''}{found}]", at + 1
        low, at = _class_character(pattern, at)
        high = low
        if pattern[at : at + 1] == "-":
            high, at = _class_character(pattern, at + 1)
        # A range upside down matches nothing in Go and is an error in Python.
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")


def _class_character(pattern: str, at: int) -> tuple[str, int]:
    character = pattern[at : at + 1]
    if not character or character in "-]":
        raise BadPattern(pattern)
    if character == "\\":
        at += 1
        character = pattern[at : at + 1]
    if not character or at + 1 >= len(pattern):
        raise BadPattern(pattern)
    return character, at + 1
