"""How far something is, on standard error, for people only: nothing is written where that is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Progress"]

# What is over within so many seconds needs no bar.
_PATIENCE = 0.5


class Progress:
    """A bar, or a line that shows that something goes on where the total is not known.

    Standard error is used, so that a redirected result stays clean; the bar is taken away at the end.

    Args:
        title: What goes on.
        total: Where 100 % is, None while that is not known.
        bytes_: Whether it is counted in bytes.
        show: Whether anything is shown; by default when standard error is a terminal.

    Example:
        >>> with Progress("downloading", total=2, show=False) as progress:
        ...     progress.advance(1)
    """

    def __init__(
        self, title: str, *, total: float | None = None, bytes_: bool = False, show: bool | None = None
    ) -> None:
        self._title = title
        self._total = total
        self._bytes = bytes_
        self._show = sys.stderr.isatty() if show is None else show
        self._began = time.monotonic()
        self._done = 0.0
        self._note = ""
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.stop()

    def advance(self, amount: float) -> None:
        """Count something that was done."""
        self._done += amount
        self._draw()

    def at(self, done: float, total: float | None = None) -> None:
        """Say how much is done, and of how much."""
        self._done = done
        self._total = total or self._total
        self._draw()

    def tell(self, note: str) -> None:
        """Say what is going on."""
        self._note = note
        # A wait has nothing to count: whatever it says is shown at once.
        self._draw(at_once=True)

    def _draw(self, *, at_once: bool = False) -> None:
        if not self._show:
            return
        bar = self._bar
        if bar is None:
            if not at_once and time.monotonic() - self._began < _PATIENCE:
                return
            bar = self._start()
        bar.update(self._task, completed=self._done, total=self._total, note=self._note)

    def _start(self) -> Any:
        # rich takes longer to import than many a command to run.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bar

        columns: list[ProgressColumn] = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if self._bytes:
            columns += [BarColumn(), DownloadColumn(), TransferSpeedColumn()]
        elif self._total is not None:
            columns.append(BarColumn())
        columns += [TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False)]
        bar = self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._task = bar.add_task(self._title, total=self._total, note="")
        bar.start()
        return bar
