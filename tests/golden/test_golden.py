"""Every recorded command line of omnictl, run with this program on the emulator."""

from __future__ import annotations

import json
import os
import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from scenario import Player, Target, comparable, renamed, same_stderr, target

from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS = sorted((Path(__file__).parents[1] / "data" / "golden").glob("*.json"))

# How the emulator names what it does not have.
NOT_EMULATED = ("is not emulated", "the emulator does not")
ALIASES = {
    "c": "cluster",
    "sa": "serviceaccount",
    "ip": "infraprovider",
    "jt": "jointoken",
    "u": "user",
    "im": "media",
    "installation-media": "media",
}
# Steps in which this program does better on purpose; each stands in docs/differences.md.
ABSENT: Any = object()  # this output is not compared
DIFFERENCES: dict[tuple[str, int], dict[str, Any]] = {}


def difference(scenario: str, step: int, **expect: Any) -> None:
    DIFFERENCES[scenario, step] = expect


difference(
    "get-jsonpath",
    11,
    rc=0,
    stdout="[\nomni.sidero.dev/arch = amd64\n]\n[\nomni.sidero.dev/cores > 4\n]\n[\nzone\n]\n"
    "[\n!gpu, role in (db, web)\n]\n",
    stderr="",
)
difference(
    "config-paths",
    16,
    rc=0,
    stderr="",
    files={"empty.yaml": 'contexts:\n    q:\n        url: grpc://127.0.0.1:8080\ncontext: ""\n'},
)
difference(
    "connect-errors",
    6,
    stderr="Error: the certificate of <ENDPOINT> is not trusted: <WHY> (give the CA with `--ca`, or check nothing with "
    "`--insecure-skip-tls-verify`)",
    normalize=[["(is not trusted: ).*( \\(give)", "\\1<WHY>\\2"]],
)
difference(
    "connect-errors",
    8,
    stderr="Error: no server is given (set OMNI_ENDPOINT to its URL: a key alone does not say where to connect)",
)
difference(
    "apply",
    4,
    stdout="NAMESPACE   TYPE           ID          VERSION\ndefault     MachineClass   cli-g23-a   1\n",
)
difference(
    "watch-kind",
    1,
    stdout="""*   NAMESPACE   TYPE           ID          VERSION
+   default     MachineClass   cli-g07-a   1
+   default     MachineClass   cli-g07-b   1
+   default     MachineClass   cli-g07-c   1
    default     MachineClass   cli-g07-a   2
+   default     MachineClass   cli-g07-d   1
    default     MachineClass   cli-g07-d   2
-   default     MachineClass   cli-g07-d   2
-   default     MachineClass   cli-g07-a   3
""",
)
difference("usage-errors", 33, rc=0, stderr="", stdout=ABSENT)
UPDATE = """Processing 1 resource file(s)
Applying resources from: b.yaml
Updating resource 'cli-g23-a'

  metadata:
      namespace: default
      type: MachineClasses.omni.sidero.dev
      id: cli-g23-a
      owner:
      phase: running
      labels:
          cli-golden: cli-g23
  spec:
      matchlabels:
-         - zone = a
+         - zone = b
      autoprovision: null


"""
difference("apply", 5, stdout=UPDATE)
difference("apply", 6, stdout=UPDATE)
difference("apply", 7, normalize=[["version: [23]", "version: <ONE LESS>"]])
difference("apply", 9, normalize=[["(cli-g23-a   )[23]", "\\1<ONE LESS>"]])


def command_of(step: dict[str, Any]) -> str | None:
    """Return the word of a step that names its command."""
    words = [word for word in step["args"] if not word.startswith("-")]
    return ALIASES.get(words[0], words[0]) if words else None


SERVERS: list[Any] = ["emulator"]
if os.environ.get("OMNI_ENDPOINT"):
    SERVERS.append(pytest.param("live", marks=pytest.mark.live))


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.fixture(scope="module")
def tls_emulator() -> Iterator[Emulator]:
    with Emulator(tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def page_emulator() -> Iterator[Emulator]:
    with Emulator(single_port=True) as running:
        yield running


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, record: Path) -> Target:
    if request.param == "live":
        key = os.environ["OMNI_SERVICE_ACCOUNT_KEY"]
        return target(os.environ["OMNI_ENDPOINT"], key, insecure_skip_tls_verify=True)
    # One record is about a certificate of the server's own making. One shows the address of a page, which a real server
    # has on the same port.
    special = {"g13-connect-errors": "tls_emulator", "g40-user-login-flow": "page_emulator"}
    name = special.get(record.stem, "emulator")
    running: Emulator = request.getfixturevalue(name)
    trust = {"ca": running.certificate} if running.certificate else {}
    return target(running.endpoint, running.service_account_key, **trust)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_golden(record: Path, server: Target, tmp_path: Path) -> None:
    scenario = json.loads(record.read_text())
    name = scenario["name"]
    (tmp_path / "home").mkdir()
    player = Player(tmp_path, server, json.dumps(scenario["steps"]))
    player.names = {variable: f"{variable.lower()}-{uuid.uuid4().hex[:8]}" for variable in scenario.get("vars", ())}
    wrong: list[str] = []
    lacking: list[str] = []
    try:
        for number, step in enumerate(scenario["steps"]):
            found = play(player, name, number, step)
            # The emulator names what it does not have; everything else it must do as recorded.
            if any(words in text for words in NOT_EMULATED for text in found):
                lacking.append(command_of(step) or "")
            else:
                wrong += [f"step {number} {step['args']}: {text}" for text in found]
    finally:
        for arguments in scenario.get("cleanup", ()):
            player.run({"args": arguments})
    assert not wrong, "\n".join(wrong)
    if lacking and name != "usage-errors":
        pytest.skip(f"all else agrees; not emulated: {', '.join(sorted(set(lacking)))}")


def play(player: Player, name: str, number: int, step: dict[str, Any]) -> list[str]:
    """Run a step; return what is wrong with it."""
    change = dict(DIFFERENCES.get((name, number), {}))
    step = {**step, "normalize": [*step.get("normalize", ()), *change.pop("normalize", ())]}
    expect = {**step["expect"], **change}
    result = player.run(step)
    wrong = []
    if result.rc != expect["rc"]:
        wrong.append(f"exit code {result.rc}, recorded {expect['rc']}; stderr {result.stderr!r}")
    if expect.get("stdout") is not ABSENT:
        recorded = comparable(renamed(expect.get("stdout", ""), step), step)
        written = comparable(player.normal(result.stdout, step), step)
        if written != recorded:
            wrong.append(f"stdout\n{written}\nrecorded\n{recorded}")
    told = player.normal(result.stderr, step)
    if not same_stderr(renamed(expect.get("stderr", ""), step), told, step):
        wrong.append(f"stderr\n{told}\nrecorded\n{expect.get('stderr', '')}")
    for file, text in expect.get("files", {}).items():
        path = player.directory / file
        found = player.normal(path.read_text(), step) if path.exists() else None
        if found != text:
            wrong.append(f"file {file}\n{found}\nrecorded\n{text}")
    wrong += [f"no file {file}" for file in expect.get("key_files", ()) if not (player.directory / file).exists()]
    return wrong


def test_every_difference_is_described() -> None:
    text = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
    missing = [f"{name}#{number}" for name, number in DIFFERENCES if f"{name}#{number}" not in text]
    assert not missing


def test_every_difference_has_its_test() -> None:
    root = Path(__file__).parents[2]
    text = (root / "docs" / "differences.md").read_text()
    rows = text.partition("| what | omnictl |")[2].partition("\n\n")[0].splitlines()[2:]
    assert rows
    assert [row for row in rows if "::test_" not in row] == []
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    absent = [name for file, name in named if f"def {name}(" not in (root / file).read_text()]
    assert absent == []
