"""Regular expressions on ids: checked here, so that a bad one is told before anything is sent."""

from __future__ import annotations

from typing import Any

from omniherd.errors import InputError

__all__ = ["check_regexp"]

# RE2's names of its errors, and what Go calls them.
_IN_GO = {
    "missing ]": "missing closing ]",
    "missing )": "missing closing )",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "trailing \\": "trailing backslash at end of expression",
    "invalid named capture group": "invalid named capture",
}


def check_regexp(text: str) -> None:
    """Check an RE2 expression.

    Raises:
        InputError: It does not parse; the message is Go's.

    Example:
        >>> check_regexp("^lab-")
    """
    from importlib import import_module

    # It has no types.
    re2: Any = import_module("re2")

    options = re2.Options()
    # It would write to standard error by itself.
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        raw = error.args[0]
        message = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        name, colon, where = message.partition(": ")
        told = _IN_GO.get(name, name)
        raise InputError(
            f"invalid ID regexp: error parsing regexp: {told}" + (f": `{where}`" if colon else "")
        ) from None
