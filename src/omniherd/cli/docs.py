"""`omniherd docs`: the help of every command in one Markdown file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings
from omniherd.cli.flags import command
from omniherd.cli.main import group_help
from omniherd.cli.table import ROOT, Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["docs", "pages"]


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="DIRECTORY")
def docs(**values: Any) -> None:
    """Write the help of every command to the file cli.md of a directory."""
    from omniherd._core.files import write_atomic

    Settings(values)
    text = "# Commands of omniherd\n"
    for path, help_ in pages():
        text += f"\n## {path}\n\n```text\n{help_.rstrip()}\n```\n"
    write_atomic(Path(values["words"][0]) / "cli.md", text, 0o644)


def pages() -> Iterator[tuple[str, str]]:
    """Yield every command and group with its help, from the top down."""
    yield from _pages(ROOT, ROOT.name)


def _pages(node: Entry, path: str) -> Iterator[tuple[str, str]]:
    if node.module:
        made = node.load()
        yield path, made.get_help(click.Context(made, info_name=path))
    else:
        yield path, group_help(node, path)
    for child in node.children.values():
        yield from _pages(child, f"{path} {child.name}")
