"""Fixtures for tests of code that talks to Omni: `omni_emulator`, a server of their own, and `omni`, a client of it.

While a test uses one of them, the environment's `OMNI…` variables lead to the emulator with a key that is worth
nothing elsewhere, its `SIDERO…` variables are unset, and no omniconfig of the person who runs the tests is read: what
the test calls cannot reach a real fleet.

The server is new for each test. `--omni-emulator-scope session` (or `omni_emulator_scope = session` in pytest's
configuration) makes one for the whole run. A mark gives the arguments of `omniherd.emulator.Emulator` for one test,
a class or a module:

    @pytest.mark.omni_emulator(seed_fleet=False)
    def test_starts_empty(omni):
        assert not list(omni.list("clusters"))
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from omniherd import Omni
    from omniherd.emulator import Emulator

__all__ = ["omni", "omni_emulator"]

_Scope = Literal["function", "class", "module", "package", "session"]
_SCOPES: tuple[_Scope, ...] = ("function", "class", "module", "package", "session")
_MARK = "omni_emulator"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for the emulator's scope."""
    text = "how long an omni_emulator lives: function (the default), class, module, package or session"
    parser.getgroup("omniherd").addoption(
        "--omni-emulator-scope", choices=_SCOPES, default=None, help=text, dest="omni_emulator_scope"
    )
    parser.addini("omni_emulator_scope", text, default="function")


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line("markers", f"{_MARK}(**options): arguments of omniherd.emulator.Emulator for these tests")


def _scope(fixture_name: str, config: pytest.Config) -> _Scope:
    scope = config.getoption("omni_emulator_scope") or config.getini("omni_emulator_scope")
    for known in _SCOPES:
        if scope == known:
            return known
    raise pytest.UsageError(f"omni_emulator_scope is one of {', '.join(_SCOPES)}, not {scope!r} ({fixture_name})")


def _lead(variables: dict[str, str], nowhere: Path) -> Iterator[None]:
    """Let the environment lead to the emulator alone until the generator goes on."""
    with pytest.MonkeyPatch.context() as patch:
        for name in tuple(os.environ):
            if name.startswith(("OMNI", "SIDERO")):  # SIDERO_SERVICE_ACCOUNT_KEY wins over Omni's
                patch.delenv(name)
        patch.setenv("OMNICONFIG", str(nowhere / "omniconfig"))
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope=_scope)
def omni_emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """A running `omniherd.emulator.Emulator`; `OMNI_ENDPOINT` and `OMNI_SERVICE_ACCOUNT_KEY` lead to it."""
    from omniherd.emulator import Emulator

    options: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers(_MARK))):
        options.update(mark.kwargs)
    with Emulator(**options) as emulator:
        for _ in _lead(emulator.environment(), tmp_path_factory.getbasetemp() / "omniherd-no-config"):
            yield emulator


@pytest.fixture
def omni(omni_emulator: Emulator) -> Iterator[Omni]:
    """A client that is connected to `omni_emulator` as an Admin."""
    with omni_emulator.connect() as client:
        yield client
