"""Unified diffs for people: coloured on a terminal."""

from __future__ import annotations

__all__ = ["coloured"]

_RESET = "\x1b[0m"
_BOLD, _CYAN, _RED, _GREEN = "\x1b[1m", "\x1b[36m", "\x1b[31m", "\x1b[32m"
# The first that fits wins: heads begin like changes.
_SHADES = (("--- ", _BOLD), ("+++ ", _BOLD), ("@@ ", _CYAN), ("-", _RED), ("+", _GREEN))


def coloured(text: str) -> str:
    r"""Return a diff with its lines in colour.

    Example:
        >>> coloured("+a\n")
        '\x1b[32m+a\x1b[0m\n'
    """
    return "".join(_line(line) for line in text.splitlines(keepends=True))


def _line(line: str) -> str:
    shade = next((shade for start, shade in _SHADES if line.startswith(start)), "")
    text = line.rstrip("\n")
    return f"{shade}{text}{_RESET}{line[len(text) :]}" if shade else line
