"""Nodes of a YAML document written again in their own style: flow stays flow, quotes stay quotes."""

from __future__ import annotations

from typing import Any

__all__ = ["node_lines"]

_INDENT = 4


def node_lines(value: Any, column: int = 0) -> list[str]:
    """Return the lines of nodes, of mappings (sorted by key) and of lists that hold them.

    Args:
        value: A node, or a dict or list with nodes inside. What stands before its first line is not written.
        column: Where its lines begin.
    """
    pairs = _pairs(value)
    if pairs is not None:
        return [line for key, inner in pairs for line in _pair(key, inner, column)]
    pad = " " * column
    found: list[str] = []
    for item in value if isinstance(value, list) else value.value:  # pyright: ignore[reportUnknownVariableType]
        if _is_inline(item):
            found += f"{pad}- {_inline(item, column + 2)}".split("\n")
        else:
            inner = node_lines(item, column + 2)
            found += [f"{pad}- {inner[0].lstrip(' ')}", *inner[1:]]
    return found


def _pairs(value: Any) -> list[tuple[str, Any]] | None:
    """Return the keys and values of a mapping, None for anything else."""
    from omniherd.yamlform.emit import natural_key
    from omniherd.yamlform.scalars import quote

    if isinstance(value, dict):
        return [(quote(key), value[key]) for key in sorted(value, key=natural_key)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, list) or value.id != "mapping":
        return None
    return [(_inline(key, 0), inner) for key, inner in value.value]


def _pair(key: str, value: Any, column: int) -> list[str]:
    from omniherd.yamlform.emit import may_be_simple_key

    pad, inner = " " * column, _deeper(column)
    simple = may_be_simple_key(key)
    before = [] if simple else [f"{pad}? {key}"]
    if _is_inline(value):
        return [*before, *f"{pad}{key if simple else ''}: {_inline(value, inner)}".rstrip(" ").split("\n")]
    if simple:
        return [f"{pad}{key}:", *node_lines(value, inner)]
    first, *rest = node_lines(value, inner)
    return [*before, f"{pad}:{first[column + 1 :]}", *rest]


def _deeper(column: int) -> int:
    """Return the next column for what a key holds: the next whole step, also from within a list."""
    return _INDENT * ((column + _INDENT) // _INDENT)


def _is_inline(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return not value
    return value.id == "scalar" or bool(value.flow_style) or not value.value


def _inline(value: Any, column: int) -> str:
    from omniherd.yamlform.emit import literal_block
    from omniherd.yamlform.scalars import allows_literal, double_quote, quote

    if isinstance(value, (dict, list)):
        return "{}" if isinstance(value, dict) else "[]"
    if value.id == "mapping":
        inner = ", ".join(f"{_inline(key, 0)}: {_inline(one, 0)}".rstrip(" ") for key, one in value.value)
        return f"{{{inner}}}"
    if value.id == "sequence":
        return f"[{', '.join(_inline(one, 0) for one in value.value)}]"
    text: str = value.value
    if value.style in {"|", ">"}:
        return literal_block(text, column, _INDENT) if text.strip() and allows_literal(text) else double_quote(text)
    if value.style == "'":
        shown = quote(text)
        return shown if shown.startswith('"') else "'" + text.replace("'", "''") + "'"
    return double_quote(text) if value.style == '"' else text
