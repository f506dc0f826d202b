"""Dates as Go reads them, with its words for what is wrong."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime

__all__ = ["BadDate", "parse_date"]

_LAYOUT = "2006-01-02"
_LAST_MONTH = 12
_YEAR_DIGITS = 4


class BadDate(Exception):
    """A text that is no date; what it says is Go's."""


def parse_date(text: str) -> datetime:
    """Return the beginning of a day that is written as `2026-11-24`.

    Args:
        text: The day.

    Raises:
        BadDate: It is none.
    """

    def cannot(rest: str, part: str) -> BadDate:
        return BadDate(f'parsing time "{text}" as "{_LAYOUT}": cannot parse "{rest}" as "{part}"')

    if len(text) < _YEAR_DIGITS or not re.match(r"[0-9]{4}", text):
        raise cannot(text, "2006")
    numbers = [int(text[:_YEAR_DIGITS])]
    rest = text[_YEAR_DIGITS:]
    for part in ("01", "02"):
        if not rest.startswith("-"):
            raise cannot(rest, "-")
        rest = rest[1:]
        if not re.match(r"[0-9]{2}", rest):
            raise cannot(rest, part)
        numbers.append(int(rest[:2]))
        rest = rest[2:]
        if part == "01" and not 1 <= numbers[1] <= _LAST_MONTH:
            raise BadDate(f'parsing time "{text}": month out of range')
    if rest:
        raise BadDate(f'parsing time "{text}": extra text: "{rest}"')
    year, month, day = numbers
    # Go's calendar has a year 0, a leap year; Python's begins with 1.
    days = calendar.monthrange(year or 4, month)[1]
    if not 1 <= day <= days:
        raise BadDate(f'parsing time "{text}": day out of range')
    return datetime(max(year, 1), month, day, tzinfo=UTC)
