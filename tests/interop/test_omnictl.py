"""omnictl itself on the emulator, and its output beside ours, byte for byte."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from omniherd import Omni
from omniherd.errors import APIError
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


@pytest.fixture(scope="session")
def omnictl(build):
    return build("omnictl")


@pytest.fixture
def run(environment, tmp_path):
    def call(program, *arguments, **options):
        done = subprocess.run(
            [program, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )
        return done.returncode, done.stdout, done.stderr

    return call


def has_any(omni, type_name):
    try:
        return bool(omni.list(type_name))
    except APIError:
        return False


def timeless(outcome):
    return tuple(re.sub(r"\d{4}-\d\d-\d\dT[\d:]+Z", "TIME", str(part)) for part in outcome)


def test_every_type_prints_the_same(omnictl, run, environment):
    compared = 0
    with Omni.connect(
        environment["OMNI_ENDPOINT"], service_account_key=environment["OMNI_SERVICE_ACCOUNT_KEY"]
    ) as omni:
        # An empty table is soon compared; a type that cannot be listed is refused in the server's words by both.
        filled = [info for info in ALL_TYPES if info.since is None and has_any(omni, info.type)]
    for number, info in enumerate(filled):
        # Tables and JSON are made from the YAML; every fifth type tells whether both make the same of it.
        for output in ("yaml", "table", "json") if number % 5 == 0 else ("yaml",):
            arguments = ("get", info.type, "-o", output)
            theirs, ours = run(omnictl, *arguments), run(OURS, *arguments)
            if info.namespace == "virtual":
                # Made when asked for: the times are those of the asking.
                theirs, ours = timeless(theirs), timeless(ours)
            assert ours == theirs, arguments
            compared += 1
    print(f"{compared} outputs compared")
    assert compared > 80


def test_maps_with_numbers_for_keys_are_json_to_us(omnictl, run):
    arguments = ("get", "clusterstatusmetrics", "-o", "json")
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
