"""What a plain YAML scalar means to Go's YAML library, and how Go writes a scalar.

The library is `go.yaml.in/yaml/v4`, which Omni and omnictl are built with. It reads YAML 1.2 with leftovers of 1.1:
`014` is the integer 12, `on` and `12:30` are text, `2026-11-24` is a time.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

__all__ = ["allows_literal", "double_quote", "needs_quotes", "quote", "quote_unprotected", "resolve"]

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys(("-0", "-0.0"), -0.0),
}
_OLD_BOOLEANS = frozenset(
    ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF"]
)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOT_FLOAT = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_INTEGER = re.compile(
    r"(?P<sign>[-+]?)(?:0[xX](?P<x>[0-9a-fA-F]+)|0[bB](?P<b>[01]+)|0[oO]?(?P<o>[0-7]+)|(?P<d>0|[1-9][0-9]*))"
)
_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{1,2})-(?P<day>[0-9]{1,2})"
    r"(?:(?P<separator>[Tt ])(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2}):(?P<second>[0-9]{1,2})"
    r"(?:[.,](?P<fraction>[0-9]+))?(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
# Most of what is written: names, words and paths, which nothing can be mistaken about.
_SIMPLE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_ESCAPES = {
    "\0": "\\0",
    "\a": "\\a",
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\v": "\\v",
    "\f": "\\f",
    "\r": "\\r",
    "\x1b": "\\e",
    '"': '\\"',
    "\\": "\\\\",
    "\x85": "\\N",
    "\u2028": "\\L",
    "\u2029": "\\P",
}
_BREAKS = frozenset("\r\n\x85\u2028\u2029")
_LARGEST = (1 << 64) - 1
_SMALLEST = -(1 << 63)


@lru_cache(maxsize=4096)
def resolve(text: str) -> Any:
    """Return what an unquoted scalar stands for: None, a bool, int, float, `datetime` or the text itself.

    Args:
        text: The scalar as it stands in the document. `<<` is left to the loader.

    Example:
        >>> [resolve(text) for text in ("014", "on", "12:30", "0x1F", "1_000", "~")]
        [12, 'on', '12:30', 31, 1000, None]
    """
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first == ".":
        return float(text) if _DOT_FLOAT.fullmatch(text) else text
    if first not in "+-0123456789":
        return text
    time = _time(text)
    if time is not None:
        return time
    plain = text.replace("_", "")
    integer = _integer(plain)
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(plain):
        value = float(plain)
        # Go refuses what does not fit a double, and the scalar stays text.
        return text if value in {float("inf"), float("-inf")} else value
    return text


def _integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    digits, base = next((match[name], base) for name, base in (("x", 16), ("b", 2), ("o", 8), ("d", 10)) if match[name])
    value = int(digits, base)
    if match["sign"] == "-":
        return -value if -value >= _SMALLEST else None
    # A sign is for signed integers only; without one Go goes on to try an unsigned integer.
    return value if value <= (_LARGEST if not match["sign"] else (1 << 63) - 1) else None


def _time(text: str) -> datetime | None:
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    separator, zone = match["separator"], match["zone"]
    if separator in {"T", "t"} and zone is None:
        return None
    if separator == " " and zone is not None:
        return None
    # Python keeps microseconds; what Go's nanoseconds add is of no use to a spec.
    micros = int((match["fraction"] or "0")[:6].ljust(6, "0"))
    offset = UTC
    try:
        if zone and zone != "Z":
            hours, minutes = int(zone[1:3]), int(zone[4:6])
            if hours > 24 or minutes > 60:
                return None
            delta = timedelta(hours=hours, minutes=minutes)
            offset = timezone(-delta if zone[0] == "-" else delta)
        return datetime(
            int(match["year"]),
            int(match["month"]),
            int(match["day"]),
            int(match["hour"] or 0),
            int(match["minute"] or 0),
            int(match["second"] or 0),
            micros,
            tzinfo=offset,
        )
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def needs_quotes(text: str) -> bool:
    """Tell whether text would be read as something else than text when it stood unquoted."""
    if text in _OLD_BOOLEANS or text == "<<":
        return True
    if not isinstance(resolve(text), str):
        return True
    return ":" in text and _SEXAGESIMAL.fullmatch(text) is not None


def _printable(character: str) -> bool:
    """Tell whether Go's emitter takes a character for printable; above U+FFFF it takes none."""
    code = ord(character)
    return (
        code == 0x0A
        or 0x20 <= code <= 0x7E
        or code == 0x85
        or 0xA0 <= code < 0xD800
        or (0xE000 <= code <= 0xFFFD and code != 0xFEFF)
    )


_ASCII = re.compile(r"[ -~]+")
_BLOCK_MARK = re.compile(r"""\A(?:[#,\[\]{}&*!|>'"%@`]|\?(?: |\Z)|-(?: |\Z)|---|\.\.\.)|:(?: |\Z)| #""")
_FLOW_MARK = re.compile(r"[,?\[\]{}:]")


class _Shape:
    """Which styles a text may be written in, by the rules of libyaml's emitter."""

    __slots__ = ("literal", "multiline", "plain", "plain_in_flow", "single")

    def __init__(self, text: str) -> None:
        self.multiline = False
        if not text:
            self.plain, self.plain_in_flow, self.single, self.literal = True, False, True, False
            return
        if _ASCII.fullmatch(text):
            # Nearly all text; the walk below finds the same, character by character.
            edge_blank = text[0] == " " or text[-1] == " "
            block_mark = _BLOCK_MARK.search(text) is not None
            self.plain = not (edge_blank or block_mark)
            self.plain_in_flow = not (edge_blank or block_mark or _FLOW_MARK.search(text))
            self.single = True
            self.literal = text[-1] != " "
            return
        block_mark = flow_mark = text.startswith(("---", "..."))
        special = tab = break_then_space = space_then_break = False
        previous_space = previous_break = False
        after_blank = True
        last = len(text) - 1
        for index, character in enumerate(text):
            before_blank = index == last or text[index + 1] in " \t" or text[index + 1] in _BREAKS
            if index == 0:
                if character in "#,[]{}&*!|>'\"%@`":
                    flow_mark = block_mark = True
                elif character in "?:":
                    flow_mark = True
                    block_mark |= before_blank
                elif character == "-" and before_blank:
                    flow_mark = block_mark = True
            elif character in ",?[]{}":
                flow_mark = True
            elif character == ":":
                flow_mark = True
                block_mark |= before_blank
            elif character == "#" and after_blank:
                flow_mark = block_mark = True
            if character == "\t":
                tab = True
            elif not _printable(character):
                special = True
            if character == " ":
                break_then_space |= previous_break
                previous_space, previous_break = True, False
            elif character in _BREAKS:
                self.multiline = True
                space_then_break |= previous_space
                previous_space, previous_break = False, True
            else:
                previous_space = previous_break = False
            after_blank = character in " \t\0" or character in _BREAKS
        edge_blank = text[0] == " " or text[-1] == " "
        edge_break = text[0] in _BREAKS or text[-1] in _BREAKS
        broken = space_then_break or tab or special
        plain = not (edge_blank or edge_break or break_then_space or broken or self.multiline)
        self.plain = plain and not block_mark
        self.plain_in_flow = plain and not flow_mark
        self.single = not (break_then_space or broken)
        self.literal = not (text[-1] == " " or space_then_break or special)


@lru_cache(maxsize=4096)
def quote(text: str) -> str:
    r"""Write text on one line: plain, in single or in double quotes, as Go would.

    Args:
        text: The text.

    Example:
        >>> quote("plain"), quote("on"), quote("a: b"), quote("tab\t")
        ('plain', '"on"', "'a: b'", '"tab\\t"')
    """
    if _SIMPLE.fullmatch(text) and text not in _OLD_BOOLEANS and text not in _WORDS:
        return text
    shape = _Shape(text)
    if needs_quotes(text) or shape.multiline:
        return double_quote(text)
    if shape.plain:
        return text
    if shape.single:
        return "'" + text.replace("'", "''") + "'"
    return double_quote(text)


def quote_unprotected(text: str, column: int) -> str:
    """Write text without regard to what it would be read as, the way COSI writes metadata.

    Args:
        text: The text; empty text is written as nothing.
        column: Where the key or item stands, for text of several lines.

    Example:
        >>> quote_unprotected("10", 0), quote_unprotected("", 0), quote_unprotected("a: b", 0)
        ('10', '', "'a: b'")
    """
    shape = _Shape(text)
    if shape.plain:
        return text
    if "\n" in text and text.strip() and shape.literal:
        from omniherd.yamlform.emit import literal_block

        return literal_block(text, column + 4, 4)
    if shape.single and not shape.multiline:
        return "'" + text.replace("'", "''") + "'"
    return double_quote(text)


def allows_literal(text: str) -> bool:
    """Tell whether text of several lines may be written as a literal block."""
    return _Shape(text).literal


def double_quote(text: str) -> str:
    """Write text in double quotes with YAML's escapes."""
    parts = ['"']
    for character in text:
        code = ord(character)
        if _printable(character) and character not in _BREAKS and character not in '"\\':
            parts.append(character)
        elif character in _ESCAPES:
            parts.append(_ESCAPES[character])
        elif code <= 0xFF:
            parts.append(f"\\x{code:02X}")
        elif code <= 0xFFFF:
            parts.append(f"\\u{code:04X}")
        else:
            parts.append(f"\\U{code:08X}")
    parts.append('"')
    return "".join(parts)
