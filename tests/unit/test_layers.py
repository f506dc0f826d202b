"""Who may import whom, as CONTRIBUTING.md says; imports inside of functions count."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "omniherd"


def imported(path):
    """Yield the modules that a file names in its imports, whole names of what is taken from them included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(room, *modules):
    """Return the files of a room (all without one) that import one of the modules, or something of it."""
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else (PACKAGE / room).rglob("*.py")
    return {
        str(path.relative_to(PACKAGE))
        for path in files
        if any(f"{name}.".startswith(f"{module}.") for name in imported(path) for module in modules)
    }


@pytest.mark.parametrize("room", ["selectors", "signing", "jsonpath", "yamlform", "template", "machineconfig", "_core"])
def test_what_is_pure_imports_no_grpc(room):
    assert importers(room, "grpc", "omniherd._backend") == set()


@pytest.mark.parametrize("room", ["cli", "emulator"])
def test_the_command_line_and_the_emulator_stand_on_the_public_client(room):
    assert importers(room, "omniherd._async", "omniherd._sync", "omniherd._backend") == set()


def test_nothing_stands_on_the_command_line():
    assert {path for path in importers("", "omniherd.cli") if not path.startswith("cli/")} == set()


def test_who_starts_emulators():
    outside = {path for path in importers("", "omniherd.emulator") if not path.startswith("emulator/")}
    assert outside == {"cli/emulator.py", "pytest_plugin.py"}


def test_an_import_is_seen_wherever_it_stands(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("import a.b\ndef f():\n    if x:\n        from c import d\n")
    assert sorted(imported(path)) == ["a.b", "c.d"]
