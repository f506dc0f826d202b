"""Templates: what the recorded cases do not show."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from omniherd import template
from omniherd._core.durations import duration_text, parse_duration
from omniherd.errors import InputError
from omniherd.template import (
    Cluster,
    ControlPlane,
    Kubernetes,
    Machine,
    MachineClass,
    Manifest,
    Patch,
    Talos,
    Template,
    TemplateError,
    Workers,
)
from omniherd.template.problems import go_quote
from omniherd.template.validation import machine_id_refusal
from omniherd.template.versions import VersionRefused, parse_version

M1, M2, M3 = (f"{digit * 8}-1111-4111-8111-111111111111" for digit in "123")
HEAD = """\
kind: Cluster
name: lab
kubernetes: {version: v1.34.3}
talos: {version: v1.12.7}
"""


def lab(*documents, **options):
    cluster = Cluster("lab", Kubernetes("v1.34.3"), Talos("v1.12.7"), **options)
    return Template([cluster, *(documents or (ControlPlane(machines=[M1]),))])


def refusal(action):
    with pytest.raises(TemplateError) as caught:
        action()
    return caught.value


# --- small parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m15s", 5415),
        ("0", 0),
        ("-1.5h", -5400),
        ("+2ms", 0.002),
        (".5s", 0.5),
        ("1.s", 1),
        ("3µs", 0.000003),
        ("3μs", 0.000003),
        ("999ns", 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "-", "1", "1d", "s", ".s", "1h ", "1 h", "9999999h", "1" * 200 + "ns"])
def test_what_is_no_duration(text):
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(), "0s"),
        (timedelta(hours=2), "2h0m0s"),
        (timedelta(minutes=90), "1h30m0s"),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=1, seconds=1.5), "1m1.5s"),
        (timedelta(milliseconds=1.5), "1.5ms"),
        (timedelta(microseconds=7), "7µs"),
        (-timedelta(days=2), "-48h0m0s"),
    ],
)
def test_durations_are_written_as_go_does(value, text):
    assert duration_text(value) == text
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("1.2-a", "Short version cannot contain PreRelease/Build meta data"),
        ("1.2.3-", "Prerelease is empty"),
        ("1.2.3-01", 'Numeric PreRelease version must not contain leading zeroes "01"'),
        ("1.2.3-a_b", 'Invalid character(s) found in prerelease "a_b"'),
        ("1.2.3+", "Build meta data is empty"),
        ("1.2.3+a_b", 'Invalid character(s) found in build meta data "a_b"'),
        ("1.x", 'Invalid character(s) found in minor number "x"'),
        (
            "1.99999999999999999999",
            'strconv.ParseUint: parsing "99999999999999999999": value out of range',
        ),
        ("1.2.3-99999999999999999999", 'strconv.ParseUint: parsing "99999999999999999999": value out of range'),
    ],
)
def test_refused_versions(text, reason):
    with pytest.raises(VersionRefused, match=re.escape(reason)):
        parse_version(text)


def test_versions_are_compared():
    assert parse_version("v1.5.0-beta.1+x").before(1, 5, 0)
    assert not parse_version(" v01.05 ").before(1, 5, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (M1, ""),
        (M1.replace("-", ""), ""),
        (f"urn:uuid:{M1}", ""),
        (f"{{{M1}}}", ""),
        ("", "invalid UUID length: 0"),
        ("é", "invalid UUID length: 2"),
        (f"xrn:uuid:{M1}", 'invalid urn prefix: "xrn:uuid:"'),
        (M1.replace("-", "_"), "invalid UUID format"),
        ("g" * 32, "invalid UUID format"),
    ],
)
def test_machine_ids(text, reason):
    assert machine_id_refusal(text) == reason


def test_text_is_quoted_as_go_does():
    assert go_quote('é"\\\x01\u200b\U000e0001\t') == r'"é\"\\\x01\u200b\U000e0001\t"'


# --- files ------------------------------------------------------------------------------------------------------------


def read(folder, name, allowed="."):
    found = template.loads(f"kind: Machine\nname: {M1}\npatches:\n- file: {name}\n", folder=folder, allowed_dir=allowed)
    return [problem.text for problem in found.problems() if "file" in problem.text or "access" in problem.text]


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.yaml").write_text("machine: {}\n")
    (tmp_path / "in" / "relative").symlink_to("../secret.yaml")
    (tmp_path / "in" / "absolute").symlink_to(tmp_path / "secret.yaml")
    (tmp_path / "in" / "up").symlink_to("..")
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / "p.yaml").write_text("machine: {}\n")
    (tmp_path / "in" / "fine").symlink_to("p.yaml")
    for name in ("relative", "absolute", "up/secret.yaml"):
        (text,) = read(tmp_path / "in", name)
        assert text.endswith(f'failed to access "{name}": openat {name}: path escapes from parent')
    assert read(tmp_path / "in", "fine") == []
    (text,) = read(tmp_path / "in", "loop")
    assert "failed to access" in text
    # Without a limit they are followed.
    assert read(tmp_path / "in", "relative", allowed=None) == []


def test_an_absolute_path_counts_by_where_it_leads(tmp_path):
    (tmp_path / "p.yaml").write_text("machine: {}\n")
    assert read(tmp_path, tmp_path / "p.yaml") == []
    (text,) = read(tmp_path, "/etc/hostname")
    assert text.endswith("path escapes from parent")


def test_a_file_of_another_encoding_is_a_finding(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"machine: {env: {a: \xff}}\n")
    found = template.loads(f"kind: Machine\nname: {M1}\npatches:\n- file: p.yaml\n", folder=tmp_path)
    assert any("invalid leading UTF-8 octet" in problem.text for problem in found.problems())
    (tmp_path / "m.yaml").write_bytes(b"\xff")
    found = template.loads(
        "kind: Cluster\nname: a\nkubernetes:\n  manifests: [{name: x, mode: full, file: m.yaml}]\n", folder=tmp_path
    )
    assert "m.yaml is not UTF-8 text" in str(refusal(found.resources))


def test_a_template_that_cannot_be_opened(tmp_path):
    error = refusal(lambda: template.load(tmp_path / "absent.yaml"))
    assert str(error) == f"open {tmp_path}/absent.yaml: no such file or directory"
    assert error.stage == "opening"
    assert "is a directory" in str(refusal(lambda: template.load(tmp_path)))


def test_problems_say_where_they_are(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(f"{HEAD}labels: {{omni.sidero.dev/x: y}}\n---\nkind: ControlPlane\nname: x\n")
    error = refusal(template.load(path).validate)
    assert [str(problem) for problem in error.problems] == [
        f'{path}:5:1: cluster "lab": label "omni.sidero.dev/x" is invalid: prefix "omni.sidero.dev/" is reserved for'
        " internal use",
        f"{path}:8:1: control plane: custom name is not allowed in the controlplane",
    ]


def test_all_documents_are_looked_at_though_the_text_is_of_the_first():
    error = refusal(lambda: template.loads("kind: Cluster\nfoo: 1\n---\nkind: Machine\nlocked: 5\n"))
    assert str(error) == (
        "error decoding document at line 1:1: yaml: construct errors:\n"
        "  line 2: field foo not found in type models.Cluster"
    )
    assert [(problem.line, problem.text) for problem in error.problems] == [
        (2, "field foo not found in type models.Cluster"),
        (5, "cannot construct !!int `5` into bool"),
    ]


def test_findings_of_a_template_made_by_a_program_have_no_place():
    problems = lab(ControlPlane(name="x")).problems()
    assert [str(problem) for problem in problems] == ["control plane: custom name is not allowed in the controlplane"]


# --- dialects ---------------------------------------------------------------------------------------------------------

NEWER = f"""\
{HEAD}features: {{disablePublicDiscoveryService: false, enableNodeAuditSkip: true}}
---
kind: ControlPlane
machines: [{M1}]
---
kind: Machine
name: {M1}
install: {{diskSelector: disk.size > 10u}}
"""


def test_newer_keys_need_the_newer_dialect():
    assert "field disablePublicDiscoveryService not found" in str(refusal(lambda: template.loads(NEWER)))
    found = template.loads(NEWER, dialect="auto")
    assert found.dialect == "1.10"
    found.validate()
    made = {one.type.partition(".")[0]: one for one in found.resources()}
    assert made["Clusters"].spec.features.enable_node_audit_skip
    disk = made["MachineInstallDiskConfigs"]
    assert (disk.id, disk.spec.disk_selector, dict(disk.labels)) == (M1, "disk.size > 10u", {})
    assert template.loads(found.to_yaml(), dialect="1.10").documents == found.documents
    assert "disablePublicDiscoveryService: false" in found.to_yaml()


def test_auto_stays_with_the_older_language_where_that_is_enough():
    assert template.loads(HEAD, dialect="auto").dialect == "1.9"
    # What is wrong in both is told in the words of the older.
    assert str(refusal(lambda: template.loads("kind: Cluster\nfoo: 1\n", dialect="auto"))).endswith(
        "construct errors:\n  line 2: field foo not found in type models.Cluster"
    )


def test_disk_and_selector_exclude_each_other():
    text = NEWER.replace("diskSelector", "disk: /dev/vda, diskSelector")
    (problem,) = template.loads(text, dialect="1.10").problems()
    assert problem.text.endswith("install.disk and install.diskSelector are mutually exclusive")


def test_an_unknown_dialect():
    with pytest.raises(InputError, match=r'unknown dialect "2\.0"'):
        template.loads(HEAD, dialect="2.0")


# --- stricter than omnictl --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (
            lab(patches=[Patch("a", "machine: {}", id_override="x"), Patch("b", "machine: {}", id_override="x")]),
            "resource ID duplicate ConfigPatches.omni.sidero.dev(default/x)",
        ),
        (lab(ControlPlane(machines=[M1, M1])), f"resource ID duplicate MachineSetNodes.omni.sidero.dev(default/{M1})"),
        (
            lab(ControlPlane(machines=[M1]), Workers(machines=[M2]), Workers("workers", machines=[M3])),
            "resource ID duplicate MachineSets.omni.sidero.dev(default/lab-workers)",
        ),
        (
            lab(ControlPlane(machine_class=MachineClass("a", 1)), kernel_args=["a"]),
            "kernelArgs cannot be defined at cluster level for this machine set since it uses a machine class",
        ),
    ],
)
def test_strict(found, text):
    """omnictl finds these only when it makes resources."""
    found.validate()
    assert any(text in problem.text for problem in found.problems(strict=True))
    assert refusal(found.resources).stage == "rendering"


def test_forbidden_fields_in_a_later_document_of_a_patch():
    text = "apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: x\n---\nmachine: {token: x}\n"
    found = lab(patches=[Patch("p", text)])
    found.validate()
    (problem,) = found.problems(strict=True)
    assert problem.text.endswith('overriding "machine.token" is not allowed in the config patch')


# --- models -----------------------------------------------------------------------------------------------------------


def test_content_in_every_form():
    forms = [{"a": 1}, [{"a": 1}, {"b": 2}], "a: 1\n# kept\n"]
    found = lab(ControlPlane(), patches=[Patch(str(index), form) for index, form in enumerate(forms)])
    data = [one.spec.data for one in found.resources() if one.type.startswith("ConfigPatches")]
    assert data == ["a: 1\n", "a: 1\n---\nb: 2\n", "a: 1\n# kept\n"]
    again = template.loads(found.to_yaml())
    assert [one.spec.data for one in again.resources() if one.type.startswith("ConfigPatches")] == data


def test_content_without_a_form_is_a_finding():
    found = lab(
        patches=[Patch("p", {"a": object()})],
    )
    found.cluster.kubernetes.manifests = [Manifest("m", "full", {"a": object()})]
    found.cluster.kubernetes.healthchecks = [template.HealthCheck("h", {"a": object()})]
    texts = [problem.text for problem in found.problems()]
    assert len(texts) == 3
    assert all("cannot be written as YAML" in text for text in texts)
    with pytest.raises(InputError, match="cannot be written as YAML"):
        found.to_yaml()


def test_one_line_of_text_is_written_as_a_block():
    found = Template([Machine(M1, patches=[Patch("a", "machine: {}"), Patch("b", " \n"), Patch("c", "")])])
    text = found.to_yaml()
    assert "inline: |-\n      machine: {}\n" in text
    assert template.loads(text).documents == found.documents


def test_a_template_without_a_cluster():
    assert str(refusal(lambda: Template([ControlPlane()]).cluster)) == "cluster model not found"


def test_render_shows_the_time_that_it_is_given():
    now = datetime(2026, 11, 24, 8, 0, 0, 5, tzinfo=UTC)
    text = lab().render(now=now)
    assert text.count("created: 2026-11-24T08:00:00Z\n") == text.count("updated: 2026-11-24T08:00:00Z\n") == 3
    assert "0001-01-01T00:00:00Z" in lab().render()


def test_render_checks_first():
    assert "custom name is not allowed" in str(refusal(lab(ControlPlane("x")).render))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("labels:\n  a: >\n    a", 7),
        ("labels:\n  a: >\n    a\n\n    b", 9),
        ("labels:\n  a: >\n    a\n    b\n\n    c", 9),
        ("labels:\n  a: >-\n    a\n    b\n\n    c", 8),
        ("labels:\n  a: >-\n    a\n\n\n    c", 9),
        ("labels:\n  a: >+\n    a\n\n    c\n\n", 11),
        ("labels:\n  a: >-\n    a\n      b\n    c", 9),
        ("labels:\n  a: >\n\n    a\n     b\n\n    c\n\n\n", 12),
        ("labels:\n  a: a\n\n    b", 7),
        ("labels:\n  a: a\n\n\n    b", 8),
        ("labels:\n  a: 'a\n\n    b\n\n    c'", 9),
        ("labels:\n  a: '\n\n    b'", 7),
        ('labels:\n  a: "a\n\n    b"', 5),
        ("labels:\n  a: |\n    a\n    b\n\n", 7),
        ("labels: {a: 'two\n\n    lines', b: 'x\n\n\n   y'}", 9),
        ("labels: {a: two\n\n    lines}", 4),
        ("systemExtensions: ['a\n\n  b', c]", 6),
        ("systemExtensions:\n  - a\n\n    b\n  - >\n    c\n  - |\n    d\n    e", 13),
        ("labels:\n  ? 'a\n\n  b'\n  : c", 8),
        ("labels:\n  ? |\n    a\n    b\n  : c", 8),
        ("labels:\n  ? KKK\n  : 'c\n\n  d'", 8),
        ("labels:\n  KKK: |\n    c\n    d", 8),
        ("labels:\n  KKK: x", 6),
    ],
)
def test_errors_name_the_line_of_what_omnictl_prints(text, line):
    """The lines are omnictl's, which decodes what it has printed anew."""
    with pytest.raises(TemplateError) as caught:
        template.loads(f"kind: Cluster\nname: a\n{text.replace('KKK', 'k' * 130)}\nunknown: 1\n")
    assert f"line {line}: field unknown not found" in caught.value.message


def test_long_keys_stand_behind_a_question_mark():
    long = "k" * 130
    assert f"  labels:\n    ? {long}\n    : x\n    omni.sidero.dev/cluster: lab\n" in lab(
        ControlPlane(machines=[M1], labels={long: "x"})
    ).render().replace("    omni.sidero.dev/role-controlplane: \n", "")
