"""Durations as Go writes and reads them: `1h30m15s`."""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

__all__ = ["UNITS", "duration_text", "parse_duration"]

UNITS = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),
    "μs": Fraction(1),
    "ms": Fraction(1000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|µs|μs|ms|s|m|h)")
# Go counts nanoseconds in 63 bits.
_LONGEST = Fraction((1 << 63) - 1, 1000)


def parse_duration(text: str) -> timedelta | None:
    """Read a duration, to the microsecond; None when it is none.

    Args:
        text: Numbers with units, `2h45m`, with or without a sign.

    Example:
        >>> parse_duration("1h30m").total_seconds()
        5400.0
    """
    sign = -1 if text.startswith("-") else 1
    rest = text[1:] if text[:1] in {"-", "+"} else text
    if rest == "0":
        return timedelta()
    if not rest:
        return None
    total = Fraction(0)
    at = 0
    while at < len(rest):
        match = _PART.match(rest, at)
        if match is None or not (match[1] or match[2]):
            return None
        digits = (match[1] or "") + (match[2] or "")
        total += Fraction(int(digits[:60]), 10 ** len(match[2] or "")) * UNITS[match[3]]
        at = match.end()
    if total > _LONGEST:
        return None
    return sign * timedelta(microseconds=int(total))


def duration_text(value: timedelta) -> str:
    """Write a duration as Go does.

    Example:
        >>> duration_text(timedelta(hours=2, minutes=30))
        '2h30m0s'
    """
    micros = (value.days * 86400 + value.seconds) * 1_000_000 + value.microseconds
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1_000_000:
        if micros == 0:
            return "0s"
        return f"{sign}{micros}µs" if micros < 1000 else f"{sign}{_fraction(micros, 1000)}ms"
    minutes, rest = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_fraction(rest, 1_000_000)}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return sign + text


def _fraction(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    if not part:
        return str(whole)
    return f"{whole}.{str(part).rjust(len(str(unit)) - 1, '0').rstrip('0')}"
