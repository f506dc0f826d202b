"""Go's way of writing strings in quotes and lists of them, as the server's texts have it, and limits of user text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["has_control", "limited", "limited_list", "quote", "quote_all"]

_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_ASCII_END = 0x80
_BASIC_END = 0x10000


def quote(text: str) -> str:
    """Return text in double quotes, what does not print escaped.

    Example:
        >>> quote("a")
        '"a"'
    """
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_quoted, text)) + '"'


def _quoted(character: str) -> str:
    escape = _ESCAPES.get(character)
    if escape is not None:
        return escape
    if character == " " or (character.isprintable() and not unicodedata.category(character).startswith("Z")):
        return character
    code = ord(character)
    if code < _ASCII_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _BASIC_END else f"\\U{code:08x}"


def quote_all(texts: Iterable[str]) -> str:
    """Return a list of texts, each in quotes: `["a" "b"]`."""
    return f"[{' '.join(map(quote, texts))}]"


def has_control(text: str) -> bool:
    """Whether there are control characters in a text."""
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def size(text: str) -> int:
    """Return the length of a text in bytes, as the server counts."""
    return len(text) if text.isascii() else len(text.encode())


def limited(field: str, text: str, most: int) -> str | None:
    """Return what is wrong with a text of a user, None when nothing is.

    Args:
        field: What the text is, for the fault.
        text: The text.
        most: The most bytes it may have.
    """
    if size(text) > most:
        return f"{field} is too long: {size(text)} bytes (max {most})"
    return f"{field} contains a control character" if has_control(text) else None


def limited_list(field: str, texts: Sequence[str], most: int, each: int) -> str | None:
    """Return what is wrong with a list of texts, the first fault only.

    Args:
        field: What the list is.
        texts: The list.
        most: The most entries it may have.
        each: The most bytes of each.
    """
    if len(texts) > most:
        return f"{field} has too many entries: {len(texts)} (max {most})"
    faults = (limited(f"{field}[{number}]", text, each) for number, text in enumerate(texts))
    return next((fault for fault in faults if fault is not None), None)
