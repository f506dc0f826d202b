from __future__ import annotations

import io
import os
import pty
import shutil
import socket
import subprocess
import sys
import time
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest
from command_shell import PROGRAM

from omniherd.cli import completion
from omniherd.cli.candidates import candidates, joined, locate
from omniherd.cli.table import ROOT
from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

MACHINES = [("11111111-aa", "worker-1", "prod"), ("22222222-bb", "worker-2", ""), ("33333333-cc", "", "")]


class Known:
    """A source that notes what it is asked."""

    def __init__(self, ids: tuple[str, ...] = (), contexts: tuple[str, ...] = ()) -> None:
        self._ids, self._contexts = ids, contexts
        self.asked: list[Any] = []

    def contexts(self) -> list[str]:
        self.asked.append("contexts")
        return list(self._contexts)

    def ids(self, kind: str, namespace: str | None = None) -> list[str]:
        self.asked.append((kind, namespace))
        return list(self._ids)

    def machines(self) -> list[tuple[str, str, str]]:
        self.asked.append("machines")
        return MACHINES


def words(*typed: str, ids: tuple[str, ...] = (), contexts: tuple[str, ...] = ()) -> list[str]:
    return [one.word for one in candidates(locate(typed), Known(ids, contexts))]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (("ge",), ["get"]),
        (("config", "ur"), ["url"]),
        (("config", "nonsense", ""), [one.name for one in ROOT.children["config"].children.values()]),
        (("get", "c", "-o", "j"), ["json", "jsonl", "jsonpath="]),
        (("cluster", "status", "x", "-o", "j"), ["json"]),
        (("get", "c", "--output=y"), ["yaml"]),
        (("get", "c", "--output", "=", "y"), ["yaml"]),
        (("--context", "x", "get", "machinesetno"), ["machinesetnodes"]),
        (("g", "machinesetno"), ["machinesetnodes"]),
        (("get", "c", "--wat"), ["--watch"]),
        (("get", "c", "--watch", "--sel"), ["--selector"]),
        (("apply", ""), []),
        (("get", "cluster", "a", ""), []),
        (("user", "create", "x", "--role", "A"), ["Admin"]),
        (("wait", "clusters", "prod", "--for", "kub"), ["kubernetes-api-ready"]),
        (("wait", "mc", "x", "--for", "d"), ["deleted"]),
    ],
)
def test_candidates(typed: tuple[str, ...], found: list[str]) -> None:
    assert words(*typed) == found


def test_types_and_then_their_aliases() -> None:
    assert "clusters" in words("get", "clus")
    assert "clusters" in words("label", "")
    assert words("get", "msn") == ["msn", "msns"]


@pytest.mark.parametrize("verb", ["get", "delete", "edit", "wait", "label", "annotate"])
def test_ids(verb: str) -> None:
    assert words(verb, "cluster", "p", ids=("prod", "lab")) == ["prod"]


def test_ids_that_stand_there_are_left_out() -> None:
    assert words("delete", "cluster", "prod", "", ids=("prod", "lab")) == ["lab"]
    source = Known(("prod",))
    assert [one.word for one in candidates(locate(["get", "-n", "default", "cluster", ""]), source)] == ["prod"]
    assert source.asked == [("cluster", "default")]


@pytest.mark.parametrize(
    "typed",
    [
        ("cluster", "status", ""),
        ("cluster", "kubernetes", "manifest-sync", ""),
        ("kubeconfig", "-c", ""),
        ("talosconfig", "--cluster="),
        ("support", "--cluster", ""),
        ("cluster", "template", "export", "-c", ""),
    ],
)
def test_clusters(typed: tuple[str, ...]) -> None:
    source = Known(("prod", "lab"))
    assert [one.word for one in candidates(locate(typed), source)] == ["prod", "lab"]
    assert source.asked == [("Clusters.omni.sidero.dev", None)]


@pytest.mark.parametrize(
    "typed",
    [
        ("cluster", "machine", "lock"),
        ("machine-logs",),
        ("machine", "upgrade"),
        ("configure", "machine"),
        ("get", "machine"),
        ("delete", "link"),
    ],
)
def test_machines_by_name_and_then_by_id(typed: tuple[str, ...]) -> None:
    assert words(*typed, "") == ["worker-1", "worker-2"]
    assert words(*typed, "2222") == ["22222222-bb"]
    [one] = candidates(locate([*typed, "worker-1"]), Known())
    assert one.meaning == "11111111-aa prod"


def test_several_machines_where_several_may_be_named() -> None:
    assert words("configure", "machine", "worker-1", "") == ["worker-2"]
    assert words("machine", "shutdown", "worker-1", "") == []


def test_people_and_programs() -> None:
    there = ("me@example.com", "robot@serviceaccount.omni.sidero.dev")
    assert words("user", "delete", "", ids=there) == ["me@example.com"]
    assert words("serviceaccount", "renew", "", ids=there) == ["robot"]


def test_contexts() -> None:
    assert words("--context", "l", contexts=("lab", "prod")) == ["lab"]
    assert words("config", "use-context", "", contexts=("lab", "prod")) == ["lab", "prod"]


def test_bash_takes_words_apart() -> None:
    assert joined(["get", "--output", "=", "js"]) == ["get", "--output=js"]
    assert joined(["get", "-l", "a", "=", "b"]) == ["get", "-l", "a", "=", "b"]


def test_flags_before_it_lead_the_question() -> None:
    where = locate(("--context=lab", "get", "-n", "meta", "--insecure-skip-tls-verify", "cluster", ""))
    assert where.given == {"--context": "lab", "--namespace": "meta"}
    assert where.words == ("cluster",)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "http://no-such-host.invalid", "nonsense"])
def test_failures_are_silent(endpoint: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_ENDPOINT", endpoint)
    monkeypatch.setenv("OMNI_SERVICE_ACCOUNT_KEY", "nonsense")
    completion.complete(["get", "cluster", ""])
    completion.complete(["get", "nonsense", ""])
    completion.complete(["wait", "nonsense", "x", "--for", ""])
    completion.complete([])
    assert capfd.readouterr().err == ""


def test_a_server_that_does_not_answer_is_not_waited_for(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "_PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent, Emulator(seed_fleet=False) as emulator:
        monkeypatch.setenv("OMNI_SERVICE_ACCOUNT_KEY", emulator.service_account_key)
        for scheme in ("http", "https"):
            monkeypatch.setenv("OMNI_ENDPOINT", f"{scheme}://127.0.0.1:{silent.getsockname()[1]}")
            completion.complete(["get", "cluster", ""])
            completion.complete(["get", "--insecure-skip-tls-verify", "cluster", ""])
    assert capfd.readouterr() == ("", "")


def script(shell: str, *flags: str) -> str:
    made = getattr(completion, shell)
    with redirect_stdout(io.StringIO()) as text, made.make_context(shell, list(flags)) as context:
        made.invoke(context)
    return text.getvalue()


def program(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_accepted_by_their_shells(shell: str) -> None:
    found = program(shell)
    for flags in ([], ["--no-descriptions"]):
        done = subprocess.run([found, "-n"], input=script(shell, *flags), text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Give the environment of a shell in which `omniherd` is a command that reaches an emulator."""
    home = tmp_path_factory.mktemp("home")
    (home / "bin").mkdir()
    command = home / "bin" / "omniherd"
    run = f"exec {sys.executable} -c '{PROGRAM[2]}' \"$@\""
    command.write_text(f'#!/bin/sh\n[ "$1" = __complete ] || {{ echo "called-with:$*"; exit; }}\n{run}\n')
    command.chmod(0o755)
    for shell in ("bash", "zsh", "fish"):
        (home / f"{shell}.script").write_text(script(shell))
    with Emulator() as emulator:
        path = f"{home / 'bin'}:{os.environ['PATH']}"
        yield {"PATH": path, "HOME": str(home), "TERM": "xterm", "LC_ALL": "C.UTF-8", **emulator.environment()}


CASES = [
    ("omniherd cluster status ", ["edge-lab", "prod", "staging"]),
    ("omniherd cluster machine lock fra-w", ["fra-worker-1", "fra-worker-2"]),
    ("omniherd get machineset", ["machinesetconfigstatuses", "machinesetdestroystatuses", "machinesetnodes"]),
    ("omniherd get cluster s", ["staging"]),
    ("omniherd kubeconfig --cluster p", ["prod"]),
    ("omniherd nonsense ", []),
]


@pytest.mark.parametrize(("line", "found"), CASES, ids=[line for line, _ in CASES])
def test_in_bash(line: str, found: list[str], environ: dict[str, str]) -> None:
    typed = line.split(" ")
    code = (
        'source ~/bash.script; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _omniherd; '
        '(( ${#COMPREPLY[@]} )) && printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [program("bash"), "--norc", "-c", code, "bash", *typed],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    got = done.stdout.splitlines()
    assert got[: len(found)] == found if found else "config" in got


@pytest.mark.parametrize(("line", "found"), CASES, ids=[line for line, _ in CASES])
def test_in_fish(line: str, found: list[str], environ: dict[str, str]) -> None:
    done = subprocess.run(
        [program("fish"), "--no-config", "-c", f"source ~/fish.script; complete -C '{line}'"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    got = [one.partition("\t")[0] for one in done.stdout.splitlines()]
    assert set(found) <= set(got)
    assert all(one.startswith(line.rpartition(" ")[2]) for one in got)


@pytest.mark.parametrize(
    ("line", "shown"), [("omniherd cluster status pr", "prod"), ("omniherd get cluster st", "staging")]
)
def test_in_zsh(line: str, shown: str, environ: dict[str, str]) -> None:
    """A Tab key in a real zsh on a real terminal completes the word."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("zsh"), "-f", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environ, "PS1": "> "},
        start_new_session=True,
        cwd=environ["HOME"],
    )
    os.close(theirs)
    try:
        setup = "autoload -Uz compinit; compinit -D -u; source ~/zsh.script; print ready-$((40 + 2))\n"
        os.write(ours, setup.encode())
        _read_until(ours, "ready-42")
        os.write(ours, f"{line}\t\n".encode())
        _read_until(ours, f"called-with:{line.partition(' ')[2].rpartition(' ')[0]} {shown}")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def _read_until(descriptor: int, text: str) -> str:
    import select

    shown = b""
    end = time.monotonic() + 60
    while text.encode() not in shown:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise AssertionError(shown.decode())
        shown += os.read(descriptor, 65536)
    return shown.decode()
