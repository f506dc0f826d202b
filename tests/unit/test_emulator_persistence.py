"""The emulator's state in files: kept through death, taken and put back, read from exports."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from login_page import config_of, press
from omniherd import Login, Omni
from omniherd._core.pool import message
from omniherd.credentials import resolve
from omniherd.emulator import Emulator
from omniherd.errors import ConfigError, NotFound, OmniError, YAMLError
from omniherd.resources import Cluster, ConfigPatch, MachineClass

CLASSES = "MachineClasses.omni.sidero.dev"

SERVE = """
import sys
from omniherd.emulator import Emulator
emulator = Emulator(data=sys.argv[1]).start()
print(emulator.endpoint, emulator.service_account_key, flush=True)
sys.stdin.read()
"""


def everything(emulator):
    parse = message("cosi.resource.Resource").FromString
    return {
        (namespace, kind, one.id): parse(one.wire)
        for namespace, kind in emulator.store.kinds()
        for one in emulator.store.list(namespace, kind)
    }


def test_a_file_brings_everything_back(tmp_path):
    data = tmp_path / "data"
    with Emulator(data=data) as emulator, emulator.connect() as omni:
        omni.create(MachineClass("mine", labels={"a": "b"}, spec={"match_labels": ["x"]}))
        omni.delete(Cluster, "edge-lab")
        key, before = emulator.service_account_key, everything(emulator)
    assert stat.S_IMODE(data.stat().st_mode) == 0o600
    with Emulator(data=data) as emulator:
        assert everything(emulator) == before
        assert emulator.service_account_key == key
        with emulator.connect() as omni:
            assert omni.get(MachineClass, "mine").labels == {"a": "b"}
            with pytest.raises(NotFound):
                omni.get(Cluster, "edge-lab")
            omni.edit(MachineClass, "mine", lambda one: one.labels.clear())
    with Emulator(data=data) as emulator:
        assert emulator.store.get("default", CLASSES, "mine").version == "2"


@pytest.mark.parametrize("round_", range(3))
def test_no_answered_write_is_lost_when_it_is_killed_under_load(tmp_path, round_):
    data = tmp_path / "data"
    child = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(data)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    endpoint, key = child.stdout.readline().split()
    answered, asked, removed = [], [], []  # a deletion that was asked for may have happened before its answer
    enough = threading.Event()

    def write(worker):
        with Omni.connect(endpoint, service_account_key=key, timeout=5) as omni:
            for number in range(10_000):
                name = f"w{worker}-{number:05}"
                try:
                    omni.create(MachineClass(name, spec={"match_labels": ["x"]}))
                    answered.append(name)
                    if number % 5 == 4:
                        asked.append(name)
                        omni.delete(MachineClass, name)
                        removed.append(name)
                except OmniError:
                    return
                if len(answered) > 100 + 60 * round_:
                    enough.set()

    workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for worker in workers:
        worker.start()
    assert enough.wait(60)
    os.kill(child.pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    with Emulator(data=data) as emulator:
        kept = {one.id for one in emulator.store.list("default", CLASSES)}
    assert set(answered) - set(asked) - kept == set()
    assert kept & set(removed) == set()
    print(f"killed after {len(answered)} answered creations and {len(removed)} deletions: none lost")


def test_two_emulators_cannot_share_a_file(tmp_path):
    with Emulator(data=tmp_path / "data"), pytest.raises(ConfigError, match="locked") as caught:
        Emulator(data=tmp_path / "data")
    assert caught.value.hint == "another emulator may be using it"


def test_a_foreign_file_is_left_alone(tmp_path):
    data = tmp_path / "notes.txt"
    data.write_text("not a database, but dear to somebody " * 100)
    before = data.read_bytes()
    with pytest.raises(ConfigError, match="not a database"):
        Emulator(data=data)
    assert data.read_bytes() == before
    with pytest.raises(ConfigError, match="no such file"):
        Emulator(data=tmp_path / "missing" / "data")


def test_a_later_form_is_refused(tmp_path):
    data = tmp_path / "data"
    with Emulator(data=data, seed_fleet=False):
        pass
    database = sqlite3.connect(data)
    with database:
        database.execute("UPDATE facts SET value = '9' WHERE name = 'form'")
    database.close()
    with pytest.raises(ConfigError, match="has the form 9"):
        Emulator(data=data)


def test_a_snapshot_brings_the_state_back_and_watchers_see_it():
    with Emulator() as emulator, emulator.connect() as omni:
        omni.create(MachineClass("early", spec={"match_labels": ["x"]}))
        snapshot, before = emulator.snapshot(), everything(emulator)
        omni.create(ConfigPatch("late", spec={"data": "machine: {}"}))
        omni.edit(MachineClass, "early", lambda one: one.labels.update(a="b"))
        omni.delete(Cluster, "staging")
        assert everything(emulator) != before
        emulator.restore(snapshot)
        assert everything(emulator) == before
        assert omni.get(MachineClass, "early").version == 1
        assert omni.get(Cluster, "staging").id == "staging"
        with pytest.raises(NotFound):
            omni.get(ConfigPatch, "late")


def test_a_saved_snapshot_seeds_another(tmp_path):
    with Emulator() as emulator, emulator.connect() as omni:
        omni.create(MachineClass("mine", spec={"match_labels": ["x"]}))
        emulator.snapshot().save(tmp_path / "fixture")
        key = emulator.service_account_key
    assert stat.S_IMODE((tmp_path / "fixture").stat().st_mode) == 0o600
    with Emulator(seed_from=tmp_path / "fixture") as emulator, emulator.connect() as omni:
        assert omni.get(MachineClass, "mine").version == 1
        assert [one.id for one in omni.list(Cluster)] == ["edge-lab", "prod", "staging"]
        with (
            pytest.raises(OmniError, match="invalid signature"),
            Omni.connect(emulator.endpoint, service_account_key=key) as other,
        ):
            other.get(Cluster, "prod")


def test_yaml_of_omnictl_seeds_an_emulator(tmp_path):
    with Emulator() as emulator, emulator.connect() as omni:
        omni.create(ConfigPatch("p", labels={"x": ""}, spec={"data": "---\nmachine:\n  network: {}\n"}))
        wanted = [*omni.list(Cluster), omni.get(ConfigPatch, "p")]
        text = "".join("---\n" + one.to_yaml() + "\n" for one in wanted)
    (tmp_path / "export.yaml").write_text(text)
    with Emulator(seed_from=tmp_path / "export.yaml") as emulator, emulator.connect() as omni:
        found = [*omni.list(Cluster), omni.get(ConfigPatch, "p")]
        assert [one.to_yaml() for one in found] == [one.to_yaml() for one in wanted]


def test_the_recorded_fleet_seeds_an_emulator():
    path = Path(__file__).parents[1] / "data" / "fleet.json"
    recorded = {(one["namespace"], one["type"], one["id"]) for one in json.loads(path.read_text())}
    people = {"Identities", "PublicKeys", "Users", "IdentityStatuses"}
    with Emulator(seed_from=path) as emulator:
        assert {
            key for key in recorded - everything(emulator).keys() if key[1].partition(".")[0] not in people
        } == set()


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("[{}]", ConfigError, "no list of resources"),
        ("[{", ConfigError, "no list of resources"),
        ('[{"resource": "/////w=="}]', ConfigError, "no resource"),
        ("a: b\n", YAMLError, "elements"),
    ],
)
def test_a_seed_that_is_none_is_refused(tmp_path, text, error, says):
    (tmp_path / "seed").write_text(text)
    with pytest.raises(error, match=says):
        Emulator(seed_from=tmp_path / "seed")


def test_a_real_server_is_exported_without_writing():
    from omniherd.emulator.fixtures import export, sow
    from omniherd.emulator.store import Store

    with Emulator() as real, real.connect() as omni:
        before = {key: wire for key, wire in everything(real).items() if key[0] == "default"}
        exported = export(omni)
        assert {key: wire for key, wire in everything(real).items() if key[0] == "default"} == before
    store = Store()
    assert sow(store, exported) > 300
    assert [one.id for one in store.list("default", "Clusters.omni.sidero.dev")] == ["edge-lab", "prod", "staging"]
    assert store.list("default", "PublicKeys.omni.sidero.dev") == []


def test_the_command_line_keeps_and_seeds(tmp_path):
    with Emulator() as emulator:
        emulator.store.put(CLASSES, "mine", {"match_labels": ["x"]})
        emulator.snapshot().save(tmp_path / "fixture")
    ready = tmp_path / "ready"
    command = [
        sys.executable,
        "-c",
        "from omniherd.cli.main import entry; entry()",
        "emulator",
        "--ready-file",
        str(ready),
    ]
    command += ["--data", str(tmp_path / "data"), "--seed-from", str(tmp_path / "fixture")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout.readline().startswith("export OMNI_ENDPOINT=")
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0, errors
    with Emulator(data=tmp_path / "data") as emulator:
        assert emulator.store.get("default", CLASSES, "mine").version == "1"


def test_a_context_seeds_an_emulator(tmp_path, monkeypatch):
    from omniherd.cli.connection import Settings
    from omniherd.cli.emulator import _seed

    with Emulator() as real, Emulator(seed_fleet=False) as other:
        with real.connect() as admin:
            admin.management.create_user("me@example.com", "Admin")
        config = tmp_path / "config"
        config.write_text(config_of(real.endpoint, "me@example.com"))
        with Login(resolve(omniconfig=config, keys_dir=tmp_path / "keys", environ={"HOME": str(tmp_path)})) as login:
            login.run(press, timeout=60)
        # What the environment names is another server.
        for name, value in other.environment().items():
            monkeypatch.setenv(name, value)
        flags = dict.fromkeys(("ca", "context", "insecure_skip_tls_verify", "no_notices", "read_only", "server_name"))
        settings = Settings({**flags, "omniconfig": config, "siderov1_keys_dir": tmp_path / "keys", "timeout": 30.0})
        exported = _seed("lab", settings)
    with Emulator(seed_from=exported) as copy, copy.connect() as omni:
        assert [one.id for one in omni.list(Cluster)] == ["edge-lab", "prod", "staging"]


def test_a_seed_that_is_neither_file_nor_context(inner):
    assert inner("emulator", "--seed-from", "nope.yaml") == (
        1,
        "",
        "Error: --seed-from nope.yaml: there is no such file, and no context of that name "
        "(`omniherd config contexts` lists the contexts)\n",
    )
