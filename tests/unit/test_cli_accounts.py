from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from command_shell import Shell

from omniherd.cli.accounts import account_rows
from omniherd.cli.users import user_rows
from omniherd.credentials import ServiceAccount
from omniherd.services import KeyInfo, ServiceAccountInfo, UserInfo
from omniherd.yamlform import load

if TYPE_CHECKING:
    from pathlib import Path

THEN = datetime(2026, 11, 24, 10, 0, 0, 999999, UTC)


def test_a_table_of_users_names_labels_and_absence() -> None:
    users = [
        UserInfo("1", "a@b.c", "Admin", {"z": "", "a": "b"}, ""),
        UserInfo("2", "d@b.c", "None", {}, "2026-11-24T10:00:00Z"),
    ]
    assert user_rows(users) == [
        ("1", "a@b.c", "Admin", "Never", "a=b, z"),
        ("2", "d@b.c", "None", "2026-11-24T10:00:00Z", ""),
    ]


def test_each_key_has_a_row_and_an_account_without_one_is_shown() -> None:
    accounts = [
        ServiceAccountInfo(
            "ci", "Reader", (KeyInfo("f1", "", THEN, THEN, None), KeyInfo("f2", "", None, None, THEN)), ""
        ),
        ServiceAccountInfo("bare", "None", (), ""),
    ]
    time = "2026-11-24T10:00:00Z"
    assert account_rows(accounts) == [
        ("ci", "Reader", "Never", "f1", time, "Never", time),
        ("", "", "", "f2", "-", time, "-"),
        ("bare", "None", "Never", "-", "-", "-", "-"),
    ]


def test_users_as_json_and_yaml(shell: Shell) -> None:
    assert shell("user", "create", "json@example.com", "-r", "Reader") == (0, "", "")
    code, out, _ = shell("user", "list", "-o", "json")
    assert code == 0
    (record,) = [user for user in json.loads(out) if user["email"] == "json@example.com"]
    assert record == {
        "id": record["id"],
        "email": "json@example.com",
        "role": "Reader",
        "last_active": None,
        "labels": {},
    }
    _, out, _ = shell("user", "list", "-o", "yaml")
    as_yaml: Any = load(out)
    assert record in as_yaml
    code, out, err = shell("user", "list", "-o", "xml")
    assert (code, out) == (1, "")
    assert err == 'Error: output format "xml" is not supported (one of table, json, yaml)\n'


def test_a_renewed_key_lives_as_long_as_it_was_told(shell: Shell) -> None:
    code, out, err = shell("sa", "create", "short", "--use-user-role=false", "-r", "Reader", "-t", "2h")
    assert code == 0, err
    first = dict(line.split("=", 1) for line in out.splitlines())
    assert first["OMNI_ENDPOINT"] == shell.environ["OMNI_ENDPOINT"]
    code, out, err = shell("sa", "renew", "short", "--ttl", "3h")
    assert code == 0, err
    assert "will not be displayed again" in err
    second = dict(line.split("=", 1) for line in out.splitlines())
    for environ, hours in ((first, 2), (second, 3)):
        key = ServiceAccount.decode(environ["OMNI_SERVICE_ACCOUNT_KEY"]).key
        assert key.expires is not None
        left = key.expires - datetime.now(UTC)
        assert timedelta(hours=hours, minutes=-2) < left <= timedelta(hours=hours)
        # What was printed is all that a program needs.
        assert shell("get", "currentuser", "-o", "jsonpath={.spec.role}", **environ)[:2] == (0, "Reader\n")
    code, out, _ = shell("sa", "list", "-o", "json")
    (record,) = [account for account in json.loads(out) if account["name"] == "short"]
    assert len(record["keys"]) == 2
    assert shell("sa", "d", "short") == (0, "destroyed service account: short\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("user", "create", "a@b.c", "-r", "Reader"),
        ("user", "set-role", "a@b.c", "-r", "Reader"),
        ("user", "delete", "a@b.c"),
        ("sa", "create", "x"),
        ("sa", "renew", "x"),
        ("sa", "destroy", "x"),
    ],
)
def test_what_writes_is_refused_when_reading_only(tmp_path: Path, words: tuple[str, ...]) -> None:
    # There is no server behind this address: the refusal comes before any call.
    shell = Shell(tmp_path, {"OMNI_ENDPOINT": "grpc://127.0.0.1:9", "OMNIHERD_READ_ONLY": "1"})
    code, out, err = shell(*words)
    assert (code, out) == (1, "")
    assert err.startswith("Error: read-only: `")


def test_required_flags_and_roles(shell: Shell) -> None:
    assert shell("user", "create", "a@b.c") == (1, "", 'Error: required flag(s) "role" not set\n')
    code, out, err = shell("sa", "create", "x", "--use-user-role=false")
    assert (code, out) == (1, "")
    assert err == "Error: a service account needs a role (--role is None, Reader, Operator or Admin)\n"
