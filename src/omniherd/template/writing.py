"""Models written as a template file, with the keys in the order of omnictl's export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from omniherd._core.durations import duration_text
from omniherd.template import models
from omniherd.template.inline import inline_text
from omniherd.template.language import KEYS, KINDS, NEWEST, OLDEST, Shape

__all__ = ["write_documents"]

_INDENT = 2


class _Raw(str):
    """Text that is written as a block, however short it is."""

    __slots__ = ()


def write_documents(documents: Sequence[models.Document], dialect: str = OLDEST) -> str:
    """Return models as the text of a template file.

    Args:
        documents: The models.
        dialect: The version of the language; keys that it does not have are left out.

    Raises:
        InputError: Inline content has no YAML form.
    """
    kinds = {kind.model: name for name, kind in KINDS.items()}
    texts: list[str] = []
    for document in documents:
        values = {"kind": kinds[type(document)], **_values(document, dialect)}
        texts.append("\n".join(_lines(values, 0)) + "\n")
    return "---\n".join(texts)


def _values(element: models.Element, dialect: str) -> dict[str, Any]:
    """Return an element as plain values, without what is at its default."""
    found: dict[str, Any] = {}
    for key in KEYS[type(element)][1]:
        if key.since != OLDEST and dialect != NEWEST:
            continue
        value: Any = getattr(element, key.attribute)
        if key.shape is Shape.INLINE:
            if value is not None:
                found[key.name] = _inline(value)
        elif key.shape in {Shape.OPTIONAL_TEXTS, Shape.OPTIONAL_ELEMENT}:
            if value is not None:
                found[key.name] = _values(value, dialect) if isinstance(value, models.Element) else list(value)
        elif key.shape is Shape.ELEMENT:
            inner = _values(value, dialect)
            if inner or key.always:
                found[key.name] = inner
        elif key.shape is Shape.ELEMENTS:
            if value:
                found[key.name] = [_values(one, dialect) for one in value]
        elif key.shape is Shape.DURATION:
            if value != timedelta():
                found[key.name] = duration_text(value)
        elif key.shape is Shape.FLAG and value is False and key.since != OLDEST and key.name.startswith("disable"):
            # Unlike other flags this one says something when it is false.
            found[key.name] = False
        elif value or key.always:
            found[key.name] = value
    return found


def _inline(content: models.Inline) -> Any:
    # Writing it once shows whether it can be.
    inline_text(content)
    if isinstance(content, str):
        return _Raw(content)
    if isinstance(content, Mapping):
        return content
    return content[0] if len(content) == 1 else list(content)


def _lines(values: Mapping[str, Any], column: int) -> list[str]:
    from omniherd.yamlform import dump

    pad = " " * column
    found: list[str] = []
    for key, value in values.items():
        if isinstance(value, _Raw):
            found += f"{pad}{key}: {_block(value, column + _INDENT)}".split("\n")
        elif key in _INLINE_KEYS and not isinstance(value, str):
            found += _shift(dump({key: value}, indent=_INDENT), pad)
        elif isinstance(value, dict) and value and key not in _TEXT_MAPS:
            found.append(f"{pad}{key}:")
            found += _lines(cast("dict[str, Any]", value), column + _INDENT)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found.append(f"{pad}{key}:")
            for item in cast("list[dict[str, Any]]", value):
                inner = _lines(item, column + 2 * _INDENT) or [f"{pad}{' ' * (2 * _INDENT)}{{}}"]
                found.append(f"{pad}{' ' * _INDENT}- {inner[0].lstrip(' ')}")
                found += inner[1:]
        else:
            found += _shift(dump({key: value}, indent=_INDENT), pad)
    return found


_INLINE_KEYS = frozenset(("inline", "job"))
_TEXT_MAPS = frozenset(("labels", "annotations"))


def _shift(text: str, pad: str) -> list[str]:
    return [f"{pad}{line}" if line else "" for line in text.removesuffix("\n").split("\n")]


def _block(text: str, column: int) -> str:
    from omniherd.yamlform.emit import literal_block
    from omniherd.yamlform.scalars import allows_literal, double_quote

    if text.strip() and allows_literal(text):
        return literal_block(text, column, _INDENT)
    return double_quote(text)
