from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from omniherd import Omni
from omniherd.cli.client_files import default_kubeconfig, place, write_client_file
from omniherd.cli.kubeconfig_merge import Merged, merge_kubeconfig
from omniherd.cli.talosconfig_merge import merge_talosconfig
from omniherd.emulator import Emulator
from omniherd.errors import ConfigError, YAMLError
from omniherd.resources import Cluster
from omniherd.yamlform import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command_shell import Shell

SERVER = """apiVersion: v1
kind: Config
clusters:
  - cluster:
      server: https://k8s.example.com
    name: acc-lab
contexts:
  - context:
      cluster: acc-lab
      namespace: default
      user: acc-lab-me@example.com
    name: acc-lab
current-context: acc-lab
users:
- name: acc-lab-me@example.com
  user:
    exec:
      command: kubectl
      env: null
      provideClusterInfo: false
"""


def never(_component: str, _name: str) -> bool:
    return False


def always(_component: str, _name: str) -> bool:
    return True


def names(config: Any, key: str) -> list[str]:
    return [entry["name"] for entry in config[key]]


def test_the_first_merge_is_written_as_kubectl_writes_it() -> None:
    # Bytes that omnictl v1.9.3 wrote for the same two inputs.
    assert merge_kubeconfig("", SERVER, overwrite=never).text == (
        "apiVersion: v1\nclusters:\n- cluster:\n    server: https://k8s.example.com\n  name: acc-lab\n"
        "contexts:\n- context:\n    cluster: acc-lab\n    namespace: default\n    user: acc-lab-me@example.com\n"
        "  name: acc-lab\ncurrent-context: acc-lab\nkind: Config\nusers:\n- name: acc-lab-me@example.com\n"
        "  user:\n    exec:\n      command: kubectl\n      env: null\n      provideClusterInfo: false\n"
    )


def test_equal_entries_are_shared() -> None:
    once = merge_kubeconfig("", SERVER, overwrite=never)
    # What is empty is the same as what is absent.
    assert merge_kubeconfig(once.text.replace("      env: null\n", ""), SERVER, overwrite=never) == once


def test_a_cluster_that_moved_gets_a_name_and_users_and_contexts_follow() -> None:
    ours = SERVER.replace("k8s.", "old.")
    merged = merge_kubeconfig(ours, SERVER, overwrite=never)
    assert merged.renamed == (
        ("cluster", "acc-lab", "acc-lab-1"),
        ("auth info", "acc-lab-me@example.com", "acc-lab-1-me@example.com"),
        ("context", "acc-lab", "acc-lab-1"),
    )
    config: Any = load(merged.text)
    assert names(config, "clusters") == ["acc-lab", "acc-lab-1"]
    assert names(config, "users") == ["acc-lab-1-me@example.com", "acc-lab-me@example.com"]
    # The context that was there still leads to its own cluster.
    assert {entry["name"]: entry["context"]["cluster"] for entry in config["contexts"]} == {
        "acc-lab": "acc-lab",
        "acc-lab-1": "acc-lab-1",
    }
    assert config["current-context"] == "acc-lab-1"


def test_a_user_that_differs_gets_a_name() -> None:
    merged = merge_kubeconfig(SERVER.replace("command: kubectl", "command: other"), SERVER, overwrite=never)
    assert merged.renamed[0] == ("auth info", "acc-lab-me@example.com", "acc-lab-me@example.com-1")
    config: Any = load(merged.text)
    assert config["contexts"][-1]["context"]["user"] == "acc-lab-me@example.com-1"


def test_what_differs_is_overwritten_on_demand() -> None:
    merged = merge_kubeconfig(SERVER.replace("k8s.", "old."), SERVER, overwrite=always)
    assert merged == merge_kubeconfig("", SERVER, overwrite=never)


def test_a_forced_context_name_leaves_its_namesake_unless_told() -> None:
    ours = "contexts:\n- name: mine\n  context: {cluster: gone, user: nobody}\n- name: b\n  context: {cluster: c}\n"
    for answer, name, clusters in ((never, "mine-1", ["c", "gone", "acc-lab"]), (always, "mine", ["c", "acc-lab"])):
        merged = merge_kubeconfig(ours, SERVER, overwrite=answer, context_name="mine")
        assert merged.renamed == (("context", "acc-lab", name),)
        config: Any = load(merged.text)
        assert [entry["context"]["cluster"] for entry in config["contexts"]] == clusters
        assert config["current-context"] == name


def test_what_else_a_kubeconfig_holds_is_kept() -> None:
    merged = merge_kubeconfig("preferences: {colors: true}\nusers: null\nown: 3\n", SERVER, overwrite=never)
    config: Any = load(merged.text)
    assert config["preferences"] == {"colors": True}
    assert config["own"] == 3


@pytest.mark.parametrize("ours", ["- a\n", "clusters: 3\n", "clusters: [{name: a, cluster: 3}]\n", "users: [3]\n"])
def test_what_is_no_kubeconfig_is_refused(ours: str) -> None:
    with pytest.raises(ConfigError):
        merge_kubeconfig(ours, SERVER, overwrite=never)


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(YAMLError):
        merge_kubeconfig("x: [", SERVER, overwrite=never)
    with pytest.raises(YAMLError):
        merge_talosconfig("x: [", "contexts: {}\n")


def test_talos_contexts_are_renamed_and_the_new_one_is_current() -> None:
    theirs = "context: acc\ncontexts:\n    acc:\n        endpoints:\n            - https://a\n        cluster: c\n"
    ours = "context: b\ncontexts:\n    b:\n        crt: x\n        nodes: [n]\n    acc: {}\n    acc-1: {}\n"
    merged = merge_talosconfig(ours, theirs)
    assert merged.renamed == (("talosconfig context", "acc", "acc-2"),)
    assert merged.text == (
        "context: acc-2\ncontexts:\n    acc: {}\n    acc-1: {}\n"
        "    acc-2:\n        endpoints:\n            - https://a\n        cluster: c\n"
        '    b:\n        nodes:\n            - "n"\n        crt: x\n'
    )


@pytest.mark.parametrize("ours", ["- a\n", "contexts: 3\n"])
def test_what_is_no_talosconfig_is_refused(ours: str) -> None:
    with pytest.raises(ConfigError):
        merge_talosconfig(ours, "contexts: {}\n")


def test_where_the_file_goes(tmp_path: Path) -> None:
    assert default_kubeconfig({"HOME": "/h"}) == "/h/.kube/config"
    assert default_kubeconfig({"HOME": "/h", "KUBECONFIG": "/k"}) == "/k"
    with pytest.raises(ConfigError, match="multiple kubeconfig files defined"):
        default_kubeconfig({"KUBECONFIG": "/k:/l"})
    assert place((), "kubeconfig", None) == os.path.abspath("kubeconfig")  # noqa: PTH100 - what is shown
    assert place((), "kubeconfig", "/d") == "/d"
    assert place(("x",), "kubeconfig", "/d") == "x"
    assert place((str(tmp_path),), "kubeconfig", None) == f"{tmp_path}/kubeconfig"


def test_a_new_file_is_the_servers_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "dir" / "kubeconfig"

    def join(ours: str, theirs: str) -> Merged:
        return Merged(ours + theirs, ())

    assert write_client_file(str(path), "a\n", join, mode=0o640) == []
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("a\n", 0o640)
    path.chmod(0o600)
    write_client_file(str(path), "b\n", join, mode=0o640)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("a\nb\n", 0o600)
    write_client_file(str(path), "c\n", None, mode=0o640)
    assert path.read_text() == "c\n"


WRITER = """
import sys
from omniherd.cli.client_files import write_client_file
from omniherd.cli.kubeconfig_merge import merge_kubeconfig
path, server = sys.argv[1], sys.stdin.read()
print("ready", flush=True)
for number in range(10**6):
    text = server.replace("k8s.", f"k8s{number % 7}.")
    write_client_file(path, text, lambda a, b: merge_kubeconfig(a, b, overwrite=lambda *_: True), mode=0o640)
    if number == 2:
        print("writing", flush=True)
"""


@pytest.mark.parametrize("pause", [0, 1, 2, 3, 4])
def test_a_kill_leaves_a_whole_file(tmp_path: Path, pause: int) -> None:
    path = tmp_path / "kubeconfig"
    # A kubeconfig of many clusters takes long enough to write for a kill to hit.
    many = SERVER + "".join(f"- name: user-{number}\n  user:\n    token: {'x' * 200}\n" for number in range(300))
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(many)
    process.stdin.close()
    assert process.stdout.readline() == "ready\n"
    assert process.stdout.readline() == "writing\n"
    # Different amounts of work before the kill, so that it hits different places.
    for _ in range(pause * 3):
        merge_kubeconfig("", SERVER, overwrite=never)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    config: Any = load(path.read_text())
    assert len(config["users"]) == 301
    assert config["current-context"] == "acc-lab"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        with Omni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as omni:
            omni.create(Cluster("files", spec={"kubernetes_version": "1.34.3", "talos_version": "1.12.7"}))
        yield emulator


def test_kubeconfig_from_the_server(shell: Shell, tmp_path: Path) -> None:
    assert shell("kubeconfig", "-c", "files") == (0, "", "")
    path = tmp_path / ".kube" / "config"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    first = path.read_text()
    assert shell("kubeconfig", "-c", "files") == (0, "", "")
    again: Any = load(path.read_text())
    assert again == load(first)
    code, out, err = shell("kubeconfig", "-c", "files", "--merge=false", ".kube/config")
    assert (code, out) == (1, "")
    assert err == 'Error: kubeconfig file already exists, use --force to overwrite: ".kube/config"\n'
    assert shell("kubeconfig", "-c", "files", "--merge=false", "--force", ".kube/config") == (0, "", "")
    assert path.read_text() == first
    code, out, err = shell("kubeconfig", "-c", "files", "--force-context-name", "mine", "-m=false")
    assert (code, err) == (0, "")
    named: Any = load((tmp_path / "kubeconfig").read_text())
    assert named["current-context"] == "mine"


def test_a_file_with_a_token_is_for_its_owner_alone(shell: Shell, tmp_path: Path) -> None:
    words = ("kubeconfig", "-c", "files", "--service-account", "--user", "ci", "--groups", "a,b", "--groups", "c", "sa")
    assert shell(*words) == (0, "", "")
    path = tmp_path / "sa"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "token: " in path.read_text()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("-c", "none", "x"), 'cluster not found: "none"'),
        (("x",), 'required flag(s) "cluster" not set'),
        (("-c", "files", "--service-account"), "--user flag is required when --service-account is set to true"),
        (
            ("-c", "files", "x", "--grant-type", "zz"),
            'rpc error: code = InvalidArgument desc = invalid grant type "zz"',
        ),
    ],
)
def test_kubeconfig_errors(shell: Shell, tmp_path: Path, words: tuple[str, ...], error: str) -> None:
    assert shell("kubeconfig", *words) == (1, "", f"Error: {error}\n")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", [("kubeconfig", "-c", "files"), ("talosconfig",)], ids=["kubectl", "talosctl"])
@pytest.mark.parametrize(
    ("held", "told"),
    [
        (b"x: [", "yaml: "),
        (b"- x", "the {} file is not a mapping (bad is left as it was; --merge=false --force replaces it)"),
        (b"\xff\xfe", "bad: the file is no UTF-8 text: byte 0"),
    ],
    ids=["no YAML", "a list", "no text"],
)
def test_a_broken_file_is_left_alone(
    shell: Shell, tmp_path: Path, command: tuple[str, ...], held: bytes, told: str
) -> None:
    (tmp_path / "bad").write_bytes(held)
    code, out, err = shell(*command, "bad")
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told.format(command[0])}")
    assert err.count("\n") == 1
    assert "bad" in err
    assert (tmp_path / "bad").read_bytes() == held


def test_what_is_no_file_is_not_merged_with(shell: Shell) -> None:
    code, out, err = shell("talosconfig", "-c", "files", "/dev/stdout")
    assert (code, err) == (0, "")
    assert out.startswith("context: ")
