"""`omniherd infraprovider`: providers of machines, and their service accounts."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.accounts import KEY_OUTPUT, TTL, key_format, write_key
from omniherd.cli.connection import Settings, connected, refuse_read_only
from omniherd.cli.failures import wrapped
from omniherd.cli.flags import command, option
from omniherd.errors import NotFound, OmniError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from omniherd.resource import Resource

__all__ = ["create", "delete", "list_providers", "provider_rows", "renew_key"]

_TITLES = ("ID", "NAME", "DESCRIPTION", "CONNECTED", "ERROR")


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@KEY_OUTPUT
@TTL
def create(**values: Any) -> None:
    """Make an infra provider and its service account, and print what the provider needs in its environment."""
    settings = Settings(values)
    refuse_read_only(settings, "`infraprovider create`")
    form = key_format(values["output"])
    name = values["words"][0]
    with connected(settings) as omni:
        account = omni.management.create_infra_provider(name, lifetime=values["ttl"])
        title = f'Infra provider "{name}" is ready to use, with public key ID "{account.key.fingerprint}"'
        write_key(omni.connection.endpoint.url, account, title, form)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@KEY_OUTPUT
@TTL
def renew_key(**values: Any) -> None:
    """Give an infra provider one more key; older ones go on working until they expire."""
    from omniherd.credentials import INFRA_PROVIDER_PREFIX

    settings = Settings(values)
    refuse_read_only(settings, "`infraprovider renewkey`")
    form = key_format(values["output"])
    name = values["words"][0]
    with connected(settings) as omni:
        account = omni.management.renew_service_account(INFRA_PROVIDER_PREFIX + name, lifetime=values["ttl"])
        title = f'Infra provider "{name}" has one more key, with public key ID "{account.key.fingerprint}"'
        write_key(omni.connection.endpoint.url, account, title, form)


@command(minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def delete(**values: Any) -> None:
    """Remove an infra provider."""
    settings = Settings(values)
    refuse_read_only(settings, "`infraprovider delete`")
    name = values["words"][0]
    with connected(settings) as omni:
        from omniherd.resources import InfraProvider

        try:
            omni.get(InfraProvider, name)
            # Gone in between is gone: a controller of the server may have been quicker.
            with contextlib.suppress(NotFound):
                omni.delete(InfraProvider, name)
        except OmniError as error:
            raise wrapped(error, "failed to delete infra provider") from error
    sys.stdout.write(f"deleted infra provider: {name}\n")


@command()
@option("-o", "--output", metavar="FORMAT", help="table, json or yaml")
def list_providers(**values: Any) -> None:
    """List the infra providers."""
    from omniherd.cli.output.records import check_format, write_records

    settings = Settings(values)
    form = check_format(values["output"])
    with connected(settings) as omni:
        from omniherd.resources import InfraProviderCombinedStatus

        providers = omni.list(InfraProviderCombinedStatus)
    records = [
        {
            "id": one.id,
            "name": one.spec.name,
            "description": one.spec.description,
            "connected": one.spec.health.connected,
            "error": one.spec.health.error,
        }
        for one in providers
    ]
    write_records(form, records, _TITLES, provider_rows(providers), padding=4)


def provider_rows(providers: Sequence[Resource[Any]]) -> list[tuple[str, ...]]:
    """Return the cells of a table of infra providers.

    Args:
        providers: InfraProviderCombinedStatuses, in the order of the table.
    """
    return [
        (
            one.id,
            one.spec.name,
            one.spec.description,
            "true" if one.spec.health.connected else "false",
            one.spec.health.error,
        )
        for one in providers
    ]
