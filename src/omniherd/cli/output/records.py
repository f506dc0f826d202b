"""Lists that are no resources: users, keys, tokens. As a table, or as one JSON or YAML document with stable names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from omniherd.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["check_format", "moment_text", "seen", "write_record", "write_records"]

_FORMATS = ("table", "json", "yaml")


def check_format(name: str, more: tuple[str, ...] = ()) -> str:
    """Return an output format, `table` for none.

    Args:
        name: What `--output` says.
        more: Formats of a command's own.

    Raises:
        InputError: There is no such format.
    """
    known = (*_FORMATS, *more)
    if name and name not in known:
        raise InputError(f'output format "{name}" is not supported', hint=f"one of {', '.join(known)}")
    return name or "table"


def write_records(
    form: str,
    records: Sequence[Mapping[str, Any]],
    titles: Sequence[str],
    rows: Sequence[Sequence[str]],
    padding: int = 3,
) -> None:
    """Write a list to standard output.

    Args:
        form: `table`, `json` or `yaml`; see `check_format`.
        records: What JSON and YAML show: a list of mappings, the same keys in each.
        titles: The table's titles.
        rows: The table's cells; there may be more rows than records.
        padding: Blanks between the table's columns.
    """
    if form == "table":
        from omniherd.cli.output.tables import cell, layout

        cells = [tuple(titles), *(tuple(cell([text]) for text in row) for row in rows)]
        sys.stdout.write(layout(cells, padding))
    elif form == "json":
        import json

        sys.stdout.write(json.dumps([dict(record) for record in records], indent=4, ensure_ascii=False) + "\n")
    else:
        from omniherd.yamlform import dump

        sys.stdout.write(dump([dict(record) for record in records], sort=False))


def write_record(form: str, record: Mapping[str, Any]) -> None:
    """Write one thing to standard output as a JSON or YAML document.

    Args:
        form: `json` or `yaml`; tables are the business of each command.
        record: What it is.
    """
    if form == "json":
        import json

        sys.stdout.write(json.dumps(dict(record), indent=4, ensure_ascii=False) + "\n")
    else:
        from omniherd.yamlform import dump

        sys.stdout.write(dump(dict(record), sort=False))


def moment_text(moment: Any) -> str | None:
    """Return a time as RFC 3339 in UTC with whole seconds, None for none."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def seen(text: str) -> str | None:
    """Return when somebody was last seen, None for never, as which the server writes a word."""
    return None if text in {"", "Never"} else text
