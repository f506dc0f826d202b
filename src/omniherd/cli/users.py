"""`omniherd user`: people who may log in."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.flags import command, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.services import UserInfo

__all__ = ["create", "delete", "list_users", "set_role"]

_ROLE = option("-r", "--role", metavar="ROLE", help="None, Reader, Operator or Admin")
_TITLES = ("ID", "EMAIL", "ROLE", "LAST ACTIVE", "LABELS")


@command(minimum=1, maximum=1, required=("role",))
@click.argument("words", nargs=-1, metavar="E-MAIL")
@_ROLE
def create(**values: Any) -> None:
    """Let a person in."""
    settings = Settings(values)
    refuse_read_only(settings, "`user create`")
    with connected(settings) as omni:
        omni.management.create_user(values["words"][0], values["role"])


@command(minimum=1, maximum=1, required=("role",))
@click.argument("words", nargs=-1, metavar="E-MAIL")
@_ROLE
def set_role(**values: Any) -> None:
    """Give a person another role."""
    settings = Settings(values)
    refuse_read_only(settings, "`user set-role`")
    with connected(settings) as omni:
        omni.management.update_user(values["words"][0], values["role"])


@command(minimum=1, maximum=None)
@click.argument("words", nargs=-1, metavar="E-MAIL...")
def delete(**values: Any) -> None:
    """Shut people out, one after another; the first failure ends it."""
    settings = Settings(values)
    refuse_read_only(settings, "`user delete`")
    with connected(settings) as omni:
        for email in values["words"]:
            omni.management.destroy_user(email)
            sys.stdout.write(f"destroyed user {email}\n")


@command(counted=True)
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
def list_users(**values: Any) -> None:
    """List the people who may log in, without service accounts."""
    from omniherd.cli.output.records import check_format, seen, write_records

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni:
        users = omni.management.list_users()
    records = [
        {
            "id": user.id,
            "email": user.email,
            "role": user.role,
            "last_active": seen(user.last_active),
            "labels": user.labels,
        }
        for user in users
    ]
    write_records(form, records, _TITLES, user_rows(users))


def user_rows(users: Sequence[UserInfo]) -> list[tuple[str, ...]]:
    """Return the cells of a table of users.

    Args:
        users: The users, in the order of the table.
    """
    return [
        (
            user.id,
            user.email,
            user.role,
            user.last_active or "Never",
            ", ".join(f"{key}={value}" if value else key for key, value in sorted(user.labels.items())),
        )
        for user in users
    ]
