from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from omniherd.cli.join_tokens import endpoint_url, token_rows
from omniherd.cli.providers import provider_rows
from omniherd.credentials import ServiceAccount
from omniherd.resources import InfraProviderCombinedStatus, JoinTokenStatus

if TYPE_CHECKING:
    from command_shell import Shell


def test_the_join_url_keeps_its_query() -> None:
    assert endpoint_url("grpc://a?grpc_tunnel=true", "t") == "grpc://a?grpc_tunnel=true&jointoken=t"


def test_a_table_of_tokens() -> None:
    tokens = [
        JoinTokenStatus("a", spec={"name": "n", "state": 1, "is_default": True, "use_count": 3}),
        JoinTokenStatus("b", spec={"state": 2, "expiration_time": {"seconds": 86400}}),
    ]
    assert token_rows(tokens) == [
        ("a", "n", "ACTIVE", "never", "3", "*"),
        ("b", "", "REVOKED", "1970-01-02 00:00:00 +0000 UTC", "0", ""),
    ]


def test_a_table_of_providers() -> None:
    status = InfraProviderCombinedStatus("p", spec={"name": "P", "health": {"connected": True, "error": "e"}})
    assert provider_rows([status]) == [("p", "P", "", "true", "e")]


def test_the_life_of_a_token(shell: Shell) -> None:
    code, out, err = shell("jointoken", "create", "mine", "--ttl", "2h")
    assert (code, err) == (0, "")
    token = out.strip()
    assert shell("jt", "renew", token, "-t", "90m") == (0, f'token "{token}" was renewed, new ttl is 1h30m0s\n', "")
    code, out, err = shell("jt", "kernel-args", "--token-name", "mine")
    assert (code, err) == (0, "")
    assert f"jointoken={token}" in out
    code, out, err = shell("jt", "mc", "--token-id", token)
    assert (code, err) == (0, "")
    assert f"jointoken={token}" in out
    code, out, err = shell("get", "jointoken", token, "-o", "json")
    assert json.loads(out)["spec"]["name"] == "mine"
    assert shell("jt", "make-default", token) == (0, f'token "{token}" is now default\n', "")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("ka", "--token-id", "nope"), 'join token with ID "nope" was not found'),
        (("ka", "--token-name", "nope"), 'join token with name "nope" was not found'),
        (("renew", "nope", "-t", "0"), "ttl should be greater than 0"),
        (("renew", "nope"), 'required flag(s) "ttl" not set'),
        (
            ("ka", "--token-id", "a", "--token-name", "b"),
            "if any flags in the group [token-id token-name] are set none of the others can be; "
            "[token-id token-name] were all set",
        ),
        (
            ("unrevoke", "nope"),
            "rpc error: code = NotFound desc = resource JoinTokens.omni.sidero.dev(default/nope@undefined) "
            "doesn't exist",
        ),
    ],
)
def test_errors_of_tokens(shell: Shell, words: tuple[str, ...], error: str) -> None:
    assert shell("jointoken", *words) == (1, "", f"Error: {error}\n")


def test_the_life_of_a_provider(shell: Shell) -> None:
    code, out, err = shell("infraprovider", "create", "metal", "--ttl", "2h")
    assert code == 0, err
    environ = dict(line.split("=", 1) for line in out.splitlines())
    account = ServiceAccount.decode(environ["OMNI_SERVICE_ACCOUNT_KEY"])
    assert account.key.expires is not None
    assert (account.key.expires - account.key.created).total_seconds() < 2 * 3600 + 120
    code, _, err = shell("ip", "renewkey", "metal")
    assert code == 0, err
    assert shell("ip", "delete", "metal") == (0, "deleted infra provider: metal\n", "")
    code, out, err = shell("ip", "delete", "metal")
    assert (code, out) == (1, "")
    assert err.startswith("Error: failed to delete infra provider: rpc error: code = NotFound desc = ")
