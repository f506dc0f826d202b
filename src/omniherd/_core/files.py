"""Files that are replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["is_special", "make_private_directory", "reason", "replacing", "write_atomic", "yaml_files"]

_YAML = (".yaml", ".yml")
_FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def write_atomic(path: str | os.PathLike[str], data: bytes | str, mode: int = 0o600) -> None:
    r"""Replace a file's contents in one step.

    The data goes to a temporary file in the same directory, is flushed to the disk, and is then renamed over the
    target: a reader sees the old contents or the new ones, and a crash leaves one of the two. Where `path` is a
    symbolic link, the file it points to is replaced and the link stays. What is no file (`/dev/stdout`, a pipe) is
    written to as it is.

    Args:
        path: The file; its directory must exist.
        data: The contents; text is written as UTF-8.
        mode: Permission bits of the file, whatever the process's umask says. The temporary file is never readable
            by others, so neither is a secret on its way.

    Raises:
        OSError: The directory is missing or may not be written, or the disk is full. No temporary file is left.

    Example:
        >>> write_atomic("/tmp/omniconfig", "contexts: {}\n", 0o600)
    """
    with replacing(path, mode) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: int = 0o600) -> Generator[BinaryIO]:
    """Yield a file to write to, and put it in the place of another once all of it is there; see `write_atomic`.

    Args:
        path: The file; its directory must exist.
        mode: Permission bits of the file.

    Raises:
        OSError: See `write_atomic`.
    """
    if is_special(path):
        try:
            with Path(path).open("wb") as file:
                yield file
        except OSError as error:
            if error.errno in _FULL:
                raise OSError(error.errno, error.strerror, os.fspath(path)) from error
            raise
        return
    # It takes longer to import than most commands to read.
    import tempfile

    target = Path(os.path.realpath(path))
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
        if isinstance(error, OSError) and (not temporary or error.filename == temporary or error.errno in _FULL):
            # It is told of the file that was asked for, not of one that nobody knows.
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    _sync_directory(target.parent)


def reason(error: OSError) -> str:
    """Return what the system says of a failure, as Go's programs write it: `permission denied`."""
    return (error.strerror or str(error)).lower()


def is_special(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path leads to something that is neither file nor directory: a device, a pipe, a socket."""
    try:
        kind = Path(path).stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(kind) and not stat.S_ISDIR(kind)


def make_private_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory that only its owner may enter, and every missing one above it; an existing one is left alone.

    Raises:
        OSError: It cannot be made.
    """
    directory = Path(path)
    # Path.mkdir gives its mode to the last directory only.
    missing = [parent for parent in (directory, *directory.parents) if not parent.exists()]
    for parent in reversed(missing):
        parent.mkdir(mode=0o700, exist_ok=True)


def yaml_files(directory: str | os.PathLike[str]) -> list[str]:
    """Return the YAML files below a directory in the order of their names; links to directories are not followed.

    Raises:
        OSError: A directory cannot be read.
    """
    found: list[str] = []
    with os.scandir(os.fspath(directory)) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in ordered:
        # Links to directories could lead round in circles.
        if entry.is_dir(follow_symlinks=False):
            found += yaml_files(os.path.normpath(entry.path))
        elif entry.name.lower().endswith(_YAML):
            found.append(os.path.normpath(entry.path))
    return found


def _sync_directory(directory: Path) -> None:
    # The rename is safe on the disk only with its directory. Some file systems cannot sync one; the file is in place.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
