"""`omniherd serviceaccount`: identities of programs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import BOOL, Duration, command, option
from omniherd.errors import InputError, OmniError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.credentials import ServiceAccount
    from omniherd.services import ServiceAccountInfo

__all__ = [
    "KEY_OUTPUT",
    "TTL",
    "account_rows",
    "create",
    "destroy",
    "key_format",
    "list_accounts",
    "renew",
    "write_key",
]

_TITLES = ("NAME", "ROLE", "LAST ACTIVE", "PUBLIC KEY ID", "KEY CREATED", "KEY LAST ACTIVE", "EXPIRATION")
_YEAR = 365 * 24 * 3600.0

TTL = option(
    "-t", "--ttl", type=Duration(), default=_YEAR, metavar="DURATION", help="life of the key, a year by default"
)
"""The flag for the life of a service account's key."""

KEY_OUTPUT = option("-o", "--output", metavar="FORMAT", help="json or yaml; lines for an environment by default")
"""The flag for how a new key is printed."""


def key_format(name: str) -> str:
    """Return the format of a new key, the empty text for lines.

    Args:
        name: What `--output` says.

    Raises:
        InputError: There is no such format.
    """
    if name not in {"", "json", "yaml"}:
        raise InputError(f'output format "{name}" is not supported', hint="one of json, yaml")
    return name


def write_key(endpoint: str, account: ServiceAccount, title: str, form: str = "") -> None:
    """Write a new key: the two lines for an environment to standard output, all else to standard error.

    Args:
        endpoint: The server's URL.
        account: The account with its key.
        title: What was done, one line.
        form: `json` or `yaml` for a document instead of lines.
    """
    if form in {"json", "yaml"}:
        from omniherd.cli.output.records import write_record

        write_record(
            form,
            {
                "name": account.name,
                "public_key_id": account.key.fingerprint,
                "endpoint": endpoint,
                "service_account_key": account.encode(),
            },
        )
        return
    sys.stderr.write(f"{title}\n\nSet the following environment variables to use the service account:\n\n")
    sys.stderr.flush()
    sys.stdout.write(f"OMNI_ENDPOINT={endpoint}\nOMNI_SERVICE_ACCOUNT_KEY={account.encode()}\n")
    sys.stdout.flush()
    sys.stderr.write("Note: Store the service account key securely, it will not be displayed again\n")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@KEY_OUTPUT
@option("-r", "--role", metavar="ROLE", help="None, Reader, Operator or Admin; needs --use-user-role=false")
@TTL
@option("-u", "--use-user-role", type=BOOL, default=True, metavar="", help="take the creator's role; true by default")
def create(**values: Any) -> None:
    """Make a service account with a new key, and print what its programs need in their environment."""
    settings = Settings(values)
    refuse_read_only(settings, "`serviceaccount create`")
    form = key_format(values["output"])
    name = values["words"][0]
    role, as_user = values["role"], values["use_user_role"]
    if not role and not as_user:
        raise InputError("a service account needs a role", hint="--role is None, Reader, Operator or Admin")
    with connected(settings) as omni:
        account = omni.management.create_service_account(name, role, use_user_role=as_user, lifetime=values["ttl"])
        title = f'Created service account "{name}" with public key ID "{account.key.fingerprint}"'
        write_key(omni.connection.endpoint.url, account, title, form)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@KEY_OUTPUT
@TTL
def renew(**values: Any) -> None:
    """Give a service account one more key; older ones go on working until they expire."""
    settings = Settings(values)
    refuse_read_only(settings, "`serviceaccount renew`")
    form = key_format(values["output"])
    name = values["words"][0]
    with connected(settings) as omni:
        account = omni.management.renew_service_account(name, lifetime=values["ttl"])
        title = f'Renewed service account "{name}" by adding a public key with ID "{account.key.fingerprint}"'
        write_key(omni.connection.endpoint.url, account, title, form)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def destroy(**values: Any) -> None:
    """Remove a service account and its keys."""
    settings = Settings(values)
    refuse_read_only(settings, "`serviceaccount destroy`")
    name = values["words"][0]
    with connected(settings) as omni:
        try:
            omni.management.destroy_service_account(name)
        except OmniError as error:
            raise wrapped(error, "failed to destroy service account") from error
    sys.stdout.write(f"destroyed service account: {name}\n")


@command()
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
def list_accounts(**values: Any) -> None:
    """List the service accounts and their keys, without those of infra providers."""
    from omniherd.cli.output.records import check_format, moment_text, seen, write_records

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni:
        accounts = omni.management.list_service_accounts()
    records = [
        {
            "name": account.name,
            "role": account.role,
            "last_active": seen(account.last_active),
            "keys": [
                {
                    "id": key.id,
                    "created": moment_text(key.created),
                    "last_active": moment_text(key.last_used),
                    "expiration": moment_text(key.expires),
                }
                for key in account.keys
            ],
        }
        for account in accounts
    ]
    write_records(form, records, _TITLES, account_rows(accounts))


def account_rows(accounts: Sequence[ServiceAccountInfo]) -> list[tuple[str, ...]]:
    """Return the cells of a table of service accounts: a row for each key, the account in the first of its rows.

    Args:
        accounts: The accounts, in the order of the table.
    """
    from omniherd.cli.output.records import moment_text

    rows: list[tuple[str, ...]] = []
    for account in accounts:
        head = (account.name, account.role, account.last_active or "Never")
        keys = [
            (
                key.id,
                moment_text(key.created) or "-",
                moment_text(key.last_used) or "Never",
                moment_text(key.expires) or "-",
            )
            for key in account.keys
        ]
        for number, key in enumerate(keys or [("-", "-", "-", "-")]):
            rows.append((*(head if number == 0 else ("", "", "")), *key))
    return rows
