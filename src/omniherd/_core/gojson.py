"""JSON as Go writes it: keys sorted, `<`, `>` and `&` escaped, times in RFC 3339."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any, TypeGuard

__all__ = ["dumps", "escape", "float_text", "time_text"]

# Go gives up at these; protobuf's JSON writes them so.
_NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def dumps(value: Any, *, indent: int | None = 4) -> str:
    r"""Write a value of plain Python data as Go's encoder would.

    Args:
        value: None, booleans, numbers, text, times, lists and mappings of these. Keys that are not text are written as
            the text of their JSON form, numbers that are not finite as the texts that protobuf has for them.
        indent: Blanks for each level; None for the form without blanks or line breaks.

    Returns:
        The JSON text, without a final line break.

    Raises:
        TypeError: A value has no JSON form.

    Example:
        >>> from omniherd._core.gojson import dumps
        >>> dumps({"b": 1, "a": "x > y"}, indent=None)
        '{"a":"x \\u003e y","b":1}'
    """
    parts: list[str] = []
    _write(value, parts, "" if indent is None else "\n", " " * (indent or 0))
    return "".join(parts)


def escape(text: str) -> str:
    r"""Return JSON text with what Go's encoder never writes plainly written as it does: `<` is `\u003c`."""
    return text.translate(_ESCAPES)


def _is_map(value: Any) -> TypeGuard[dict[Any, Any]]:
    return isinstance(value, dict)


def _is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, list | tuple)


def _write(value: Any, parts: list[str], line: str, step: str) -> None:
    """Append a value's text; `line` is the line break with the current indent, empty in the compact form."""
    if _is_map(value):
        _write_map(value, parts, line, step)
    elif _is_list(value):
        inner = line + step if line else ""
        separator = "["
        for item in value:
            parts.append(separator + inner)
            separator = ","
            _write(item, parts, inner, step)
        parts.append(line + "]" if value else "[]")
    else:
        parts.append(_scalar(value))


def _write_map(value: dict[Any, Any], parts: list[str], line: str, step: str) -> None:
    inner = line + step if line else ""
    colon = ": " if line else ":"
    separator = "{"
    # Go orders keys by their bytes, which is the order of code points.
    for key, item in sorted(((_key(key), item) for key, item in value.items()), key=lambda pair: pair[0]):
        parts.append(f"{separator}{inner}{_text(key)}{colon}")
        separator = ","
        _write(item, parts, inner, step)
    parts.append(line + "}" if value else "{}")


def _key(key: Any) -> str:
    return key if isinstance(key, str) else _scalar(key).strip('"')


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _NOT_FINITE.get(str(value)) or float_text(value)
    if isinstance(value, date):
        return f'"{time_text(value)}"'
    if isinstance(value, bytes):
        return json.dumps(list(value), separators=(",", ":"))
    raise TypeError(f"a {type(value).__name__} has no JSON form")


def _text(text: str) -> str:
    # A lone surrogate cannot be sent as UTF-8; Go writes the replacement character for what is not valid text.
    clean = text.encode("utf-8", "replace").decode() if any("\ud800" <= char <= "\udfff" for char in text) else text
    return json.dumps(clean, ensure_ascii=False).translate(_ESCAPES)


def float_text(value: float, *, low: int = -6, high: int = 21) -> str:
    """Write a float in the fewest digits that read back as the same.

    Args:
        value: A finite number.
        low: The smallest exponent of ten that is written with leading zeros instead: -6 in JSON, -4 for Go's `%v`.
        high: The smallest exponent that is written as one: 21 in JSON, 6 for `%v`.

    Raises:
        ValueError: The number is not finite.
    """
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - a NaN is what differs from itself
        raise ValueError("a number that is not finite has no digits")
    if value == 0:
        return "-0" if str(value).startswith("-") else "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent_text = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    exponent = int(exponent_text or 0) + len(whole) - 1
    if not whole.strip("0"):
        exponent -= len(fraction) - len(fraction.lstrip("0")) + 1
    digits = digits.rstrip("0") or "0"
    if low <= exponent < high:
        if exponent < 0:
            return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
        digits = digits.ljust(exponent + 1, "0")
        fraction = digits[exponent + 1 :]
        return sign + digits[: exponent + 1] + (f".{fraction}" if fraction else "")
    point = f".{digits[1:]}" if len(digits) > 1 else ""
    # JSON drops the zero that Go's `%v` puts before a single digit of a negative exponent.
    width = 1 if low == -6 and exponent < 0 else 2
    return f"{sign}{digits[0]}{point}e{'-' if exponent < 0 else '+'}{abs(exponent):0{width}d}"


def time_text(value: date) -> str:
    """Write a time in RFC 3339, with as much of the fraction as is not zero; a time without a zone is UTC."""
    if not isinstance(value, datetime):
        return f"{value.isoformat()}T00:00:00Z"
    offset = value.utcoffset() or timedelta()
    text = value.replace(tzinfo=None, microsecond=0).isoformat()
    if value.microsecond:
        text += f".{value.microsecond:06d}".rstrip("0")
    if not offset:
        return text + "Z"
    minutes = int(offset.total_seconds()) // 60
    return f"{text}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
