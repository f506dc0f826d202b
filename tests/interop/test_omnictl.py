"""omnictl itself on the emulator, and its output beside ours, byte for byte."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd.resources import ALL_TYPES

OURS = Path(sys.executable).parent / "omniherd"
MACHINE_CLASS = """\
metadata:
  namespace: default
  type: MachineClasses.omni.sidero.dev
  id: small
  labels: {env: test, rank: "10"}
spec:
  matchlabels:
    - omni.sidero.dev/cores < 8
"""


def timeless(outcome):
    return tuple(re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", str(part)) for part in outcome)


# Types of later versions are not in Omni v1.9.3, and what is said of them has a hint of ours.
FLEET = [info for info in ALL_TYPES if info.since is None]
# omnictl has no JSON for maps whose keys are numbers; we have.
NO_JSON = [("ClusterStatusMetrics.omni.sidero.dev", output) for output in ("json", "jsonpath")]


def test_every_type_prints_the_same(omnictl, run, ours):
    unlike, compared, filled = [], 0, 0
    for info in FLEET:
        for output in ("yaml", "json", "table", "jsonpath={.metadata.id} {.metadata} {.spec}"):
            arguments = ("get", info.type, "-o", output)
            theirs, got = run(omnictl, *arguments), ours(*arguments)
            if info.namespace == "virtual":
                # Made when asked for: the times are those of the asking.
                theirs, got = timeless(theirs), timeless(got)
            if theirs != got:
                unlike.append((info.type, output.partition("=")[0]))
            compared += 1
            # There is one way to print nothing, and a refusal is the server's.
            if output == "yaml" and not theirs[1]:
                break
        else:
            filled += 1
    print(
        f"{compared - len(unlike)} of {compared} outputs are the same, of {len(FLEET)} types; {filled} have resources"
    )
    assert unlike == NO_JSON
    assert filled > 60


def test_maps_with_numbers_for_keys_are_json_to_us(omnictl, run):
    for output in ("json", "jsonpath={.spec}"):
        arguments = ("get", "clusterstatusmetrics", "-o", output)
        assert run(omnictl, *arguments)[0] == 1
        assert run(OURS, *arguments)[0] == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "cluster", "prod", "-o", "jsonpath={.metadata.labels.env}"),
        ("get", "clusters", "-l", "env in (prod, staging)"),
        ("get", "ms", "-l", "omni.sidero.dev/cores > 8", "-o", "jsonpath={.spec.network.hostname}"),
        ("get", "clusters", "--id-match-regexp", "^(prod|edge)", "-o", "yaml"),
        ("get", "cluster", "nope"),
        ("get", "cds"),
        ("get", "clusters", "-l", "a in b"),
        ("get", "clusters", "-o", "xml"),
        ("delete", "talosversion", "x"),
    ],
    ids=" ".join,
)
def test_the_same_words_give_the_same(omnictl, run, arguments):
    theirs, ours = run(omnictl, *arguments), run(OURS, *arguments)
    assert ours[:2] == theirs[:2]
    # Ours may say behind it what to do.
    assert ours[2].startswith(theirs[2].rstrip("\n"))


def test_writes_of_one_are_read_by_the_other(omnictl, run, tmp_path):
    (tmp_path / "small.yaml").write_text(MACHINE_CLASS)
    assert run(omnictl, "apply", "-f", "small.yaml") == (0, "", "")
    assert run(OURS, "get", "mc", "small", "-o", "yaml") == run(omnictl, "get", "mc", "small", "-o", "yaml")
    (tmp_path / "small.yaml").write_text(MACHINE_CLASS.replace("< 8", "< 4"))
    assert run(OURS, "apply", "-f", "small.yaml")[0] == 0
    spec = "jsonpath={.spec.matchlabels[0]}"
    assert run(omnictl, "get", "mc", "small", "-o", spec) == (0, "omni.sidero.dev/cores < 4\n", "")
    assert run(omnictl, "delete", "mc", "small")[0] == 0
    assert run(OURS, "get", "mc", "small")[0] == 1


def test_a_long_patch_is_sent_compressed_by_omnictl_and_kept_as_it_came(omnictl, run, tmp_path):
    lines = "".join(f"      net.core.test{number}: '{number}'\n" for number in range(200))
    (tmp_path / "patch.yaml").write_text(
        "metadata:\n  namespace: default\n  type: ConfigPatches.omni.sidero.dev\n  id: 500-long\n"
        "  labels: {omni.sidero.dev/cluster: prod}\n"
        f"spec:\n  data: |\n    machine:\n     sysctls:\n{lines}"
    )
    assert run(omnictl, "apply", "-f", "patch.yaml") == (0, "", "")
    # The emulator has not the dictionary that it is compressed with and cannot show it plain, as docs/emulator.md says.
    theirs = run(omnictl, "get", "configpatch", "500-long", "-o", "yaml")
    assert run(OURS, "get", "configpatch", "500-long", "-o", "yaml") == theirs
    assert "    compresseddata:\n        - 40\n        - 181\n        - 47\n        - 253\n" in theirs[1]


def test_omnictl_watches_the_emulator(omnictl, environment, tmp_path):
    with subprocess.Popen(
        [omnictl, "get", "clusters", "-w"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            seen = [process.stdout.readline().split() for _ in range(4)]
        finally:
            process.terminate()
    assert [row[0] for row in seen] == ["*", "+", "+", "+"]
    assert [row[3] for row in seen[1:]] == ["edge-lab", "prod", "staging"]
