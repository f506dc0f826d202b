"""What the documents of a machine configuration are made of: their fields, and how Talos' library writes each.

The table beside this module is recorded from the library (`tools/record_machine_fields.py`). A shape is `string`,
`bool`, `int`, `duration` or `interface`, which is anything. Before another shape `*` says that it may be absent, `[]`
that it is a list, `{}` a mapping with text as keys. `@` begins a type with fields, `~` a type that writes itself.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, cast

__all__ = ["Field", "empty_text", "fields_of", "shape_of_kind"]


class Field(NamedTuple):
    """A field of a type.

    Attributes:
        name: Its key, `*` for all keys that no other field has.
        shape: What it holds.
        omit: Whether it is left out when it is empty.
        replace: Whether merging puts a new list in place of the old one, instead of after it.
        keyed: Whether its type merges by rules of its own.
    """

    name: str
    shape: str
    omit: bool = False
    replace: bool = False
    keyed: bool = False


@cache
def _table() -> dict[str, dict[str, Any]]:
    text = files("omniherd.machineconfig").joinpath("fields.json").read_text("utf-8")
    return cast("dict[str, dict[str, Any]]", json.loads(text))


def shape_of_kind(kind: str) -> str | None:
    """Return the shape of a kind of document, None for one that is not known; the main document has no kind."""
    return _table()["kinds"].get(kind or "v1alpha1")


@cache
def fields_of(shape: str) -> tuple[Field, ...]:
    """Return the fields of a shape that begins with `@`, in the order in which they are written."""
    return tuple(
        Field(name, inner, "omit" in marks, "replace" in marks, "merger" in marks)
        for name, inner, *marks in _table()["structs"][shape]
    )


def empty_text(shape: str) -> Any:
    """Return what the zero value of a shape that begins with `~` is written as."""
    return _table()["texts"][shape]
