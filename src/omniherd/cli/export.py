"""`omniherd export --all`: everything that people manage, as the files of a fleet."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import command, flag

__all__ = ["export"]


@command(minimum=1, maximum=1, required=("all",))
@click.argument("words", nargs=-1, metavar="DIR")
@flag("--all", help="export everything: clusters as templates, the rest as resources")
@flag("--secrets", help="with credentials of other services: backups to S3, BMCs")
def export(**values: Any) -> None:
    """Write everything that people manage to the files of a folder; `omniherd apply DIR` brings it back.

    Files that are as they should be are not touched; accounts, join tokens and keys are left out.
    """
    settings = Settings(values)
    folder = Path(values["words"][0])
    with connected(settings) as omni:
        found = omni.templates.export_fleet(secrets=values["secrets"])
    files = found.files()
    _write(folder, files)
    for type_name in found.unreadable:
        sys.stderr.write(f"left out: {type_name}, which this identity may not read\n")
    for name in _stale(folder, files):
        sys.stderr.write(f"no longer on the server: {name}\n")


def _write(folder: Path, files: dict[str, str]) -> None:
    from omniherd._core.files import write_atomic

    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_bytes() == text.encode():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        # Patches may hold secrets.
        write_atomic(path, text)


def _stale(folder: Path, files: dict[str, str]) -> list[str]:
    """Return the YAML files beside those that were written."""
    from omniherd._core.files import yaml_files

    kinds = sorted({name.partition("/")[0] for name in files})
    there = [path for kind in kinds for path in yaml_files(folder / kind)]
    written = {str(folder / name) for name in files}
    return [path for path in there if str(Path(path)) not in written]
