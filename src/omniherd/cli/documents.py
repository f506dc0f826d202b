"""Files of resources: which files are meant, and what is in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd._core.files import reason, yaml_files
from omniherd.errors import InputError, YAMLError

if TYPE_CHECKING:
    from omniherd.resource import Resource

__all__ = ["STDIN", "discover", "read_resources"]

STDIN = "-"


def discover(path: str) -> list[str]:
    """Return the files that a path means: itself, or the YAML files below it in order of their names.

    Args:
        path: A file, a directory, or `-` for standard input.

    Raises:
        InputError: There is nothing, or no YAML file in it.
    """
    if path == STDIN:
        return [STDIN]
    problem = f'failed to discover yaml files from "{path}"'
    try:
        directory = Path(path).is_dir() or not Path(path).stat()
    except OSError as error:
        raise InputError(f"{problem}: stat {path}: {reason(error)}") from None
    if not directory:
        return [path]
    found = yaml_files(path)
    if not found:
        raise InputError(f'{problem}: no YAML files found in directory "{path}"')
    return found


def read_resources(path: str) -> list[Resource[Any]]:
    """Return the resources of a file; all of it is read before anything is done.

    Args:
        path: A file, or `-` for standard input.

    Raises:
        YAMLError: It is no stream of resources.
        OSError: It cannot be read.
    """
    from omniherd.yamlform import resources_from_yaml

    data = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YAMLError(f"the file is no UTF-8 text: byte {error.start}") from None
    return list(resources_from_yaml(text))
