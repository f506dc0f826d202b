"""Templates: what we make of them, beside what omnictl makes of the same files in the same run."""

import json
import re
from pathlib import Path

import pytest

from omniherd import template

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples" / "templates"
PLAIN = sorted(path.name for path in EXAMPLES.glob("*.yaml"))
OVERLAYS = sorted(path.name for path in (EXAMPLES / "fleet" / "clusters").glob("*.yaml"))
CASES = json.loads((ROOT / "tests" / "data" / "templates" / "offline.json").read_text())["cases"]
RECORDED = sorted((ROOT / "tests" / "data" / "templates" / "server").glob("*.json"))
TIME = re.compile(r"(?m)^(  (?:created|updated): )(?!0001).*$")
CLASSES = """\
metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: small}
spec: {matchlabels: [a]}
---
metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: large}
spec: {matchlabels: [b]}
---
metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: edge}
spec: {matchlabels: [c]}
"""


def timeless(outcome):
    code, out, errors = outcome
    return code, TIME.sub(r"\1TIME", out), errors


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


def same(omnictl, run, ours, verb, *arguments):
    theirs = timeless(run(omnictl, "cluster", "template", verb, *arguments))
    got = timeless(ours("cluster", "template", verb, *arguments))
    assert got == theirs
    return got


@pytest.mark.parametrize("name", PLAIN)
def test_examples_render_the_same(omnictl, run, ours, name):
    assert same(omnictl, run, ours, "validate", "-f", str(EXAMPLES / name)) == (0, "", "")
    code, out, _ = same(omnictl, run, ours, "render", "-f", str(EXAMPLES / name))
    assert (code, out[:9]) == (0, "metadata:")


@pytest.mark.parametrize("name", OVERLAYS)
def test_an_overlay_is_what_omnictl_makes_of_its_plain_form(omnictl, run, ours, name, tmp_path):
    overlay = EXAMPLES / "fleet" / "clusters" / name
    code, plain, _ = ours("cluster", "template", "render", "-f", str(overlay), "--allowed-dir", "..", "-o", "template")
    assert code == 0
    write(tmp_path, {f"clusters/{name}": plain})
    patch = EXAMPLES / "fleet" / "base" / "patches" / "common.yaml"
    write(tmp_path, {"base/patches/common.yaml": patch.read_text()})
    flags = ("--allowed-dir", "..")
    theirs = run(omnictl, "cluster", "template", "render", "-f", f"clusters/{name}", *flags)
    assert timeless(ours("cluster", "template", "render", "-f", str(overlay), *flags)) == timeless(theirs)


def test_recorded_templates_render_the_same(omnictl, run, ours, tmp_path):
    """Every template of the records, the invalid ones too: output, errors and exit code."""
    unlike = []
    for case in CASES:
        folder = tmp_path / case["id"]
        write(folder, {name: text for name, text in case["files"].items() if not name.startswith("..")})
        arguments = ("-f", f"{case['id']}/{case['template']}", *case.get("args", ()))
        theirs = run(omnictl, "cluster", "template", "render", *arguments)
        if timeless(theirs) != timeless(ours("cluster", "template", "render", *arguments)):
            unlike.append(case["id"])
    print(f"{len(CASES) - len(unlike)} of {len(CASES)} templates come out the same")
    assert unlike == []


@pytest.mark.parametrize("name", PLAIN)
def test_what_one_syncs_is_in_sync_for_the_other(omnictl, run, ours, name, tmp_path):
    path, cluster = str(EXAMPLES / name), template.load(EXAMPLES / name).cluster.name
    if name == "restored.yaml":
        pytest.skip("there is no backup to start from")
    write(tmp_path, {"classes.yaml": CLASSES})
    assert ours("apply", "-f", "classes.yaml")[0] == 0
    for first, second in ((ours, run), (run, ours)):

        def call(who, *arguments):
            return who(*arguments) if who is ours else who(omnictl, *arguments)

        code, out, errors = call(first, "cluster", "template", "sync", "-f", path)
        assert (code, errors) == (0, ""), out
        assert call(second, "cluster", "template", "diff", "-f", path) == (0, "", "")
        assert call(second, "cluster", "template", "sync", "-f", path) == (0, "", "")
        same(omnictl, run, ours, "export", "-c", cluster)
        code, out, errors = call(second, "cluster", "template", "delete", "-f", path)
        assert (code, errors) == (0, "")
        assert out.endswith(f"* destroyed Clusters.omni.sidero.dev({cluster})\n")
