"""The command line at work, on the emulator and on any real server: what it makes there is called `omniherd-test-…`."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import uuid
from contextlib import suppress

import pytest
import yaml

from omniherd.errors import NotFound, OmniError
from omniherd.resources import Cluster, InstallationMediaConfig, JoinToken, MachineClass

PROGRAM = (sys.executable, "-c", "from omniherd.cli.main import entry; entry()")
CLUSTER = """metadata:
    namespace: default
    type: Clusters.omni.sidero.dev
    id: {name}
spec:
    kubernetesversion: 1.34.3
    talosversion: 1.12.7
"""
MACHINE_CLASS = """metadata:
    namespace: default
    type: MachineClasses.omni.sidero.dev
    id: {name}
    labels:
        zone: a
spec:
    matchlabels:
        - omni.sidero.dev/arch = amd64
"""


class Shell:
    """Runs the program in a directory of its own."""

    def __init__(self, home, server, omni):
        self.home = home
        self.omni = omni
        key = server.get("service_account_key") or os.environ["OMNI_SERVICE_ACCOUNT_KEY"]
        self.endpoint = omni.connection.endpoint.url
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
        self.environ |= {"OMNI_ENDPOINT": self.endpoint, "OMNI_SERVICE_ACCOUNT_KEY": key}
        self.flags = ["--insecure-skip-tls-verify"] if server.get("insecure_skip_tls_verify") else []

    def run(self, *words, **environ):
        return subprocess.run(
            [*PROGRAM, *self.flags, *words],
            cwd=self.home,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def __call__(self, *words, **environ):
        """Run a command that succeeds; return what it prints."""
        done = self.run(*words, **environ)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def fails(self, *words, **environ):
        """Run a command that fails; return what it says."""
        done = self.run(*words, **environ)
        assert done.returncode == 1, f"{words}: {done.stdout}"
        return done.stderr


@pytest.fixture
def shell(server, omni, tmp_path):
    return Shell(tmp_path, server, omni)


@pytest.fixture
def name(omni):
    """An id for one thing of each kind; whatever bears it is removed afterwards."""
    mine = f"omniherd-test-{uuid.uuid4().hex[:8]}"
    yield mine
    for kind in (MachineClass, Cluster, InstallationMediaConfig):
        with suppress(NotFound):
            omni.delete(kind, mine, timeout=60)
    for remove in (
        lambda: omni.management.destroy_service_account(mine),
        lambda: omni.management.destroy_user(f"{mine}@example.com"),
    ):
        with suppress(OmniError):
            remove()


@pytest.fixture
def cluster(shell, name, tmp_path):
    (tmp_path / "cluster.yaml").write_text(CLUSTER.format(name=name))
    shell("apply", "-f", "cluster.yaml")
    return name


def test_users(shell, name):
    email = f"{name}@example.com"
    shell("user", "create", email, "--role", "Reader")
    assert [one["role"] for one in json.loads(shell("user", "list", "-o", "json")) if one["email"] == email] == [
        "Reader"
    ]
    shell("user", "set-role", email, "--role", "Operator")
    assert re.search(rf"{email}\s+Operator", shell("user", "list"))
    assert "already exists" in shell.fails("user", "create", email, "--role", "Reader")
    shell("user", "delete", email)
    assert email not in shell("user", "list")


def test_service_accounts(shell, name):
    printed = shell("serviceaccount", "create", name, "--role", "Reader", "--use-user-role=false")
    key = re.search(r"^OMNI_SERVICE_ACCOUNT_KEY=(\S+)$", printed, re.MULTILINE)[1]
    assert printed.startswith(f"OMNI_ENDPOINT={shell.endpoint}")
    shell("get", "clusters", OMNI_SERVICE_ACCOUNT_KEY=key)
    refused = shell.fails("user", "create", f"{name}@example.com", "--role", "Admin", OMNI_SERVICE_ACCOUNT_KEY=key)
    assert "PermissionDenied" in refused
    renewed = shell("sa", "renew", name, "--ttl", "1h")
    assert shell("get", "clusters", OMNI_SERVICE_ACCOUNT_KEY=renewed.split("KEY=")[1].strip())
    [listed] = [one for one in json.loads(shell("sa", "list", "-o", "json")) if one["name"] == name]
    assert (listed["role"], len(listed["keys"])) == ("Reader", 2)
    shell("serviceaccount", "destroy", name)
    assert name not in shell("serviceaccount", "list")


def test_join_tokens(shell, omni, name):
    token = shell("jointoken", "create", name[-16:], "--ttl", "1h").strip()
    try:
        assert token in shell("jointoken", "kernel-args", "--token-id", token)
        assert len(list(yaml.safe_load_all(shell("jointoken", "machine-config", "--token-id", token)))) > 1
        shell("jointoken", "revoke", token, "--force")
        [listed] = [one for one in json.loads(shell("jt", "list", "-o", "json")) if one["id"] == token]
        assert (listed["name"], listed["state"], listed["default"]) == (name[-16:], "REVOKED", False)
        shell("jointoken", "unrevoke", token)
        assert "was renewed" in shell("jointoken", "renew", token, "--ttl", "2h")
        assert "ACTIVE" in next(line for line in shell("jointoken", "list").splitlines() if token in line)
    finally:
        omni.delete(JoinToken, token)
    assert token not in shell("jointoken", "list")


def test_media_presets(shell, name):
    shell("media", "preset", "create", name, "--initial-labels", "a=b", "--extensions", "qemu", "--arch", "arm64")
    [preset] = [one for one in json.loads(shell("media", "preset", "list", "-o", "json")) if one["name"] == name]
    assert (preset["arch"], preset["labels"]) == ("arm64", {"a": "b"})
    assert preset["extensions"] == ["siderolabs/qemu-guest-agent"]
    assert "AlreadyExists" in shell.fails("media", "preset", "create", name)
    assert "unsupported format" in shell.fails("media", "download", name, "--format", "tape")
    shell("media", "preset", "delete", name)
    assert name not in shell("media", "preset", "list")


def test_an_image_of_a_preset_has_an_address(shell, name):
    shell("media", "preset", "create", name)
    address = shell("media", "download", name, "--format", "pxe").strip()
    assert re.fullmatch(r"https?://\S+/pxe/[0-9a-f]{64}/\d+\.\d+\.\d+/metal-amd64", address)


def test_the_audit_log(shell, cluster):
    events = [json.loads(line) for line in shell("audit-log", "--cluster-id", cluster).splitlines()]
    assert events[0]["event_type"] == "create"
    assert {event["resource_id"] for event in events} == {cluster}
    assert shell("audit-log", "--resource-id", cluster, "--event-type", "destroy") == ""
    assert "yesterday" in shell.fails("audit-log", "yesterday")


def test_a_kubeconfig(shell, cluster, tmp_path):
    shell("kubeconfig", "-c", cluster, "file")
    first = (tmp_path / "file").read_bytes()
    held = yaml.safe_load(first)
    assert held["current-context"].endswith(cluster)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    # The same again changes nothing but the way in which it is written.
    shell("kubeconfig", "-c", cluster, "file")
    assert yaml.safe_load((tmp_path / "file").read_bytes()) == held
    shell("kubeconfig", "-c", cluster, "file", "--force-context-name", "mine")
    merged = yaml.safe_load((tmp_path / "file").read_bytes())
    assert merged["current-context"] == "mine"
    assert len(merged["contexts"]) == 2
    shell("kubeconfig", "-c", cluster, "--service-account", "--user", "ci", "--ttl", "1h", "token")
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert "token:" in (tmp_path / "token").read_text()
    assert shell.fails("kubeconfig", "-c", f"{cluster}-not").startswith(f'Error: cluster not found: "{cluster}-not"')


def test_a_talosconfig(shell, cluster, tmp_path):
    shell("talosconfig", "-c", cluster, "file")
    held = yaml.safe_load((tmp_path / "file").read_bytes())
    assert held["contexts"][held["context"]]["cluster"] == cluster
    assert "renamed talosconfig context" in shell("talosconfig", "-c", cluster, "file")
    assert len(yaml.safe_load((tmp_path / "file").read_bytes())["contexts"]) == 2


def test_apply_edit_and_delete(shell, omni, name, tmp_path):
    (tmp_path / "class.yaml").write_text(MACHINE_CLASS.format(name=name))
    assert "Creating resource" in shell("apply", "-f", "class.yaml", "--dry-run")
    with pytest.raises(NotFound):
        omni.get(MachineClass, name)
    shell("apply", "-f", "class.yaml")
    made = omni.get(MachineClass, name)
    assert (dict(made.labels), list(made.spec.match_labels)) == ({"zone": "a"}, ["omni.sidero.dev/arch = amd64"])
    (tmp_path / "class.yaml").write_text(MACHINE_CLASS.format(name=name).replace("amd64", "arm64"))
    shell("apply", "-f", "class.yaml")
    changed = omni.get(MachineClass, name)
    assert (changed.version, list(changed.spec.match_labels)) == (made.version + 1, ["omni.sidero.dev/arch = arm64"])
    (tmp_path / "editor").write_text(
        f"#!{sys.executable}\nimport sys, pathlib\nfile = pathlib.Path(sys.argv[-1])\n"
        'file.write_text(file.read_text().replace("zone: a", "zone: b"))\n'
    )
    (tmp_path / "editor").chmod(0o755)
    shell("edit", "machineclass", name, OMNI_EDITOR=str(tmp_path / "editor"))
    edited = omni.get(MachineClass, name)
    assert (dict(edited.labels), list(edited.spec.match_labels)) == ({"zone": "b"}, ["omni.sidero.dev/arch = arm64"])
    shell("delete", "machineclass", name)
    with pytest.raises(NotFound):
        omni.get(MachineClass, name)
    assert "not found: MachineClasses.omni.sidero.dev" in shell.run("delete", "machineclass", name).stderr


def test_labels(shell, omni, name, tmp_path):
    (tmp_path / "class.yaml").write_text(MACHINE_CLASS.format(name=name))
    shell("apply", "-f", "class.yaml")
    shell("label", "machineclass", name, "tier=gold", "zone-")
    assert dict(omni.get(MachineClass, name).labels) == {"tier": "gold"}
    shell("annotate", "machineclass", name, "note=kept")
    found = omni.get(MachineClass, name)
    assert (dict(found.labels), dict(found.annotations)) == ({"tier": "gold"}, {"note": "kept"})
    assert name in shell("get", "machineclass", "-l", "tier=gold")
    assert name not in shell("get", "machineclass", "-l", "tier=silver")


def test_a_cluster_is_locked_and_deleted(shell, omni, cluster):
    shell("cluster", "lock", cluster)
    assert "is locked" in shell.fails("cluster", "delete", cluster)
    shell("cluster", "unlock", cluster)
    shell("cluster", "delete", cluster)
    with pytest.raises(NotFound):
        omni.get(Cluster, cluster)
