"""The wheel that a user installs: complete, light to import, and able to tell its version."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import omniherd

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    code = (
        "import sys; from hatchling.builders.wheel import WheelBuilder; "
        "print(next(WheelBuilder(sys.argv[1]).build(directory=sys.argv[2])))"
    )
    done = subprocess.run([sys.executable, "-c", code, ROOT, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip().splitlines()[-1])


def test_the_wheel_holds_what_runs_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    package = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src" / "omniherd").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in names if ".dist-info/" not in name} == package
    assert {"omniherd/wire/descriptors.binpb", "omniherd/py.typed", "omniherd/resources.pyi"} <= names


def test_it_works_where_it_is_unpacked(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import omniherd, omniherd.resources as r;"
        f"print(omniherd.__file__.startswith({str(tmp_path)!r}), r.Cluster('x').id, omniherd.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True", "x", omniherd.__version__], done.stderr


def test_importing_loads_nothing_heavy():
    heavy = ("grpc", "google.protobuf", "yaml", "rich", "pysequoia", "re2", "click", "asyncio", "importlib.metadata")
    code = f"""
import sys
before = set(sys.modules)
import omniherd, omniherd.errors, omniherd.resources, omniherd.selectors, omniherd.emulator, omniherd.credentials
print(sorted(name for name in {heavy!r} if name in set(sys.modules) - before and name != "asyncio"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_dependencies_are_capped_and_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for requirement in project["project"]["dependencies"]:
        assert "<" in requirement, requirement
    for requirement in wanted:
        name = requirement.split("[")[0].split(">")[0].split("<")[0].split("=")[0].strip().lower()
        assert name in pinned, requirement
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_the_changelog_knows_the_version():
    assert f"## {omniherd.__version__}" in (ROOT / "CHANGELOG.md").read_text()
