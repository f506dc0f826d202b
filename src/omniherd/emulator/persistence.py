"""The emulator's state in an SQLite file: every change is in the file before its caller is answered.

The file is in write-ahead mode without waiting for the disk: what was answered survives the death of the process, by
`kill -9` too; a loss of power may take the last moments.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from typing import TYPE_CHECKING

from omniherd._core.files import reason
from omniherd.emulator.records import DESTROYED
from omniherd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping
    from pathlib import Path

    from omniherd.emulator.records import Event, Stored
    from omniherd.emulator.store import Store

__all__ = ["Journal", "read_resources", "save"]

_FORM = "1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources (
    namespace TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL, resource BLOB NOT NULL,
    PRIMARY KEY (namespace, type, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, entry TEXT NOT NULL);
"""
_PUT = "INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM resources WHERE namespace = ? AND type = ? AND id = ?"


class Journal:
    """A file that follows a store.

    Args:
        path: The file; made with mode 0600 when it is not there, since it holds the key of an Admin.

    Raises:
        ConfigError: The file cannot be used, is something else, or another emulator uses it.

    Attributes:
        facts: What was noted beside the resources, by name.
        fresh: Whether the file held no state.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with _told(path):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._database = _open(path)
            try:
                # Held until the end: two emulators on one file would each forget what the other wrote.
                self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=NORMAL")
                self._database.executescript(_SCHEMA)
                self.facts: dict[str, str] = dict(self._database.execute("SELECT name, value FROM facts"))
            except sqlite3.Error:
                self._database.close()
                raise
        self.fresh = "form" not in self.facts
        if not self.fresh and self.facts["form"] != _FORM:
            self._database.close()
            raise ConfigError(f"the data in {path} has the form {self.facts['form']}, which this version cannot read")

    def load(self, store: Store) -> None:
        """Put what the file holds into a store; no controller reacts."""
        with _told(self._path), store.quietly():
            for (data,) in self._database.execute("SELECT resource FROM resources"):
                store.restore(data)

    def begin(self, store: Store, facts: Mapping[str, str]) -> None:
        """Make the file hold a store's state, and follow it from here on.

        Args:
            store: The store.
            facts: What to note beside the resources.
        """
        with store.lock, _told(self._path):
            _write(self._database, _all(store), facts)
            store.keep(self._follow)

    def entries(self) -> list[str]:
        """Return what was noted with `note`, the oldest first."""
        with self._lock, _told(self._path):
            return [entry for (entry,) in self._database.execute("SELECT entry FROM audit ORDER BY id")]

    def note(self, number: int, entry: str, oldest: int) -> None:
        """Keep an entry of the audit log.

        Args:
            number: Its number.
            entry: The entry as text.
            oldest: The number of the oldest entry that is still to be kept.
        """
        with self._lock, _told(self._path):
            self._database.execute("INSERT OR REPLACE INTO audit VALUES (?, ?)", (number, entry))
            if oldest > 1:
                self._database.execute("DELETE FROM audit WHERE id < ?", (oldest,))

    def close(self) -> None:
        """Close the file; changes after that fail."""
        with self._lock:
            self._database.close()

    def _follow(self, event: Event) -> None:
        resource = event.resource
        assert resource is not None  # noqa: S101 - keepers are told of changes only
        key = (resource.namespace, resource.type, resource.id)
        with self._lock, _told(self._path):
            if event.kind == DESTROYED:
                self._database.execute(_REMOVE, key)
            else:
                self._database.execute(_PUT, (*key, resource.wire))


def read_resources(path: Path) -> list[bytes]:
    """Return the resources that a file of this form holds, encoded `cosi.resource.Resource` messages.

    Args:
        path: The file; it is not changed, but may not be in use.

    Raises:
        ConfigError: The file cannot be read or is something else.
    """
    with _told(path):
        database = _open(path)
        try:
            return [data for (data,) in database.execute("SELECT resource FROM resources")]
        finally:
            database.close()


def _write(database: sqlite3.Connection, resources: Iterable[Stored], facts: Mapping[str, str] | None = None) -> None:
    """Make a file hold resources and nothing else, in one step.

    Args:
        database: The file, with the tables.
        resources: What to hold.
        facts: What to note beside them.
    """
    rows = [(one.namespace, one.type, one.id, one.wire) for one in resources]
    database.execute("BEGIN IMMEDIATE")
    try:
        database.execute("DELETE FROM resources")
        database.executemany(_PUT, rows)
        for name, value in {**(facts or {}), "form": _FORM}.items():
            database.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def save(path: Path, resources: Iterable[Stored]) -> None:
    """Write resources to a new file of mode 0600, or in place of one.

    Raises:
        ConfigError: The file cannot be written.
    """
    with _told(path):
        part = path.with_name(path.name + ".part")
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            database = _open(part)
            try:
                database.executescript(_SCHEMA)
                _write(database, resources)
            finally:
                database.close()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    # Autocommit: each statement is its own transaction. Whoever calls holds a lock of the store or the journal.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)


def _all(store: Store) -> Iterator[Stored]:
    for namespace, type_name in store.kinds():
        yield from store.list(namespace, type_name)


@contextlib.contextmanager
def _told(path: Path) -> Generator[None]:
    """Say failures of a file in words."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot use {path} for the emulator's data: {reason(error)}") from error
    except sqlite3.Error as error:
        hint = "another emulator may be using it" if "locked" in str(error) else "it wants a file of its own, or none"
        raise ConfigError(f"cannot use {path} for the emulator's data: {error}", hint=hint) from error
