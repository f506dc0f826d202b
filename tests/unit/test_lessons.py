"""What breaks in the Python tools for Omni of today, one lesson after the other; none of it may break here."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from command_shell import PROGRAM, Shell

from omniherd import AsyncOmni, Omni
from omniherd.credentials import KeyStore
from omniherd.emulator import Emulator
from omniherd.errors import AlreadyExists, InvalidArgument, OmniError, Unavailable, VersionConflict
from omniherd.resources import Cluster, ConfigPatch, MachineClass, MachineLabel
from omniherd.signing import PGPKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LABELS = {"env": "prod", "rank": "10", "yes": "true", "empty": "", "example.com/owner": "me"}
NOTES = {"note": "lines: and a # sign", "number": "007"}
PATCH = "machine:\n  sysctls:\n    net.core.somaxconn: '1024'\n"
SPEC = {"match_labels": ["site = fra"]}


@pytest.fixture
def omni(server: Emulator) -> Iterator[Omni]:
    with server.connect() as client:
        yield client
        for one in client.list(MachineClass, id_regexp="^lesson"):
            client.delete(MachineClass, one.id)


def marks(resource: Any) -> tuple[dict[str, str], dict[str, str]]:
    return dict(resource.labels), dict(resource.annotations)


# --- labels and annotations survive every create, update and apply ---------------------------------------------------


def test_labels_and_annotations_survive_a_create(omni: Omni) -> None:
    made = omni.create(MachineClass("lesson", labels=LABELS, annotations=NOTES, spec=SPEC))
    assert marks(made) == marks(omni.get(MachineClass, "lesson")) == (LABELS, NOTES)


def test_they_survive_updates_of_something_else(omni: Omni) -> None:
    current = omni.create(MachineClass("lesson", labels=LABELS, annotations=NOTES, spec=SPEC))
    current.spec.match_labels.append("gpu")
    assert marks(omni.update(current)) == (LABELS, NOTES)
    with omni.edit(MachineClass, "lesson") as change:
        change.spec.match_labels.append("fast")
    omni.edit(MachineClass, "lesson", lambda one: one.spec.match_labels.append("big"))
    stored = omni.get(MachineClass, "lesson")
    assert marks(stored) == (LABELS, NOTES)
    assert list(stored.spec.match_labels) == ["site = fra", "gpu", "fast", "big"]


def test_they_survive_an_apply_that_does_not_name_them(omni: Omni) -> None:
    omni.create(MachineClass("lesson", labels=LABELS, annotations=NOTES, spec=SPEC))
    omni.apply(MachineClass("lesson", labels={"new": "1"}, spec={"match_labels": ["site = ams"]}))
    assert marks(omni.get(MachineClass, "lesson")) == ({**LABELS, "new": "1"}, NOTES)


async def test_they_survive_in_the_async_client(server: Emulator, omni: Omni) -> None:
    async with AsyncOmni.connect(server.endpoint, service_account_key=server.service_account_key) as client:
        await client.create(MachineClass("lesson-async", labels=LABELS, annotations=NOTES, spec=SPEC))
        async with client.edit(MachineClass, "lesson-async") as change:
            change.spec.match_labels.append("gpu")
        await client.apply(MachineClass("lesson-async", spec={"match_labels": ["a"]}))
        assert marks(await client.get(MachineClass, "lesson-async")) == (LABELS, NOTES)


def test_they_survive_the_way_through_files(shell: Shell, omni: Omni) -> None:
    omni.create(MachineClass("lesson", labels=LABELS, annotations=NOTES, spec=SPEC))
    text = omni.get(MachineClass, "lesson").to_yaml()
    omni.delete(MachineClass, "lesson")
    # Label texts that look like numbers are numbers in omnictl's YAML; they come back as what they were.
    (shell.home / "m.yaml").write_text(text.replace("version: 1\n", "version: undefined\n"))
    assert shell("apply", "-f", "m.yaml") == (0, "", "")
    assert omni.get(MachineClass, "lesson").labels == LABELS
    (shell.home / "m.yaml").write_text(text.replace("site = fra", "site = ams"))
    assert shell("apply", "-f", "m.yaml") == (0, "", "")
    stored = omni.get(MachineClass, "lesson")
    assert (marks(stored)[0], list(stored.spec.match_labels)) == (LABELS, ["site = ams"])
    editor = "sed -i s/ams/ber/"
    assert shell("edit", "mc", "lesson", EDITOR=editor)[0] == 0
    assert omni.get(MachineClass, "lesson").labels == LABELS


# --- a second and third update works whatever the version ------------------------------------------------------------


def test_updates_follow_each_other(omni: Omni) -> None:
    current = omni.create(MachineClass("lesson", spec=SPEC))
    for number in range(1, 4):
        current.labels["round"] = str(number)
        current = omni.update(current)
        assert (current.version, current.labels["round"]) == (number + 1, str(number))


@pytest.mark.parametrize("version", ["", "undefined", "1", "77"])
def test_whatever_version_a_file_names(version: str, shell: Shell, omni: Omni) -> None:
    for number in range(1, 5):
        (shell.home / "m.yaml").write_text(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: lesson\n"
            + (f"  version: {version}\n" if version else "")
            + f"spec:\n  matchlabels: [round = {number}]\n"
        )
        assert shell("apply", "-f", "m.yaml") == (0, "", "")
        assert list(omni.get(MachineClass, "lesson").spec.match_labels) == [f"round = {number}"]


def test_an_apply_takes_any_version_and_an_update_says_that_it_is_old(omni: Omni) -> None:
    first = omni.create(MachineClass("lesson", spec=SPEC))
    for number in range(3):
        omni.apply(MachineClass("lesson", spec={"match_labels": [f"n = {number}"]}))
    first.labels["late"] = ""
    with pytest.raises(VersionConflict):
        omni.update(first)
    assert omni.apply(first).labels == {"late": ""}


# --- output redirected to a file is valid YAML and JSON line by line -------------------------------------------------


def json_stream(text: str) -> list[Any]:
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        found.append(value)
        assert text[at] == "\n"
        at += 1
    return found


LONG = "x" * 300 + " [bold]markup[/bold] ünïcode " + "y" * 300


def test_redirected_documents_are_whole(shell: Shell, omni: Omni) -> None:
    omni.create(MachineClass("lesson", annotations={"long": LONG}, spec=SPEC))
    narrow = {"COLUMNS": "20", "TERM": "xterm-256color", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}
    for words in (["get", "mc"], ["get", "clusters"], ["get", "machinestatuses"]):
        code, out, err = shell(*words, "-o", "json", **narrow)
        assert (code, err) == (0, "")
        documents = json_stream(out)
        code, out, err = shell(*words, "-o", "yaml", **narrow)
        assert (code, err) == (0, "")
        assert [one["metadata"]["id"] for one in yaml.safe_load_all(out)] == [
            one["metadata"]["id"] for one in documents
        ]
    code, out, _ = shell("get", "mc", "lesson", "-o", "yaml", **narrow)
    assert code == 0
    assert yaml.safe_load(out)["metadata"]["annotations"]["long"] == LONG
    assert [line for line in out.splitlines() if LONG in line]


def test_redirected_tables_are_neither_cut_nor_coloured(shell: Shell, omni: Omni) -> None:
    omni.create(MachineClass("lesson-" + "x" * 200, spec=SPEC))
    code, out, _ = shell("get", "mc", COLUMNS="20", FORCE_COLOR="1")
    assert code == 0
    assert any("lesson-" + "x" * 200 in line for line in out.splitlines())
    for words in (["delete", "mc", "--all", "--dry-run"], ["label", "cluster", "prod", "a=b", "--dry-run"]):
        code, out, _ = shell(*words, FORCE_COLOR="1")
        assert code == 0
        assert "\x1b" not in out


def test_each_event_of_a_redirected_watch_is_a_document(shell: Shell, omni: Omni) -> None:
    out = shell.home / "events.json"
    with out.open("w") as file:
        process = subprocess.Popen(
            [*PROGRAM, "get", "mc", "lesson", "-w", "-o", "json"],
            env=shell.environ,
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    try:
        omni.create(MachineClass("lesson", spec=SPEC))
        omni.edit(MachineClass, "lesson", lambda one: one.labels.update(a="b"))
        wanted = 2
        seen = threading.Event()
        while len(found := json_stream(out.read_text())) < 1 or int(found[-1]["metadata"]["version"]) < wanted:
            seen.wait(0.02)
            assert process.poll() is None
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert {one["event"] for one in json_stream(out.read_text())} <= {"created", "updated"}


# --- tokens and keys never lie in a file others can read, nor in a cache ---------------------------------------------


def readable_by_others(root: Path) -> dict[Path, str]:
    return {
        path: path.read_text(errors="replace")
        for path in root.rglob("*")
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077
    }


@pytest.fixture
def open_handed() -> Iterator[None]:
    """Let every new file be readable by all, as far as it is left to the umask."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_handed")
def test_keys_and_tokens_lie_in_files_of_their_owner(server: Emulator, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    shell = Shell(tmp_path, {**server.environment(), "TMPDIR": str(tmp_path / "tmp")})
    code, out, _ = shell("serviceaccount", "create", "lesson-files")
    assert code == 0
    key = out.partition("OMNI_SERVICE_ACCOUNT_KEY=")[2].strip()
    for words in (
        ["get", "clusters"],
        ["jointoken", "create", "lesson"],
        ["kubeconfig", "-c", "prod", "--service-account", "--user", "robot", "sa.kubeconfig"],
        ["config", "add", "lab", "--url", server.endpoint, "--identity", "me@example.com"],
    ):
        assert shell(*words)[0] == 0, words
    key_of_a_person = PGPKey.generate("lesson", "", "me@example.com", 3600)
    KeyStore(tmp_path / "keys").save("lab", "me@example.com", key_of_a_person)
    secrets = [key, server.service_account_key, "BEGIN PGP PRIVATE KEY", "token:"]
    assert (tmp_path / "sa.kubeconfig").exists()
    assert list((tmp_path / "keys").iterdir())
    for path, text in readable_by_others(tmp_path).items():
        assert [secret for secret in secrets if secret in text] == [], path
    # Nor is anything left where programs put what they need for a moment.
    assert list((tmp_path / "tmp").iterdir()) == []


def test_secrets_are_in_no_text_of_an_object(server: Emulator, omni: Omni) -> None:
    shown = f"{omni!r} {omni.connection!r} {vars(omni.connection) if hasattr(omni.connection, '__dict__') else ''}"
    assert server.service_account_key not in shown
    assert "PRIVATE KEY" not in shown


# --- sync clients work from several threads, and inside a running event loop -----------------------------------------


def test_one_client_in_many_threads(omni: Omni) -> None:
    omni.create(MachineClass("lesson", labels={"n": "0"}, spec=SPEC))

    def count(_: int) -> str:
        omni.edit(MachineClass, "lesson", lambda one: one.labels.update(n=str(int(one.labels["n"]) + 1)))
        return omni.get(Cluster, "prod").id

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(count, range(24))) == ["prod"] * 24
    assert omni.get(MachineClass, "lesson").labels["n"] == "24"


async def test_a_sync_client_inside_a_running_loop(server: Emulator) -> None:
    assert asyncio.get_running_loop().is_running()
    with server.connect() as omni:
        assert omni.get(Cluster, "prod").id == "prod"
        assert len(omni.list(Cluster)) == 3
        with omni.watch(Cluster) as watch:
            assert next(iter(watch)).kind == "created"
        assert await asyncio.to_thread(lambda: omni.get(Cluster, "staging").id) == "staging"


# --- nothing is cached unless asked ----------------------------------------------------------------------------------


def test_what_is_read_is_what_is_there_now(shell: Shell, omni: Omni, server: Emulator) -> None:
    with server.connect() as other:
        omni.create(MachineClass("lesson", spec=SPEC))
        assert other.get(MachineClass, "lesson").labels == {}
        omni.edit(MachineClass, "lesson", lambda one: one.labels.update(a="1"))
        assert other.get(MachineClass, "lesson").labels == {"a": "1"}
        path = "jsonpath={.metadata.labels}"
        first = shell("get", "mc", "lesson", "-o", path)
        omni.edit(MachineClass, "lesson", lambda one: one.labels.update(a="2"))
        assert first != shell("get", "mc", "lesson", "-o", path)


def test_no_files_are_left_but_the_omniconfig(shell: Shell) -> None:
    for words in (["get", "clusters"], ["version"], ["get", "machinestatuses", "-o", "json"], ["user", "list"]):
        assert shell(*words)[0] == 0
    left = sorted(str(path.relative_to(shell.home)) for path in shell.home.rglob("*") if path.is_file())
    # omnictl makes this one too, with no secret in it.
    assert left == [".talos/omni/config"]


# --- a server's message is shown, not a traceback --------------------------------------------------------------------


def test_a_refusal_is_told_in_the_servers_words(shell: Shell, omni: Omni) -> None:
    with pytest.raises(InvalidArgument) as caught:
        omni.edit(Cluster, "prod", lambda one: setattr(one.spec, "talos_version", "1.0.0"))
    assert "1.0.0" in str(caught.value)
    assert "rpc" not in type(caught.value).__name__.lower()
    cases = [
        ["get", "cluster", "nope"],
        ["get", "nonsense"],
        ["delete", "talosversion", "1.13.5"],
        ["kubeconfig", "-c", "nope", "out"],
        ["get", "clusters", "-l", "a in b"],
        ["apply", "-f", "nothing-here.yaml"],
    ]
    for words in cases:
        code, _, err = shell(*words)
        assert code == 1, words
        assert "Traceback" not in err
        assert err.startswith("Error: "), words


def test_errors_are_ours_and_say_what(omni: Omni) -> None:
    omni.create(MachineClass("lesson", spec=SPEC))
    with pytest.raises(AlreadyExists) as caught:
        omni.create(MachineClass("lesson", spec=SPEC))
    assert isinstance(caught.value, OmniError)
    assert caught.value.resource == "MachineClasses.omni.sidero.dev(default/lesson)"


# --- short type names work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["cluster", "clusters", "Cluster", "clusters.omni", "Clusters.omni.sidero.dev"])
def test_short_type_names(word: str, omni: Omni, shell: Shell) -> None:
    assert omni.get(word, "prod") == omni.get(Cluster, "prod")
    assert shell("get", word, "prod") == shell("get", "Clusters.omni.sidero.dev", "prod")


def test_initials_are_type_names(omni: Omni, shell: Shell) -> None:
    assert [one.id for one in omni.list("mc")] == [one.id for one in omni.list(MachineClass)]
    assert shell("get", "msn")[1].splitlines()[0].startswith("NAMESPACE")


# --- TLS has a CA option ---------------------------------------------------------------------------------------------


def test_a_certificate_authority_of_ones_own(tmp_path: Path) -> None:
    with Emulator(seed_fleet=False, tls=True) as emulator:
        key = emulator.service_account_key
        ca = tmp_path / "ca.pem"
        ca.write_bytes(emulator.certificate)
        for given in (ca, str(ca), emulator.certificate):
            with Omni.connect(emulator.endpoint, service_account_key=key, ca=given) as omni:
                assert omni.list(MachineLabel) == []
        with Omni.connect(emulator.endpoint, service_account_key=key) as omni:
            with pytest.raises(Unavailable) as caught:
                omni.list(MachineLabel)
            assert "`ca=`" in (caught.value.hint or "")
        shell = Shell(tmp_path, emulator.environment())
        assert shell("get", "mc", "--ca", str(ca))[0] == 0
        assert shell("get", "mc", SSL_CERT_FILE=str(ca))[0] == 0
        assert shell("get", "mc")[0] == 1


# --- a service account created by the CLI comes with its ready-to-use key --------------------------------------------


def test_a_new_account_is_ready_to_use(shell: Shell, server: Emulator) -> None:
    code, out, _ = shell("serviceaccount", "create", "lesson-robot", "--role", "Operator", "--use-user-role=false")
    assert code == 0
    environ = dict(line.split("=", 1) for line in out.splitlines())
    assert set(environ) == {"OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY"}
    assert shell("get", "cluster", "prod", **environ)[0] == 0
    with Omni.connect(environ["OMNI_ENDPOINT"], service_account_key=environ["OMNI_SERVICE_ACCOUNT_KEY"]) as omni:
        omni.create(ConfigPatch("lesson-patch", labels={"omni.sidero.dev/cluster": "prod"}, spec={"data": PATCH}))
        omni.delete(ConfigPatch, "lesson-patch")
    code, out, _ = shell("serviceaccount", "renew", "lesson-robot")
    assert code == 0
    assert shell("get", "cluster", "prod", **dict(line.split("=", 1) for line in out.splitlines()))[0] == 0
    assert server.service_account_key != environ["OMNI_SERVICE_ACCOUNT_KEY"]
