"""`omniherd config`: the omniconfig file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings
from omniherd.cli.flags import command, option
from omniherd.omniconfig import DEFAULT_URL, OmniConfig, locate

if TYPE_CHECKING:
    from omniherd.omniconfig import Context

__all__ = ["add", "contexts", "identity", "info", "merge", "new", "remove", "url", "use"]


_URL = option("--url", default=DEFAULT_URL, metavar="URL", help=f"URL of the server, {DEFAULT_URL} by default")
_IDENTITY = option("--identity", metavar="E-MAIL", help="who you are there")


def _load(settings: Settings, *, create: bool = False) -> OmniConfig:
    location = locate(settings.omniconfig)
    for line in location.notices:
        sys.stderr.write(f"{line}\n")
    config = OmniConfig.load(location.path, create=create)
    if any(context.basic for context in config.contexts.values()):
        sys.stderr.write("[WARN] basic auth is deprecated and has no effect\n")
    return config


_OUTPUT = option("-o", "--output", metavar="FORMAT", help="table, json or yaml")


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
@_URL
@_IDENTITY
def add(**values: Any) -> None:
    """Add a context; the file is written where there is none."""
    settings = Settings(values)
    config = _load(settings, create=True)
    config.add(values["words"][0], values["url"], values["identity"])
    config.save()


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def use(**values: Any) -> None:
    """Make a context the current one."""
    settings = Settings(values)
    name = values["words"][0]
    config = _load(settings)
    config.use(name)
    config.save()
    if name not in config.contexts:
        sys.stderr.write(f"[WARN] there is no context {name} yet; `omniherd config add {name}` adds it\n")


@command(dry_run=False)
@_OUTPUT
def contexts(**values: Any) -> None:
    """List the contexts."""
    from omniherd.cli.output.records import check_format, write_records

    settings = Settings(values)
    form = check_format(values["output"])
    config = _load(settings)
    marks = {config.current: "*"}
    names = sorted(config.contexts)
    records = [{"current": name == config.current, **_record(name, config.contexts[name])} for name in names]
    rows = [(marks.get(name, ""), name, config.contexts[name].url) for name in names]
    write_records(form, records, ("CURRENT", "NAME", "URL"), rows)


def _record(name: str, context: Context) -> dict[str, Any]:
    return {"name": name, "url": context.url, "identity": context.identity or None}


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="E-MAIL")
def identity(**values: Any) -> None:
    """Set the identity of a context."""
    settings = Settings(values)
    config = _load(settings)
    config.set_identity(values["words"][0], settings.context)
    config.save()


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="URL")
def url(**values: Any) -> None:
    """Set the server of a context."""
    settings = Settings(values)
    config = _load(settings)
    config.set_url(values["words"][0], settings.context)
    config.save()


@command(dry_run=False)
@_OUTPUT
def info(**values: Any) -> None:
    """Show the current context."""
    from omniherd.cli.output.records import check_format, write_record

    settings = Settings(values)
    form = check_format(values["output"])
    config = _load(settings)
    context = config.context(settings.context)
    if form == "table":
        sys.stdout.write(info_text(config.current, context))
        return
    write_record(form, {"current": config.current, **_record(settings.context or config.current, context)})


def info_text(current: str, context: Context) -> str:
    """Return what `config info` prints.

    Args:
        current: Name of the file's current context, whichever is shown.
        context: The context shown.
    """
    rows = (("Current context:", current), ("URL:", context.url), ("Identity:", context.identity))
    return "".join(f"{title:17}{value}\n" for title, value in rows)


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="FILE")
def merge(**values: Any) -> None:
    """Take over the contexts of another omniconfig file."""
    settings = Settings(values)
    other = OmniConfig.load(values["words"][0])
    config = _load(settings, create=True)
    renamed = config.merge(other)
    config.save()
    for before, after in renamed:
        sys.stdout.write(f"renamed omniconfig context {before} -> {after}\n")


@command(dry_run=False, minimum=0, maximum=1)
@click.argument("words", nargs=-1, metavar="[FILE]")
@_URL
@_IDENTITY
def new(**values: Any) -> None:
    """Write a new omniconfig file, or reset the context `default` of one; `--omniconfig` does not count."""
    Settings(values)
    location = locate(values["words"][0] if values["words"] else None)
    for line in location.notices:
        sys.stderr.write(f"{line}\n")
    path = location.path
    config = OmniConfig.load(path) if os.path.lexists(path) else OmniConfig(path)
    config.reset_default(values["url"], values["identity"])
    config.save()


@command(dry_run=False, minimum=1, maximum=1)
@click.argument("words", nargs=-1, metavar="NAME")
def remove(**values: Any) -> None:
    """Remove a context."""
    settings = Settings(values)
    config = _load(settings)
    config.remove(values["words"][0])
    config.save()
