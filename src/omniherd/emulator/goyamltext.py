"""What Go's YAML parsers say of text that does not parse, told from what Python's says; both stem from libyaml."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["go_yaml_fault", "go_yaml_fault_4"]

_NO_NODE = "did not find expected node content"


def go_yaml_fault(error: Any, text: str) -> str:
    """Return a fault in the words of go-yaml up to version 3.

    Lines are counted from one for faults of the scanner, from zero for those of the parser, and the first is not told.

    Args:
        error: PyYAML's error.
        text: What was parsed.
    """
    marks = (getattr(error, "context_mark", None), getattr(error, "problem_mark", None))
    lines = [mark.line for mark in marks if mark is not None and mark.line]
    place = f"line {lines[0] + _is_scanner(error)}: " if lines else ""
    return f"yaml: {place}{_problem(error, text)}"


def go_yaml_fault_4(error: Any, text: str) -> str:
    """Return a fault in the words of go-yaml 4, which tells the context too.

    Args:
        error: PyYAML's error.
        text: What was parsed.
    """
    context, problem = getattr(error, "context", None), getattr(error, "problem_mark", None)
    if context is not None and _lacks_node(error):
        # The end of a text that ends with a line break is told as being in its last line.
        mark = error.context_mark
        line = max(1, mark.line + bool(mark.column))
        return f"yaml: {context} at line {line}: {_problem(error, text)}"
    told = ""
    where = "" if problem is None else _place(problem, error)
    if context is not None and error.context_mark is not None:
        start = _place(error.context_mark, error)
        told = f"{context} at {start or '<unknown position>'}: "
        where = "" if where == start else where
    return f"yaml: {told}{where and where + ': '}{_problem(error, text)}"


def _place(mark: Any, error: Any) -> str:
    from yaml.composer import ComposerError

    if not _is_scanner(error) and not isinstance(error, ComposerError):
        return f"line {mark.line}" if mark.line else ""
    column = mark.column + isinstance(error, ComposerError)
    return f"line {mark.line + 1}" + (f", column {column + 1}" if column else "")


def _is_scanner(error: Any) -> bool:
    from yaml.scanner import ScannerError

    return isinstance(error, ScannerError)


def _lacks_node(error: Any) -> bool:
    # In the words of PyYAML, and of libyaml.
    return str(getattr(error, "problem", "")).startswith(("expected the node content", _NO_NODE))


def _problem(error: Any, text: str) -> str:
    problem = getattr(error, "problem", None)
    if _lacks_node(error):
        return _NO_NODE
    if problem != "found undefined alias":
        return str(problem or error)
    number, column = int(error.problem_mark.line), int(error.problem_mark.column)
    lines = text.splitlines()
    name = re.match(r"\*?([\w-]*)", lines[number][column:] if number < len(lines) else "")
    return f"unknown anchor '{name[1] if name else ''}' referenced"
