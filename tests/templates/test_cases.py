"""The recorded cases: omnictl's own answers, and the public suite of the project that wrote the language."""

import json
import os
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from omniherd import template
from omniherd.template import TemplateError
from omniherd.yamlform import load, load_all, resources_from_yaml

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data" / "templates"
PUBLIC = ROOT.parent / "shared" / "templates" / "cases"
MANAGED = "omni.sidero.dev/managed-by-cluster-templates"
TIME = re.compile(r"^(  (?:created|updated)): (?!0001)\d{4}-.*$", re.MULTILINE)


def cases(name, key="cases"):
    return json.loads((DATA / name).read_text())[key]


def public_cases(*operations):
    if not (PUBLIC / "cases.json").exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the public cases (../shared) are not here"))]
    found = json.loads((PUBLIC / "cases.json").read_text())["cases"]
    return [pytest.param(case, id=case["id"]) for case in found if case["op"] in operations]


def dialect_of(case):
    return "1.10" if case.get("applies_to") == "newer than v1.9.3" else "1.9"


# --- our own recordings of omnictl ------------------------------------------------------------------------------------


PREFIXES = {"loading": "error loading template: ", "rendering": "error rendering template: "}


def run(case, action):
    """Return exit code, output and errors of what omnictl would do with a template."""
    arguments = case.get("args") or ["--allowed-dir", "./"]
    try:
        found = template.load(case["template"], allowed_dir=arguments[1])
        out = action(found)
    except TemplateError as error:
        return 1, "", f"Error: {PREFIXES.get(error.stage, '')}{error}\n", error.problems
    return 0, out, "", ()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def write(folder, files):
    for name, text in files.items():
        path = Path(os.path.normpath(folder / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases("offline.json")])
def test_offline(case, folder):
    write(folder, case["files"])
    code, _, errors, problems = run(case, template.Template.validate)
    assert (code, errors) == (case["validate"]["rc"], case["validate"].get("stderr", ""))
    assert bool(problems) == bool(code)
    code, out, errors, _ = run(case, lambda found: found.render(now=datetime.now(UTC)))
    want = case["render"]
    assert (code, errors) == (want["rc"], want.get("stderr", ""))
    assert TIME.sub(r"\1: <TIME>", out) == want.get("stdout", "")


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases("offline.json")])
def test_findings_point_into_the_file(case, folder):
    write(folder, case["files"])
    _, _, _, problems = run(case, template.Template.validate)
    lines = case["files"][case["template"]].split("\n")
    about_the_whole = ("template should contain", "open nope", "control characters")
    for problem in problems:
        if problem.text.startswith(about_the_whole):
            continue
        assert problem.file == case["template"], problem
        assert 1 <= problem.line <= len(lines), problem
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1, problem


# --- the public suite -------------------------------------------------------------------------------------------------


def open_public(case):
    root = case.get("root")
    path = PUBLIC / case["template"]
    allowed = None if root is None else PUBLIC / root
    return template.load(path, allowed_dir=allowed, dialect=dialect_of(case))


@pytest.mark.parametrize("case", public_cases("load"))
def test_public_load(case):
    for dialect, key in (("1.9", "error"), ("1.10", "error_on_main")):
        with pytest.raises(TemplateError) as caught:
            template.load(PUBLIC / case["template"], dialect=dialect)
        assert str(caught.value) == case.get(key, case["error"])


@pytest.mark.parametrize("case", public_cases("validate"))
def test_public_validate(case, tmp_path, monkeypatch):
    if "working_directory" in case:
        monkeypatch.chdir(tmp_path)
    found = open_public(case)
    if case.get("fails") or case.get("error"):
        with pytest.raises(TemplateError) as caught:
            found.validate()
        if "error" in case:
            assert str(caught.value).strip() == case["error"].strip()
    else:
        found.validate()


@pytest.mark.parametrize("case", public_cases("translate"))
def test_public_translate(case):
    found = open_public(case)
    found.validate()
    shown = template.render_resources(found.resources(), indent=4, dialect=dialect_of(case))
    assert shown.strip() == (PUBLIC / case["resources"]).read_text().strip()


@pytest.mark.parametrize("case", public_cases("translate-data"))
def test_public_data(case):
    data = {f"{one.type}/{one.id}": one.spec.data for one in open_public(case).resources() if hasattr(one.spec, "data")}
    for name, text in case["data"].items():
        assert data[name] == text
    for name, parts in case["contains"].items():
        assert all(part in data[name] for part in parts)


def full_name(resource):
    return f"{resource.type}({resource.namespace}/{resource.id})"


@pytest.mark.parametrize("case", public_cases("plan"))
def test_public_plan(case):
    world = {}
    for step in case["steps"]:
        found = template.load(PUBLIC / step["template"], allowed_dir=None)
        found.validate()
        there = list(world.values())
        plan = found.plan(there) if step["do"] == "sync" else found.plan_delete(there)
        creates = [full_name(one) for one in plan.creates]
        updates = [full_name(one.new) for one in plan.updates]
        destroys = [[full_name(one) for one in phase] for phase in plan.destroys]
        for key, got in (("create", creates), ("update", updates)):
            if key in step:
                assert got == step[key]
            assert set(step.get(f"{key}_includes", ())) <= set(got)
        if "destroy" in step:
            assert destroys == step["destroy"]
        if "create_count" in step:
            assert len(creates) == step["create_count"]
        counts = Counter(one.type for one in plan.creates)
        for name, count in step.get("create_count_by_type", {}).items():
            assert counts[name] == count
        for name, annotation in step.get("update_lacks_annotation", {}).items():
            changed = next(one.new for one in plan.updates if full_name(one.new) == name)
            assert annotation not in changed.annotations
        if "never_destroyed_type" in step:
            assert not any(one.type == step["never_destroyed_type"] for phase in plan.destroys for one in phase)
        if step.get("then") == "create":
            world.update((one.key, stored(one)) for one in plan.creates)
        elif step.get("then") == "update":
            world.update((one.new.key, stored(one.new)) for one in plan.updates)


def stored(resource):
    """Return a resource as a server would hold it after a write."""
    kept = resource.copy()
    kept.metadata.version = (kept.version or 0) + 1
    return kept


@pytest.mark.parametrize("case", public_cases("export"))
def test_public_export(case):
    world = list(resources_from_yaml((PUBLIC / case["resources"]).read_text()))
    dialect = dialect_of(case)
    found = template.export(world, case["cluster"], include_kernel_args=case["include_kernel_args"], dialect=dialect)
    text = found.to_yaml()
    assert text.strip() == (PUBLIC / case["expected"]).read_text().strip()
    # What was exported means what is there, and reads back as it was written.
    again = template.loads(text, dialect=dialect)
    assert again.documents == found.documents
    assert again.to_yaml() == text
    plan = again.plan(world)
    manifests = {"KubernetesManifestGroups.omni.sidero.dev"}
    assert {one.type for one in plan.creates} <= manifests
    assert {one.type for phase in plan.destroys for one in phase} <= manifests
    for update in plan.updates:
        assert update.new.labels == update.old.labels
        if update.new.type == "ConfigPatches.omni.sidero.dev":
            assert load_all(update.new.spec.data) == load_all(update.old.spec.data)
        else:
            # Kernel arguments were not exported, and disks were chosen by hand: only who answers for them changes.
            assert update.new.spec == update.old.spec
            assert set(update.new.annotations) ^ set(update.old.annotations) == {MANAGED}


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("configpatch.json", "validate"), ids=lambda case: case["name"])
def test_config_patch(case):
    wrong = template.check_config_patch(case["patch"])
    assert (None if wrong is None else str(wrong)) == case.get("error")


@pytest.mark.parametrize("case", cases("configpatch.json", "validate_newer_than_v1.9.3"), ids=lambda case: case["name"])
def test_config_patch_of_the_newer_language(case):
    wrong = template.check_config_patch(case["patch"], dialect="1.10")
    assert (None if wrong is None else str(wrong)) == case.get("error")


@pytest.mark.parametrize(
    "case", cases("configpatch.json", "forbidden_documents_newer_than_v1.9.3"), ids=lambda case: case["kind"]
)
def test_forbidden_documents(case):
    text = f"apiVersion: v1alpha1\nkind: {case['kind']}\n"
    assert str(template.check_config_patch(text, dialect="1.10")) == case["error"]
    after = template.check_config_patch(f"machine: {{}}\n---\n{text}", dialect="1.10")
    assert str(after) == case["error"]


@pytest.mark.parametrize("case", cases("configpatch.json", "sanitize"), ids=lambda case: case["name"])
def test_sanitized_config_patch(case):
    clean = template.sanitize_config_patch(case["patch"])
    assert clean.strip() == case["sanitized"]
    assert load(clean) == load(case["sanitized"])


@pytest.mark.parametrize("case", cases("diff.json"), ids=lambda case: case["diff"][:30])
def test_diff(case):
    assert template.text_diff(case["old"], case["new"]) == case["diff"]


CLUSTER = """\
kind: Cluster
name: test-cluster
kubernetes:
  version: v1.34.3
  healthchecks: {checks}
talos: {{version: v1.12.7}}
systemExtensions: {extensions}
---
kind: ControlPlane
"""


@pytest.mark.parametrize("case", cases("models.json", "healthchecks"), ids=lambda case: str(case["healthcheck"])[:40])
def test_health_check(case, folder):
    found = template.loads(CLUSTER.format(checks=json.dumps([case["healthcheck"]]), extensions="null"))
    if case.get("error_contains"):
        with pytest.raises(TemplateError, match=case["error_contains"]):
            found.validate()
    else:
        found.validate()


@pytest.mark.parametrize("case", cases("models.json", "inline"), ids=lambda case: case["yaml"][:30])
def test_inline(case):
    found = template.loads("kind: Machine\nname: a\npatches:\n- " + case["yaml"].replace("\n", "\n  ").rstrip(" "))
    patch = found.documents[0].patches[0]
    data = template.Template([template.Machine("a", patches=[patch])]).resources()[0].spec.data
    if "data" in case:
        assert data == case["data"]
    else:
        assert len(load_all(data)) == case["documents"]
        assert all(part in data for part in case["contains"])


@pytest.mark.parametrize("case", cases("models.json", "extensions"), ids=lambda case: str(case["systemExtensions"]))
def test_extensions(case):
    found = template.loads(CLUSTER.format(checks="null", extensions=json.dumps(case["systemExtensions"])))
    made = [one for one in found.resources() if one.type == "ExtensionsConfigurations.omni.sidero.dev"]
    assert bool(made) == case["resource"]
    if made:
        assert list(made[0].spec.extensions) == case["extensions"]
        for name, value in case.get("labels", {}).items():
            assert made[0].labels[name] == value


@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in cases("forms.json")])
def test_forms(case):
    """Errors of syntax, of form and of patches have omnictl's words and line numbers."""
    errors = ""
    try:
        template.loads(case["template"]).validate()
    except TemplateError as error:
        errors = f"Error: {PREFIXES.get(error.stage, '')}{error}\n"
    assert errors == case["stderr"]
