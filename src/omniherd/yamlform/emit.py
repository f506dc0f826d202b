"""Write plain values as YAML, laid out to the byte as Go's library does."""

from __future__ import annotations

import math
import re
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from omniherd._core.gojson import float_text, time_text
from omniherd._core.shapes import is_list, is_mapping
from omniherd.yamlform.scalars import allows_literal, double_quote, quote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["dump", "literal_block", "may_be_simple_key", "natural_key"]

_LONGEST_SIMPLE_KEY = 128


def dump(value: Any, *, indent: int = 4, sort: bool = True) -> str:
    """Return the YAML document of a value, ending in a newline.

    Args:
        value: None, bool, int, float, str, datetime, or mappings and lists of these.
        indent: Columns for each level.
        sort: Whether mappings are written in Go's order of keys, or in their own.

    Example:
        >>> print(dump({"b": ["x", {"c": 1}], "a": None}), end="")
        a: null
        b:
            - x
            - c: 1
    """
    writer = _Writer(indent, sort)
    writer.node(value, -1, in_sequence=False, top=True)
    return "".join(writer.parts) + "\n"


class _Writer:
    def __init__(self, best: int, sort: bool) -> None:
        self.best = best
        self.sort = sort
        self.parts: list[str] = []

    def deeper(self, indent: int, *, in_sequence: bool) -> int:
        """Return the next column: inside a sequence two further, else the next multiple of the indent."""
        if indent < 0:
            return 0
        if in_sequence:
            return indent + 2
        return self.best * ((indent + self.best) // self.best)

    def node(self, value: Any, indent: int, *, in_sequence: bool, top: bool = False) -> None:
        """Write a value; what is before it on its line has been written."""
        # What specs are made of comes first: asking whether something is a mapping is the dearest question of all.
        if isinstance(value, str):
            text = self.scalar(value, indent, in_sequence=in_sequence)
            self.parts.append(text if top or in_sequence else f" {text}")
        elif is_mapping(value):
            if not value:
                self.parts.append("{}" if top or in_sequence else " {}")
                return
            column = self.deeper(indent, in_sequence=in_sequence)
            self.mapping(value, column, first_inline=top or in_sequence)
        elif is_list(value):
            if not value:
                self.parts.append("[]" if top or in_sequence else " []")
                return
            column = self.deeper(indent, in_sequence=in_sequence)
            self.sequence(value, column, first_inline=top or in_sequence)
        else:
            self.parts.append(_plain(value) if top or in_sequence else f" {_plain(value)}")

    def mapping(self, value: Mapping[Any, Any], column: int, *, first_inline: bool) -> None:
        keys = sorted(value, key=natural_key) if self.sort else list(value)
        margin = "\n" + " " * column
        for index, key in enumerate(keys):
            if index or not first_inline:
                self.parts.append(margin)
            text = _simple_key(key) if isinstance(key, str) else _plain(key)
            if text is None:
                self.complex_pair(key, value[key], column)
                continue
            item = value[key]
            if isinstance(item, str) and "\n" not in item:
                self.parts.append(f"{text}: {quote(item)}")
            elif item is None or isinstance(item, int):
                self.parts.append(f"{text}: {_plain(item)}")
            else:
                self.parts.append(f"{text}:")
                self.node(item, column, in_sequence=False)

    def complex_pair(self, key: str, value: Any, column: int) -> None:
        """Write a key that spans lines or is too long for a simple one, and its value, behind `?` and `:`."""
        self.parts.append(f"? {self.scalar(key, column, in_sequence=False)}\n{' ' * column}:")
        inner = self.deeper(column, in_sequence=False)
        pad = " " * (inner - column - 1)
        if is_mapping(value) and value:
            self.parts.append(pad)
            self.mapping(value, inner, first_inline=True)
        elif is_list(value) and value:
            self.parts.append(pad)
            self.sequence(value, inner, first_inline=True)
        else:
            self.node(value, column, in_sequence=False)

    def sequence(self, value: list[Any] | tuple[Any, ...], column: int, *, first_inline: bool) -> None:
        for index, item in enumerate(value):
            if index or not first_inline:
                self.parts.append("\n" + " " * column)
            self.parts.append("- ")
            self.node(item, column, in_sequence=True)

    def scalar(self, value: str, indent: int, *, in_sequence: bool) -> str:
        if "\n" in value:
            if value.strip() and allows_literal(value):
                return self.literal(value, indent, in_sequence=in_sequence)
            return double_quote(value)
        return quote(value)

    def literal(self, text: str, indent: int, *, in_sequence: bool) -> str:
        column = self.best if indent < 0 else self.deeper(indent, in_sequence=in_sequence)
        return literal_block(text, column, self.best)


@lru_cache(maxsize=4096)
def _simple_key(key: str) -> str | None:
    """Write a key; None when it must stand behind a `?`."""
    return quote(key) if may_be_simple_key(key) else None


def may_be_simple_key(key: str) -> bool:
    """Tell whether a key can stand before its colon, not behind a `?`: those can that are short and of one line."""
    return len(key.encode()) <= _LONGEST_SIMPLE_KEY and "\n" not in key and "\r" not in key


def literal_block(text: str, column: int, indent: int) -> str:
    """Write text of several lines as a literal block, the indicator first.

    Args:
        text: The text.
        column: Where its lines begin.
        indent: The document's indent, which Go names when the text begins with a blank.
    """
    hint = str(indent) if text[0] == " " else ""
    chomp = "-" if not text.endswith("\n") else "+" if text.endswith("\n\n") else ""
    lines = text.removesuffix("\n").split("\n")
    pad = " " * column
    return "\n".join([f"|{hint}{chomp}", *(pad + line if line else "" for line in lines)])


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"YAML has no form for {type(value).__name__}")


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    # Go's encoder writes exponents from a million on.
    return float_text(value, low=-4, high=6)


_RUNS = re.compile(r"[0-9]+")


def natural_key(key: Any) -> Any:
    """Return what Go's library sorts keys of a mapping by: numbers before text, runs of digits by their value.

    Args:
        key: A key.
    """
    return _Key(key)


class _Key:
    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __lt__(self, other: _Key) -> bool:
        return _less(self.key, other.key)


def _less(left: Any, right: Any) -> bool:
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return (float(left), _kind(left)) < (float(right), _kind(right))
    if isinstance(left, str) and isinstance(right, str):
        return _text_less(left, right)
    return _kind(left) < _kind(right)


def _kind(key: Any) -> int:
    """Return where a kind of key stands among others."""
    if isinstance(key, bool):
        return 0
    if isinstance(key, int):
        return 1
    if isinstance(key, float):
        return 2
    return 3 if key is None else 4


def _text_less(left: str, right: str) -> bool:
    """Compare by the first difference: other signs before digits before letters, runs of digits by their value."""
    after_digit = False
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a == b:
            after_digit = a.isdigit()
            continue
        if a.isalpha() and b.isalpha():
            return a < b
        if a.isalpha() or b.isalpha():
            # A number that ends here is smaller than one that goes on.
            return a.isalpha() if after_digit else b.isalpha()
        run_a, run_b = _digits(left, index), _digits(right, index)
        # Zeros inside a number count: `101` and `11` differ at the zero, and are 101 and 11 all the same.
        lead = "1" if "0" in {a, b} and _inside_number(left, index) else ""
        value_a, value_b = int(f"0{lead}{run_a}"), int(f"0{lead}{run_b}")
        if value_a != value_b:
            return value_a < value_b
        if len(run_a) != len(run_b):
            return len(run_a) < len(run_b)
        return a < b
    return len(left) < len(right)


def _digits(text: str, at: int) -> str:
    match = _RUNS.match(text, at)
    return match[0] if match else ""


def _inside_number(text: str, at: int) -> bool:
    before = text[:at]
    return bool(before[len(before.rstrip("0123456789")) :].strip("0"))
