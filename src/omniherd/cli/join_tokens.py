"""`omniherd jointoken`: what machines show when they come."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import Duration, command, flag, option
from omniherd.errors import InputError, NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd import Omni
    from omniherd.resource import Resource

__all__ = [
    "create",
    "delete",
    "endpoint_url",
    "kernel_args",
    "list_tokens",
    "machine_config",
    "make_default",
    "omni_endpoint",
    "renew",
    "revoke",
    "token_rows",
    "unrevoke",
]

_TITLES = ("ID", "NAME", "STATE", "EXPIRATION", "USE COUNT", "DEFAULT")
_STATES = ("UNKNOWN", "ACTIVE", "REVOKED", "EXPIRED")
# What people see as the name of the first token, which may have none.
_INITIAL = "initial"

_TOKEN_ID = option("--token-id", metavar="ID", help="the token, the default one when not given")
_TOKEN_NAME = option("--token-name", metavar="NAME", help="the token, by its name")
_TUNNEL = flag("--use-grpc-tunnel", help="let the machine tunnel its connection through gRPC")
_ONE_OF = (("token-id", "token-name"),)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@option(
    "-t", "--ttl", type=Duration(), default=0.0, metavar="DURATION", help="life of the token; 0, the default, for ever"
)
def create(**values: Any) -> None:
    """Make a join token and print it."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken create`")
    with connected(settings) as omni:
        token = omni.management.create_join_token(values["words"][0], expires=values["ttl"] or None)
    sys.stdout.write(f"{token}\n")


@command()
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
def list_tokens(**values: Any) -> None:
    """List the join tokens."""
    from omniherd.cli.output.records import check_format, moment_text, write_records
    from omniherd.services import moment

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni:
        from omniherd.resources import JoinTokenStatus

        tokens = omni.list(JoinTokenStatus)
    records = [
        {
            "id": token.id,
            "name": token.spec.name,
            "state": _state(token.spec.state),
            "expiration": moment_text(moment(token.spec.expiration_time)),
            "use_count": token.spec.use_count,
            "default": token.spec.is_default,
        }
        for token in tokens
    ]
    write_records(form, records, _TITLES, token_rows(tokens))


def token_rows(tokens: Sequence[Resource[Any]]) -> list[tuple[str, ...]]:
    """Return the cells of a table of join tokens.

    Args:
        tokens: JoinTokenStatuses, in the order of the table.
    """
    from omniherd.services import moment

    rows: list[tuple[str, ...]] = []
    for token in tokens:
        spec = token.spec
        end = moment(spec.expiration_time)
        shown = "never" if end is None else f"{end:%Y-%m-%d %H:%M:%S} +0000 UTC"
        rows.append(
            (token.id, spec.name, _state(spec.state), shown, str(spec.use_count), "*" if spec.is_default else "")
        )
    return rows


def _state(number: int) -> str:
    return _STATES[number] if 0 <= number < len(_STATES) else str(number)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="ID")
def make_default(**values: Any) -> None:
    """Make a token the one that images and configurations hold by default."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken make-default`")
    token = values["words"][0]
    with connected(settings) as omni:
        from omniherd.resources import DefaultJoinToken

        # The server says itself when there is no such token.
        with omni.edit(DefaultJoinToken, "default") as change:
            change.spec.token_id = token
    sys.stdout.write(f'token "{token}" is now default\n')


@command(minimum=1, maximum=1, required=("ttl",))
@click.argument("words", nargs=-1, metavar="ID")
@option("-t", "--ttl", type=Duration(), default=0.0, metavar="DURATION", help="life of the token from now on")
def renew(**values: Any) -> None:
    """Let a token end so long from now."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken renew`")
    token, ttl = values["words"][0], values["ttl"]
    if ttl <= 0:
        raise InputError("ttl should be greater than 0")
    with connected(settings) as omni:
        from omniherd.resources import JoinToken

        with omni.edit(JoinToken, token) as change:
            change.spec.expiration_time.FromSeconds(int(time.time() + ttl))
    from datetime import timedelta

    from omniherd._core.durations import duration_text

    sys.stdout.write(f'token "{token}" was renewed, new ttl is {duration_text(timedelta(seconds=ttl))}\n')


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="ID")
@flag("-f", "--force", help="ask nothing")
def revoke(**values: Any) -> None:
    """Stop accepting a token."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken revoke`")
    token = values["words"][0]
    with connected(settings) as omni:
        _warn(omni, token, "revoke", force=values["force"])
        omni.management.revoke_join_token(token)
    sys.stdout.write(f'token "{token}" was revoked\n')


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="ID")
def unrevoke(**values: Any) -> None:
    """Accept a revoked token again."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken unrevoke`")
    token = values["words"][0]
    with connected(settings) as omni:
        omni.management.revoke_join_token(token, revoked=False)
    sys.stdout.write(f'token "{token}" was unrevoked\n')


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="ID")
@flag("-f", "--force", help="ask nothing")
def delete(**values: Any) -> None:
    """Remove a token, for good."""
    settings = Settings(values)
    refuse_read_only(settings, "`jointoken delete`")
    token = values["words"][0]
    with connected(settings) as omni:
        _warn(omni, token, "delete", force=values["force"])
        try:
            omni.management.delete_join_token(token)
        except OmniError as error:
            raise wrapped(error, "failed to delete a join token") from error
    sys.stdout.write(f"deleted join token: {token}\n")


def _warn(omni: Omni, token: str, verb: str, *, force: bool) -> None:
    """Show which machines depend on a token, and ask."""
    from omniherd.resources import JoinTokenStatus

    spec = omni.get(JoinTokenStatus, token).spec
    if not spec.warnings:
        return
    from omniherd.cli.output.tables import layout

    rows = [("MACHINE", "DETAILS"), *((warning.machine, warning.message) for warning in spec.warnings)]
    sys.stderr.write(
        f"WARNING: {len(spec.warnings)} of {spec.use_count} machine(s) won't be able to connect "
        f"if the token is revoked/deleted\n{layout(rows)}"
    )
    if force:
        return
    sys.stderr.write(f"Do you still want to {verb} the token? [y/N]: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() != "y":
        raise InputError("operation was aborted")


def _token(omni: Omni, values: dict[str, Any]) -> str:
    """Return the token that the flags mean."""
    from omniherd.resources import DefaultJoinToken, JoinToken

    ident, name = values["token_id"], values["token_name"]
    if ident:
        try:
            return omni.get(JoinToken, ident).id
        except NotFound:
            raise InputError(f'join token with ID "{ident}" was not found') from None
    if name:
        for token in omni.list(JoinToken):
            if token.spec.name == name or (name == _INITIAL and not token.spec.name):
                return token.id
        raise InputError(f'join token with name "{name}" was not found')
    found: str = omni.get(DefaultJoinToken, "default").spec.token_id
    return found


@command(exclusive=_ONE_OF)
@_TOKEN_ID
@_TOKEN_NAME
@_TUNNEL
def kernel_args(**values: Any) -> None:
    """Print the kernel arguments by which a machine joins. They hold the token."""
    settings = Settings(values)
    with connected(settings) as omni:
        joined = omni.management.machine_join_config(
            join_token=_token(omni, values), grpc_tunnel=values["use_grpc_tunnel"]
        )
    sys.stdout.write(" ".join(joined.kernel_args) + "\n")


@command(exclusive=_ONE_OF)
@_TOKEN_ID
@_TOKEN_NAME
@_TUNNEL
def machine_config(**values: Any) -> None:
    """Print the configuration by which a machine joins. It holds the token."""
    settings = Settings(values)
    with connected(settings) as omni:
        joined = omni.management.machine_join_config(
            join_token=_token(omni, values), grpc_tunnel=values["use_grpc_tunnel"]
        )
    sys.stdout.write(joined.config + "\n")


@command(exclusive=_ONE_OF)
@_TOKEN_ID
@_TOKEN_NAME
def omni_endpoint(**values: Any) -> None:
    """Print the URL by which a machine joins. It holds the token."""
    settings = Settings(values)
    with connected(settings) as omni:
        from omniherd.resources import SiderolinkAPIConfig

        token = _token(omni, values)
        (config,) = omni.list(SiderolinkAPIConfig)
    sys.stdout.write(endpoint_url(config.spec.machine_api_advertised_url, token) + "\n")


def endpoint_url(url: str, token: str) -> str:
    """Return the URL by which a machine joins.

    Args:
        url: The server's machine API; may have a query.
        token: The join token.

    Example:
        >>> endpoint_url("grpc://omni:8090", "abc")
        'grpc://omni:8090?jointoken=abc'
    """
    return f"{url}{'&' if '?' in url else '?'}jointoken={token}"
