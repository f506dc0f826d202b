"""`cluster secret rotate`, `cluster import abort`, `configure machine` and `support`."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from omniherd.cli import support
from omniherd.emulator import Emulator
from omniherd.errors import FailedPrecondition, InputError, NotFound, WaitTimeout
from omniherd.services import SecretRotation, SupportBundle, SupportProgress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_shell import Shell

    from omniherd import Omni

STATUS = "ClusterSecretsRotationStatuses.omni.sidero.dev"
OK, ROTATE = 0, 2
TALOS = 1


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def rotating(server: Emulator, phase: int, step: str = "") -> None:
    fields = {"phase": phase, "component": TALOS, "status": "rotating", "step": step} if phase else {}
    server.store.put(STATUS, "prod", fields)


# --- certificate authorities ------------------------------------------------------------------------------------------


def test_a_rotation_that_is_not_waited_for(shell: Shell, omni: Omni) -> None:
    for which, title, kind in (
        ("talos-ca", "Talos CA", "rotatetalosca"),
        ("kubernetes-ca", "Kubernetes CA", "rotatekubernetesca"),
    ):
        words = ("cluster", "secret", "-n", "prod", "rotate", "--wait=false", which)
        assert shell(*words) == (0, f'starting to rotate {title} for the cluster "prod"\n', "")
        first = omni.get(kind, "prod")
        assert first.annotations["timestamp"].isdigit()
        assert shell(*words)[0] == 0
        assert omni.get(kind, "prod").annotations["timestamp"] >= first.annotations["timestamp"]


def test_how_far_a_rotation_is(shell: Shell, server: Emulator) -> None:
    words = ("cluster", "secret", "rotate", "status", "-n", "prod")
    assert shell(*words) == (0, 'no ongoing secret rotation for the cluster "prod"\n', "")
    rotating(server, ROTATE)
    assert shell(*words, "-w=false") == (
        0,
        'rotation for "TALOS_CA" is in progress("ROTATE") for the cluster "prod"\n',
        "",
    )
    code, out, err = shell(*words, "-o", "json")
    assert json.loads(out) == {
        "cluster": "prod",
        "component": "TALOS_CA",
        "phase": "ROTATE",
        "status": "rotating",
        "step": "",
        "error": "",
    }, err
    code, out, err = shell(*words, "-t", "100ms")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "rotation for TALOS_CA is in progress ...",
        "rotating: ",
        "timed out waiting rotation for TALOS_CA to complete",
        "Error: context deadline exceeded",
    ]


def test_what_cannot_be_rotated(shell: Shell, server: Emulator) -> None:
    words = ("cluster", "secret", "rotate", "kubernetes-ca")
    assert shell(*words)[2].startswith('Error: required flag(s) "name" not set')
    code, _, err = shell(*words, "--name", "none")
    assert (code, err.startswith("Error: failed to get cluster: rpc error: code = NotFound")) == (1, True)
    rotating(server, ROTATE)
    code, _, err = shell(*words, "--name", "prod")
    assert (code, err) == (1, "Error: another rotation is already in progress for TALOS_CA\n")
    # One of the same authority is shown.
    code, out, _ = shell("cluster", "secret", "rotate", "talos-ca", "--name", "prod", "-w=false")
    assert (code, out.startswith('rotation for "TALOS_CA" is in progress')) == (0, True)
    assert shell(*words, "--name", "prod", "--read-only")[0] == 1


def test_old_clusters_are_not_rotated(server: Emulator, omni: Omni) -> None:
    server.store.put("Clusters.omni.sidero.dev", "prod", {"talos_version": "1.6.9", "kubernetes_version": "1.30.0"})
    with pytest.raises(FailedPrecondition, match=r'Talos v1\.7\.0 or newer, current version: "1\.6\.9"'):
        omni.clusters.rotate_ca("prod", "talos")


def test_a_rotation_is_followed_to_its_end(server: Emulator, omni: Omni) -> None:
    steps: list[SecretRotation] = []

    def go_on(step: SecretRotation) -> None:
        steps.append(step)
        if step.phase == "ROTATE":
            rotating(server, *((ROTATE, "two") if step.step == "one" else (OK,)))

    assert omni.clusters.rotate_ca("prod", "talos") is None
    starting = threading.Timer(0, rotating, (server, ROTATE, "one"))
    starting.start()
    for step in omni.clusters.rotation_steps("prod", begin=True, timeout=30):
        go_on(step)
    starting.join()
    assert [(step.phase, step.step) for step in steps] == [("ROTATE", "one"), ("ROTATE", "two"), ("OK", "")]


def test_a_rotation_without_a_limit(shell: Shell, server: Emulator) -> None:
    rotating(server, ROTATE, "one")
    running = shell.start("cluster", "secret", "rotate", "status", "-n", "prod", "-t", "0")
    assert running.stderr is not None
    assert [running.stderr.readline() for _ in range(2)] == [
        "rotation for TALOS_CA is in progress ...\n",
        "rotating: one\n",
    ]
    rotating(server, OK)
    assert running.communicate(timeout=60) == ("", "rotation for TALOS_CA is completed\n")
    assert running.returncode == 0


async def test_a_rotation_by_tasks(server: Emulator) -> None:
    async with server.connect_async() as omni:
        assert (await omni.clusters.rotation("prod")).phase == "OK"
        assert [step.phase async for step in omni.clusters.rotation_steps("prod", timeout=30)] == ["OK"]
        assert await omni.clusters.rotate_ca("prod", "kubernetes") is None
        with pytest.raises(WaitTimeout):
            [step async for step in omni.clusters.rotation_steps("prod", begin=True, timeout=0.05)]
        with pytest.raises(InputError):
            await omni.clusters.abort_import("")


# --- imports ----------------------------------------------------------------------------------------------------------


def test_an_import_is_undone(shell: Shell, server: Emulator, omni: Omni) -> None:
    words = ("cluster", "import", "abort", "prod")
    what = 'Error: failed to abort import operation for cluster "prod"'
    assert shell(*words) == (1, "", f'{what}: cluster "prod" is not tainted as importing\n')
    status = omni.get("clusterstatus", "prod")
    server.store.put(
        status.type_name, "prod", status.spec, labels={**status.labels, "omni.sidero.dev/tainted-by-importing": ""}
    )
    assert shell(*words) == (1, "", f'{what}: cluster "prod" is not locked\n')
    omni.machines.lock_cluster("prod")
    nodes = [node.id for node in omni.list("machinesetnodes", labels={"omni.sidero.dev/cluster": "prod"})]
    code, out, err = shell(*words)
    assert (code, out) == (0, ""), err
    assert sorted(err.splitlines()) == sorted(
        [
            *(f'removing link for machine "{node}" from Omni' for node in nodes),
            'import operation was aborted successfully for cluster "prod"',
        ]
    )
    with pytest.raises(NotFound):
        omni.get("clusters", "prod")
    code, _, err = shell(*words)
    assert err.startswith(f'{what}: failed to get cluster "prod": rpc error: code = NotFound')


# --- machines ---------------------------------------------------------------------------------------------------------


def test_how_machines_connect(shell: Shell, omni: Omni) -> None:
    machine = omni.machines.find("fra-worker-1").id
    delay = "It will take around 4m35s for the machine to reconnect back in the new mode.\n"
    words = ("configure", "machine", machine, "--siderolink-connection")
    assert shell(*words, "http-tunnel") == (0, f"enabled gRPC tunnel mode for machine {machine}\n{delay}", "")
    assert shell(*words, "http-tunnel") == (0, "", f"nothing to change for machine {machine}\n")
    assert shell(*words, "udp")[1] == f"disabled gRPC tunnel mode for machine {machine}\n{delay}"
    code, out, err = shell("configure", "m", "fra-worker-1", "--siderolink-connection", "auto")
    assert code == 0, err
    assert out == (
        f"deleted grpc tunnel config for the machine fra-worker-1\n{delay}"
        "WARNING: the changes won't be applied until the machine is restarted\n"
    )
    with pytest.raises(NotFound):
        omni.get("grpctunnelconfigs", machine)


def test_what_cannot_be_configured(shell: Shell) -> None:
    absent = "00000000-1111-2222-3333-444444444444"
    words = ("configure", "machine", absent)
    assert shell(*words, "--siderolink-connection", "udp")[2] == (
        f"Error: failed to update SideroLink connection mode for machine {absent}: machine with id {absent} doesn't "
        "exist\n"
    )
    assert shell(*words, "--siderolink-connection", "tcp")[2].startswith(
        'Error: invalid argument "tcp" for "--siderolink-connection" flag: unknown mode "tcp", should be one of '
        "[udp,http-tunnel,auto]"
    )
    code, _, err = shell(*words, "--reset-node-unique-token")
    assert code == 1
    assert err.startswith(f"Error: failed to reset node unique token for machine {absent}: rpc error: code = ")
    assert shell(*words) == (
        1,
        "",
        "Error: nothing to change (give --siderolink-connection or --reset-node-unique-token)\n",
    )
    assert shell("configure", "machine")[2].startswith("Error: requires at least 1 arg(s), only received 0")


# --- support bundles --------------------------------------------------------------------------------------------------


@pytest.fixture
def bundles(monkeypatch: pytest.MonkeyPatch) -> list[SupportProgress]:
    """A server that writes a bundle; the test may put errors into it."""
    errors: list[SupportProgress] = []

    class Server:
        class management:  # noqa: N801 - as the client calls it
            @staticmethod
            def support_bundle(cluster: str, *, path: Path, progress: Any) -> SupportBundle:
                if progress is not None:
                    progress(SupportProgress("omni", f"collect {cluster}", 2, 1, ""))
                path.write_text(cluster)
                return SupportBundle(b"zip", tuple(errors), ())

    @contextmanager
    def connected(_settings: Any) -> Iterator[Any]:
        yield Server

    monkeypatch.setattr(support, "connected", connected)
    return errors


def run(*words: str) -> None:
    with support.support.make_context("support", list(words)) as context:
        support.support.invoke(context)


def test_a_support_bundle(
    bundles: list[SupportProgress],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run("-c", "lab")
    assert Path("support.zip").read_text() == "lab"
    assert capsys.readouterr() == ("", "")
    bundles.append(SupportProgress("node-1", "", 0, 0, "first\n  second"))
    run("-c", "lab", "-v", "-O", "other.zip")
    assert capsys.readouterr().err == (
        "omni: collect lab\nProcessed with errors:\n   SOURCE   ERROR\n   node-1   first\n            second\n"
    )


@pytest.mark.parametrize(("answer", "written"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_bundle_is_not_written_over_unasked(
    bundles: list[SupportProgress],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    written: bool,
) -> None:
    del bundles
    import io

    path = tmp_path / "support.zip"
    path.write_text("old")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    if written:
        run("-c", "lab", "-O", str(path))
    else:
        with pytest.raises(InputError, match="operation was aborted"):
            run("-c", "lab", "-O", str(path))
    assert path.read_text() == ("lab" if written else "old")
    assert capsys.readouterr().out == f"{path} already exists, overwrite? [y/N]: "
