"""How `get` prints resources, one printer a format. Each takes resources one by one and yields text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from omniherd.errors import InputError, JSONPathError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from omniherd.resource import Resource

__all__ = [
    "Beside",
    "JSONLinesPrinter",
    "JSONPathPrinter",
    "JSONPrinter",
    "Printer",
    "TablePrinter",
    "YAMLPrinter",
    "printer_for",
]

Beside = tuple[tuple[str, ...], "Callable[[str], tuple[str, ...]]"]
"""Titles of more columns, and what makes their cells out of an id."""

_MARKS = {"created": "+", "updated": " ", "destroyed": "-"}


class Printer(Protocol):
    """Turns resources into text."""

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Take a resource; return what can be printed by now.

        Args:
            resource: The resource.
            event: In a watch, `created`, `updated` or `destroyed`.
        """
        ...

    def flush(self) -> str:
        """Return what was held back."""
        ...


def printer_for(
    output: str, columns: Sequence[tuple[str, str]], display: str, *, watch: bool, beside: Beside | None = None
) -> Printer:
    """Return the printer of an output format.

    Args:
        output: The format as the user gave it: `table`, `yaml`, `json`, `jsonl`, `jsonpath=TEMPLATE`.
        columns: Extra table columns of the type: title and path into the spec.
        display: The type's name in tables.
        watch: Whether events are printed rather than resources.
        beside: More cells of a table, from ids.

    Raises:
        InputError: There is no such format.
        JSONPathError: The template does not parse.
    """
    if output == "table":
        return TablePrinter(columns, display, watch=watch, beside=beside)
    if output == "yaml":
        return YAMLPrinter()
    if output == "json":
        return JSONPrinter()
    if output == "jsonl":
        return JSONLinesPrinter()
    if output.startswith("jsonpath="):
        return JSONPathPrinter(output.removeprefix("jsonpath="))
    raise InputError(
        f'output format "{output}" is not supported',
        hint="formats are table, wide, yaml, json, jsonl and jsonpath=TEMPLATE",
    )


def _nothing(_ident: str) -> tuple[str, ...]:
    return ()


class TablePrinter:
    """A table. Rows are held back until `flush`, so that columns are as wide as their widest cell."""

    def __init__(
        self,
        columns: Sequence[tuple[str, str]],
        display: str,
        *,
        watch: bool = False,
        beside: Beside | None = None,
    ) -> None:
        from omniherd.cli.output.tables import Columns

        self._columns = Columns(columns)
        self._display = display
        self._watch = watch
        more, self._cells = beside or ((), _nothing)
        titles = ("NAMESPACE", "TYPE", "ID", "VERSION", *self._columns.titles, *more)
        self._rows: list[tuple[str, ...]] = [("*", *titles) if watch else titles]
        self._widths: list[int] = []

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Take a row."""
        metadata = resource.metadata.proto
        row = (metadata.namespace, self._display, metadata.id, metadata.version)
        cells = self._columns.of(resource)
        cells = (*cells, *self._cells(metadata.id))
        self._rows.append((_MARKS[event], *row, *cells) if self._watch else (*row, *cells))
        return ""

    def flush(self) -> str:
        """Lay out the rows that were taken since the last time."""
        from omniherd.cli.output.tables import layout

        rows, self._rows = self._rows, []
        # In a watch each event is a line of its own, below those that were printed before.
        return layout(rows, widths=self._widths)


class YAMLPrinter:
    """YAML documents, parted by `---`."""

    def __init__(self) -> None:
        self._first = True

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Return the document."""
        mark = "" if self._first else "---\n"
        self._first = False
        return f"{mark}event: {event}\n{resource.to_yaml()}" if event else mark + resource.to_yaml()

    def flush(self) -> str:
        """Nothing."""
        return ""


def _plain(resource: Resource[Any], event: str) -> Any:
    from omniherd.yamlform import typed_object

    value = typed_object(resource.to_yaml())
    if event:
        value["event"] = event
    return value


class JSONPrinter:
    """JSON objects, one after another, keys sorted."""

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Return the object."""
        from omniherd._core.gojson import dumps

        return dumps(_plain(resource, event)) + "\n"

    def flush(self) -> str:
        """Nothing."""
        return ""


class JSONLinesPrinter:
    """JSON objects, one a line. Label and annotation values are texts here, whatever they look like."""

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Return the line."""
        from omniherd._core.gojson import dumps

        value = resource.to_dict()
        return dumps({"event": event, **value} if event else value, indent=None) + "\n"

    def flush(self) -> str:
        """Nothing."""
        return ""


class JSONPathPrinter:
    """What a JSONPath template finds, each result on its own line.

    Raises:
        JSONPathError: The template does not parse.
    """

    def __init__(self, template: str) -> None:
        from omniherd.jsonpath import compile as compile_template

        self._template = compile_template(template)

    def add(self, resource: Resource[Any], event: str = "") -> str:
        """Return the lines.

        Raises:
            JSONPathError: The template does not apply to the resource.
        """
        try:
            return "".join(f"{line}\n" for line in self._template.render_lines(_plain(resource, event)))
        except JSONPathError as error:
            error.hint = error.hint or f"it was {resource} that the template does not apply to"
            raise

    def flush(self) -> str:
        """Nothing."""
        return ""
