"""Runs the command line in the test's own process: a start of Python for each call takes minutes."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from omniherd.cli import main as cli

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pytest

# What leads a command line to files and servers of whoever runs the tests.
PERSONAL = ("OMNI", "SIDEROV1_", "XDG_", "KUBECONFIG", "TALOSCONFIG")


class InnerShell:
    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        for name in [name for name in os.environ if name.startswith(PERSONAL)]:
            monkeypatch.delenv(name)
        for name, value in {"HOME": str(folder / "home"), "TZ": "UTC", **environ}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(folder)

    def __call__(self, *words: str) -> tuple[int, str, str]:
        code = cli.run(words)
        out, err = self._capsys.readouterr()
        return code, out, err

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def inner_shell(
    folder: Path, environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[InnerShell]:
    """Give a shell, and put back what a command line makes of signals."""
    kept = signal.getsignal(signal.SIGTERM)
    yield InnerShell(folder, environ, monkeypatch, capsys)
    signal.signal(signal.SIGTERM, kept)
