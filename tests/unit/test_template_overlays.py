"""Overlays: near-identical clusters from one base."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omniherd import template
from omniherd.errors import InputError
from omniherd.template import TemplateError, read_fleet

BASE = """\
kind: Cluster
name: ${cluster}
kubernetes: {version: v1.34.3}
talos: {version: "${talos}"}
labels: {site: "${site}", literal: "$${site} ${cluster}"}
patches:
  - file: patches/common.yaml
  - name: time
    inline:
      machine: {time: {servers: "${ntp}"}}
  - name: text
    inline: |
      machine:
        env: {SITE: "${site}"}
---
kind: ControlPlane
machineClass: {name: small, size: "${size}"}
---
kind: Workers
labels: {a: b, c: d}
"""
PARIS = """\
kind: Overlay
base: ../base/edge.yaml
name: paris
values:
  talos: v1.12.7
  site: FR
  ntp: [a.example.com, b.example.com]
  size: 3
---
kind: Cluster
features: {enableWorkloadProxy: true}
patches:
  - name: text
    labels: {x: y}
  - name: more
    inline: {machine: {env: {A: b}}}
---
kind: Workers
labels: {a: null, e: f}
---
kind: Workers
name: gpu
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "base/edge.yaml": BASE,
        "base/patches/common.yaml": "debug: true\n",
        "clusters/paris.yaml": PARIS,
        "clusters/oslo.yaml": PARIS.replace("paris", "oslo").replace("FR", "'no: {quotes'"),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def problems(path: str, *, allowed_dir: str = "..") -> list[str]:
    with pytest.raises(TemplateError) as caught:
        template.load(path, allowed_dir=allowed_dir)
    return [str(one) for one in caught.value.problems]


@pytest.mark.usefixtures("folder")
def test_an_overlay_is_a_template() -> None:
    paris = template.load("clusters/paris.yaml", allowed_dir="..")
    paris.validate()
    cluster, plane, workers, gpu = paris.documents
    assert isinstance(cluster, template.Cluster)
    assert (cluster.name, cluster.talos.version) == ("paris", "v1.12.7")
    assert cluster.labels == {"site": "FR", "literal": "${site} paris"}
    assert cluster.features.enable_workload_proxy
    assert [one.title for one in cluster.patches] == ["patches/common.yaml", "time", "text", "more"]
    assert cluster.patches[1].inline == {"machine": {"time": {"servers": ["a.example.com", "b.example.com"]}}}
    assert cluster.patches[2].inline == 'machine:\n  env: {SITE: "FR"}\n'
    assert cluster.patches[2].labels == {"x": "y"}
    assert isinstance(plane, template.ControlPlane)
    assert plane.machine_class == template.MachineClass("small", 3)
    assert workers.labels == {"c": "d", "e": "f"}
    assert isinstance(gpu, template.Workers)
    assert gpu.name == "gpu"
    # The base's files are found from the overlay, and keep the ids that they would have in the base.
    assert [one.id for one in paris.resources()][1] == "200-cluster-paris-patches/common.yaml"


@pytest.mark.usefixtures("folder")
def test_a_value_cannot_break_what_is_around_it() -> None:
    oslo = template.load("clusters/oslo.yaml", allowed_dir="..")
    assert oslo.cluster.labels["site"] == "no: {quotes"


@pytest.mark.usefixtures("folder")
def test_a_fleet_has_the_overlays_and_not_their_base() -> None:
    fleet = read_fleet(["."])
    assert [one.cluster.name for one in fleet.templates] == ["oslo", "paris"]
    assert fleet.unused == []
    fleet.validate()
    with pytest.raises(TemplateError, match="path escapes from parent"):
        read_fleet(["clusters"])


def test_an_overlay_may_stand_on_an_overlay(folder: Path) -> None:
    (folder / "clusters/lyon.yaml").write_text(
        "kind: Overlay\nbase: paris.yaml\nname: lyon\n---\nkind: Workers\nname: gpu\nlabels: {big: ''}\n"
    )
    lyon = template.load("clusters/lyon.yaml", allowed_dir="..")
    assert lyon.cluster.name == "lyon"
    assert [one.id for one in lyon.resources()][:2] == ["lyon", "200-cluster-lyon-patches/common.yaml"]
    assert lyon.documents[3].labels == {"big": ""}
    lyon.validate()


def test_findings_stand_in_the_file_that_is_wrong(folder: Path) -> None:
    paris = folder / "clusters/paris.yaml"
    paris.write_text(PARIS.replace("  site: FR\n", "").replace("size: 3", "size: 3\n  unused: 1"))
    assert problems("clusters/paris.yaml") == [
        'base/edge.yaml:5:16: value "site" is not set',
        'base/edge.yaml:12:13: value "site" is not set',
        'clusters/paris.yaml:8:11: value "unused" is not used in the base',
    ]
    paris.write_text(PARIS.replace("site: FR", "site: [a]"))
    assert problems("clusters/paris.yaml") == [
        'base/edge.yaml:12:13: value "site" is no text and stands inside of one',
    ]
    paris.write_text(PARIS.replace("name: paris", "names: paris"))
    assert problems("clusters/paris.yaml")[0] == (
        "clusters/paris.yaml:3:1: field names is not one of an overlay: kind, base, name, values"
    )
    paris.write_text(PARIS.replace("enableWorkloadProxy", "workloadProxy"))
    assert problems("clusters/paris.yaml") == [
        "clusters/paris.yaml:11:12: field workloadProxy not found in type models.Features"
    ]
    paris.write_text(PARIS)
    (folder / "base/edge.yaml").write_text(BASE.replace("talos:", "talus:"))
    assert problems("clusters/paris.yaml") == ["base/edge.yaml:4:1: field talus not found in type models.Cluster"]
    (folder / "base/edge.yaml").write_text(BASE.replace("size:", "size: 'x"))
    (one,) = problems("clusters/paris.yaml")
    assert one.startswith("base/edge.yaml:")


@pytest.mark.parametrize(
    ("base", "wrong"),
    [
        ("../../edge.yaml", "path escapes from parent"),
        ("../base/none.yaml", "no such file or directory"),
        ("paris.yaml", "bases stand on each other without end"),
        ("", "an overlay needs a base"),
        ("[a]", "base is text"),
    ],
)
def test_bases_that_cannot_be_read(folder: Path, base: str, wrong: str) -> None:
    (folder / "clusters/paris.yaml").write_text(PARIS.replace("../base/edge.yaml", base))
    assert any(wrong in one for one in problems("clusters/paris.yaml"))


def test_the_examples_are_valid() -> None:
    examples = Path(__file__).parents[2] / "examples" / "templates"
    fleet = read_fleet([examples])
    fleet.validate(strict=True)
    assert [one.cluster.name for one in fleet.templates] == [
        "classes",
        "oslo",
        "paris",
        "production",
        "restored",
        "small",
    ]
    assert fleet.unused == []
    assert fleet.templates[1].cluster.labels == {"site": "NO"}


def test_a_base_with_a_key_that_is_no_text_is_an_error_with_its_line(folder: Path) -> None:
    (folder / "base/odd.yaml").write_text("kind: Cluster\n? [a]\n: b\n")
    (folder / "clusters/odd.yaml").write_text("kind: Overlay\nbase: ../base/odd.yaml\nname: c\n")
    (found,) = problems("clusters/odd.yaml")
    assert found == "base/odd.yaml:2:3: cannot construct !!seq into string"


@given(
    st.text(alphabet="${}abcdefg :-\n[]'\"&*|>#~", max_size=60), st.text(alphabet="${}name :-\n[]'\"&*|", max_size=40)
)
@settings(max_examples=150, deadline=None)
def test_nothing_but_errors_of_ours(tmp_path_factory: pytest.TempPathFactory, base: str, change: str) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "base.yaml").write_text(f"kind: Cluster\nname: {base}\nlabels: &a {{b: '${{x}}'}}\nannotations: *a\n")
    (folder / "over.yaml").write_text(
        f"kind: Overlay\nbase: base.yaml\nvalues: {{x: y}}\n---\nkind: Cluster\n{change}\n"
    )
    with contextlib.suppress(InputError):
        template.load(folder / "over.yaml").problems()
