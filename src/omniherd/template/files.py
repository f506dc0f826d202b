"""Files that a template names: found beside it, and read only inside the folder that is allowed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from omniherd._core.files import reason

__all__ = ["FileRefused", "Files"]


class FileRefused(Exception):
    """A file cannot be read; the text is the one that Go gives."""


@dataclass(frozen=True)
class Files:
    """Where files of a template are looked for, and where they may lie.

    Attributes:
        folder: The folder that relative paths start from: the template's own.
        allowed: The folder that files must lie in; None allows all.
    """

    folder: str = "."
    allowed: str | None = None

    @classmethod
    def beside(cls, folder: str | Path, allowed_dir: str | Path | None) -> Files:
        """Return where files of a template in a folder may lie.

        Args:
            folder: The template's folder.
            allowed_dir: The folder that files must lie in, relative to the template's; None allows all.
        """
        allowed = None if allowed_dir is None else os.path.normpath(Path(folder) / allowed_dir)
        return cls(os.fspath(folder), allowed)

    def check(self) -> None:
        """Look whether the allowed folder is one.

        Raises:
            FileRefused: It is not there, or no folder.
        """
        if self.allowed is None:
            return
        try:
            os.close(os.open(self.allowed, os.O_RDONLY | os.O_DIRECTORY))
        except OSError as error:
            raise FileRefused(f"open {self.allowed}: {reason(error)}") from None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Args:
            name: Its path as the template has it.

        Raises:
            FileRefused: It lies outside the allowed folder, is not there or cannot be read.
        """
        path, shown = self._locate(name, "openat", "open")
        try:
            return path.read_bytes()
        except IsADirectoryError:
            within = f"{self._root_name()}/{shown}" if self.allowed is not None else shown
            raise FileRefused(f"read {within}: is a directory") from None
        except OSError as error:
            verb = "openat" if self.allowed is not None else "open"
            raise FileRefused(f"{verb} {shown}: {reason(error)}") from None

    def look(self, name: str) -> None:
        """Look whether a file is there, without reading it.

        Args:
            name: Its path as the template has it.

        Raises:
            FileRefused: It lies outside the allowed folder, or is not there.
        """
        path, shown = self._locate(name, "statat", "stat")
        try:
            path.stat()
        except OSError as error:
            verb = "statat" if self.allowed is not None else "stat"
            raise FileRefused(f"{verb} {shown}: {reason(error)}") from None

    def _root_name(self) -> str:
        return os.path.normpath(self.allowed or ".")

    def _locate(self, name: str, verb: str, free_verb: str) -> tuple[Path, str]:
        """Return the path to open and the path that errors show."""
        if "\0" in name:
            raise FileRefused(f"{verb if self.allowed is not None else free_verb} {name}: invalid argument")
        path = os.path.normpath(Path(self.folder).absolute() / name)
        if self.allowed is None:
            return Path(path), path
        root = os.path.normpath(Path(self.allowed).absolute())
        shown = os.path.relpath(path, root)
        if _escapes(root, shown):
            raise FileRefused(f"{verb} {shown}: path escapes from parent")
        return Path(root, shown), shown


def _escapes(root: str, inner: str) -> bool:
    """Tell whether a path leaves a folder, by itself or through a symbolic link on its way."""
    if inner == ".." or inner.startswith("../"):
        return True
    real_root = Path(root).resolve()
    here = real_root
    for part in inner.split("/"):
        here /= part
        # A link is followed by what it says, and an absolute one leaves the folder wherever it leads.
        if here.is_symlink() and here.readlink().is_absolute():
            return True
    try:
        return not (real_root / inner).resolve().is_relative_to(real_root)
    except (OSError, RuntimeError):
        # Links that go round in circles lead nowhere; opening them says so.
        return False
