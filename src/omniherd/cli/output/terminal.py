"""Text of servers and machines on a terminal: what it says is shown, what it would do to the terminal is not done."""

from __future__ import annotations

__all__ = ["harmless"]

# Control characters but for line end and tab, and their twins above 127: all of them begin commands of some terminal.
_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def harmless(text: str) -> str:
    r"""Return a text with its control characters written out.

    Example:
        >>> harmless("a\x1b[2Jb\n")
        'a\\x1b[2Jb\n'
    """
    return text.translate(_SHOWN)
