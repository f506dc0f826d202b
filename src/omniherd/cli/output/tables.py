"""Tables: cells side by side, each column as wide as its widest cell and three blanks; the last is not padded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from omniherd.jsonpath import Template
    from omniherd.resource import Resource

__all__ = ["Columns", "cell", "layout", "one_line"]

_PADDING = 3


def layout(rows: Iterable[Sequence[str]], padding: int = _PADDING, widths: list[int] | None = None) -> str:
    r"""Return rows as lines of a table.

    Args:
        rows: Rows of the same length.
        padding: Blanks between the columns.
        widths: How wide columns were before, for rows that stand below others; what they have become since is put in.

    Example:
        >>> layout([("ID", "VERSION"), ("lab", "1")])
        'ID    VERSION\nlab   1\n'
    """
    held = [tuple(map(one_line, row)) for row in rows]
    if not held:
        return ""
    kept = [0] * len(held[0]) if widths is None else widths
    kept[:] = [
        max(before, *(len(text) for text in column))
        for before, column in zip(kept or [0] * len(held[0]), zip(*held, strict=True), strict=True)
    ]
    wide = [*(width + padding for width in kept[:-1]), 0]
    return "".join("".join(text.ljust(width) for text, width in zip(row, wide, strict=True)) + "\n" for row in held)


def cell(values: Sequence[Any]) -> str:
    """Return what a column shows for the values that its path found: lists and maps as compact JSON."""
    from omniherd._core.gojson import dumps
    from omniherd.jsonpath import text_of

    shown: list[str] = []
    for value in values:
        if isinstance(value, (dict, list)):
            shown.append(dumps(value, indent=None))
        elif value is None:
            shown.append("null")
        else:
            shown.append(text_of(value))
    return one_line(" ".join(shown))


def one_line(text: str) -> str:
    """Return a text as one line that a terminal shows as it is."""
    # A line end would break the table, an escape sequence could rewrite the terminal.
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class Columns:
    """The extra columns of a type, read out of specs.

    Args:
        columns: Titles and JSONPath templates into the spec's YAML form.
    """

    def __init__(self, columns: Iterable[tuple[str, str]]) -> None:
        from omniherd.cli.output.fields import path_of

        pairs = list(columns)
        self.titles = tuple(title.upper() for title, _ in pairs)
        self._paths = [(text, path_of(text)) for _, text in pairs]
        self._compiled: dict[str, Template] = {}
        for text, path in self._paths:
            if path is None:
                self._template(text)

    def _template(self, text: str) -> Template:
        from omniherd.jsonpath import compile as compile_template

        if text not in self._compiled:
            self._compiled[text] = compile_template(text)
        return self._compiled[text]

    def of(self, resource: Resource[Any]) -> tuple[str, ...]:
        """Return the cells of a resource."""
        if not self._paths:
            return ()
        from google.protobuf.message import Message

        from omniherd.cli.output.fields import shown

        spec: Any = resource.spec
        if isinstance(spec, Message):
            plain = [None if path is None else shown(spec, path) for _, path in self._paths]
            if None not in plain:
                return tuple(one_line(text) for text in plain if text is not None)
        return self.cells(resource.yaml_spec)

    def cells(self, yaml_spec: str) -> tuple[str, ...]:
        """Return the cells of a resource, given its spec in Omni's YAML form."""
        if not self._paths:
            return ()
        from omniherd.errors import JSONPathError
        from omniherd.yamlform import load

        spec: Any = load(yaml_spec) if yaml_spec else {}
        cells: list[str] = []
        for text, _ in self._paths:
            try:
                results = self._template(text).results(spec)
                cells.append(cell([value for values in results for value in values]))
            except JSONPathError:
                cells.append("")
        return tuple(cells)
