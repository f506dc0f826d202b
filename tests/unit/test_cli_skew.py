from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from omniherd.cli import skew
from omniherd.cli.skew import version_notices
from omniherd.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from command_shell import Shell

SYSTEM = ("ephemeral", "SysVersions.system.sidero.dev", "current")
WARNING = '[WARN] omniherd follows Omni 1.9, which differs from the backend version "v1.11.0".\n'
NOTICE = "[WARN] Update: there is one\n"


@pytest.fixture
def server() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def claim(server: Emulator, version: str, api: int = 2) -> None:
    namespace, kind, name = SYSTEM
    server.store.put(kind, name, {"backend_version": version, "backend_api_version": api}, namespace=namespace)


@pytest.mark.parametrize("version", ["v1.9.0", "v1.9.7", "1.9.3", "dev", ""])
def test_what_is_followed_or_no_version_is_passed_over(version: str) -> None:
    assert version_notices(version) == []


def test_another_api_is_warned_of() -> None:
    [line] = version_notices("v1.9.3", 3)
    assert "the server speaks API version 3, omniherd speaks 2" in line
    assert len(version_notices("v2.0.0", 0)) == 2


def test_a_command_works_and_warns_once_on_standard_error(shell: Shell, server: Emulator) -> None:
    want = shell("get", "cluster", "prod")
    claim(server, "v1.11.0")
    assert shell("get", "cluster", "prod") == (0, want[1], WARNING)
    # Another API is no reason to refuse what works.
    claim(server, "v1.9.3", 3)
    code, out, err = shell("get", "cluster", "prod")
    assert (code, out) == want[:2]
    assert err.startswith("[WARN] the server speaks API version 3")


def test_two_connections_of_a_command_tell_once(
    server: Emulator, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skew, "_TOLD", set())
    claim(server, "v1.11.0")
    with server.connect() as omni:
        skew.greet(omni)
        skew.greet(omni)
    assert capsys.readouterr() == ("", WARNING)


def test_notices_can_be_left_out_and_are_not_asked_for_then(
    shell: Shell, server: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(server, "v1.11.0")
    server.store.put("Notifications.omni.sidero.dev", "n", {"title": "Update", "body": "there is one", "type": 1})
    assert shell("get", "cluster", "prod")[2] == WARNING + NOTICE
    read: list[str] = []
    get = server.store.get

    def noted(namespace: str, kind: str, ident: str) -> Any:
        read.append(kind)
        return get(namespace, kind, ident)

    monkeypatch.setattr(server.store, "get", noted)
    for words, environ in ((("--no-notices",), {}), ((), {"OMNIHERD_NO_NOTICES": "1"})):
        code, out, err = shell("get", "cluster", "prod", *words, **environ)
        assert (code, err) == (0, "")
        assert "prod" in out
    assert "Clusters.omni.sidero.dev" in read
    assert SYSTEM[1] not in read


@pytest.mark.parametrize("code", ["NOT_FOUND", "UNIMPLEMENTED", "PERMISSION_DENIED"])
def test_a_server_that_does_not_tell_its_version_is_used_all_the_same(
    code: str, shell: Shell, server: Emulator
) -> None:
    server.faults.fail("/cosi.resource.State/Get", code, times=1)
    done, out, err = shell("get", "cluster", "prod")
    assert (done, err) == (0, "[WARN] the server does not tell its version; omniherd follows Omni 1.9.\n")
    assert "prod" in out


def test_what_a_server_has_not_is_told_when_it_is_asked_for(shell: Shell) -> None:
    code, out, err = shell("get", "thingsofthefuture")
    assert (code, out) == (1, "")
    assert err.startswith('Error: resource "thingsofthefuture" is not registered')
