from __future__ import annotations

import json
from pathlib import Path

import pytest

from omniherd.cli.apply import plan
from omniherd.cli.documents import discover, read_resources
from omniherd.errors import InputError, NotFound, PermissionDenied, Unavailable, YAMLError
from omniherd.resources import MachineClass

DISCOVERY = [
    (["config.yaml"], "config.yaml", ["config.yaml"]),
    (["1.yaml", "2.yaml", "3.yml"], ".", ["1.yaml", "2.yaml", "3.yml"]),
    (["b.yaml", "sub/a.yaml", "deep/nested/c.yml"], ".", ["b.yaml", "deep/nested/c.yml", "sub/a.yaml"]),
    (["a.yaml", "README.md", "b.json", "Makefile", "x.yaml~", "#y.yaml#"], ".", ["a.yaml"]),
    (["1.YAML", "2.YML", "3.Yaml"], ".", ["1.YAML", "2.YML", "3.Yaml"]),
    (["a.txt"], "a.txt", ["a.txt"]),
]


@pytest.mark.parametrize(("files", "path", "found"), DISCOVERY)
def test_discovery(
    files: list[str], path: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert discover(path) == found


def test_discovery_as_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Path(__file__).parents[2] / ".." / "shared" / "cli" / "tables.json"
    if not record.exists():
        pytest.skip("the shared record of file discovery is not here")
    for number, case in enumerate(json.loads(record.read_text())["yaml_file_discovery"]):
        directory = tmp_path / str(number)
        directory.mkdir()
        monkeypatch.chdir(directory)
        for name in case["files"]:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text("")
        if "found" in case:
            assert discover(case["path"]) == case["found"]
        else:
            with pytest.raises(InputError, match=case["error_contains"]):
                discover(case["path"])


def test_links_to_directories_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("")
    (tmp_path / "round").symlink_to(tmp_path)
    assert discover(".") == ["a.yaml"]


def test_a_document_that_is_no_resource_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("metadata:\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec: {}\n---\nmetadata: {}\n")
    with pytest.raises(YAMLError, match="expected 4 elements node, got 2"):
        read_resources(str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(YAMLError, match="no UTF-8"):
        read_resources(str(file))
    file.write_text("")
    assert read_resources(str(file)) == []


def wanted(zone: str = "a") -> MachineClass:
    return MachineClass("big", labels={"env": "prod"}, spec={"match_labels": [f"zone = {zone}"]})


def stored(zone: str = "a") -> MachineClass:
    made = wanted(zone)
    made.metadata.version = 4
    made.finalizers = ["Controller"]
    return made


def test_what_is_absent_is_created() -> None:
    def read() -> MachineClass:
        raise NotFound("resource doesn't exist")

    assert plan(wanted(), read).verb == "create"


def test_what_cannot_be_read_is_created_on_trial() -> None:
    denied = PermissionDenied("no access is permitted")

    def read() -> MachineClass:
        raise denied

    step = plan(wanted(), read)
    assert (step.verb, step.denied) == ("create", denied)


def test_other_failures_to_read_are_not_a_reason_to_write() -> None:
    def read() -> MachineClass:
        raise Unavailable("down")

    with pytest.raises(Unavailable):
        plan(wanted(), read)


def test_what_differs_is_updated_with_the_stored_version() -> None:
    step = plan(wanted("b"), lambda: stored("a"))
    assert (step.verb, step.wanted.version) == ("update", 4)
    assert list(step.wanted.spec.match_labels) == ["zone = b"]


def test_stored_finalizers_are_kept() -> None:
    assert list(plan(wanted("b"), lambda: stored("a")).wanted.finalizers) == ["Controller"]
    mine = wanted("b")
    mine.finalizers = ["Mine"]
    assert list(plan(mine, lambda: stored("a")).wanted.finalizers) == ["Mine"]


def test_what_is_unchanged_is_left_alone() -> None:
    assert plan(wanted(), stored).verb == "nothing"


def test_an_owner_in_the_document_goes_to_the_server_to_be_refused() -> None:
    mine = wanted()
    mine.metadata.owner = "Somebody"
    step = plan(mine, stored)
    assert (step.verb, step.wanted.owner) == ("update", "Somebody")


def test_the_document_itself_stays_as_it_is() -> None:
    mine = wanted("b")
    plan(mine, stored)
    assert mine.version is None


def test_a_denied_create_is_told_as_such() -> None:
    from omniherd.cli.apply import _apply
    from omniherd.errors import AlreadyExists, OmniError

    class Server:
        def __init__(self, refusal: Exception) -> None:
            self.refusal = refusal

        def get(self, *_: object, **__: object) -> None:
            raise PermissionDenied("no read", code="PERMISSION_DENIED")

        def create(self, _: object) -> None:
            raise self.refusal

    with pytest.raises(OmniError, match=r"failed to create resource 'big'.*code = PermissionDenied desc = no create"):
        _apply(Server(PermissionDenied("no create")), wanted(), False, False)  # type: ignore[arg-type]
    with pytest.raises(OmniError, match=r"already exists and cannot be read .*no read.*; destroy it before"):
        _apply(Server(AlreadyExists("there")), wanted(), False, False)  # type: ignore[arg-type]
