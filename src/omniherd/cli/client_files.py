"""`omniherd kubeconfig` and `omniherd talosconfig`: files for kubectl and talosctl."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from omniherd.cli.connection import Settings, connected
from omniherd.cli.flags import BOOL, Duration, command, flag, listed, option
from omniherd.errors import ConfigError, InputError, NotFound, YAMLError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from omniherd.cli.kubeconfig_merge import Merged

__all__ = ["default_kubeconfig", "kubeconfig", "place", "talosconfig", "write_client_file"]

_YEAR = 365 * 24 * 3600.0
# Files without a secret in them may be read by the group, as other tools for clusters do.
_SHARED, _SECRET = 0o640, 0o600

_CLUSTER = option("-c", "--cluster", metavar="NAME", help="the cluster")
_FORCE = flag("-f", "--force", help="overwrite a file that exists, or what differs in it")
_MERGE = option("-m", "--merge", type=BOOL, default=True, metavar="", help="add to a file that exists; true by default")


def default_kubeconfig(environ: Mapping[str, str]) -> str:
    """Return the file that kubectl uses.

    Args:
        environ: The environment.

    Raises:
        ConfigError: `KUBECONFIG` names several.
    """
    named = environ.get("KUBECONFIG", "")
    if os.pathsep in named:
        raise ConfigError("multiple kubeconfig files defined", hint="name the file to write")
    return named or str(Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config")


def place(words: tuple[str, ...], name: str, default: str | None) -> str:
    """Return the file to write.

    Args:
        words: The command's words: a file or a directory, or nothing.
        name: The file's name in a directory.
        default: The file when there are no words; None for one in the working directory, by its whole path.
    """
    path = words[0] if words else default or os.path.abspath(name)  # noqa: PTH100 - as below
    return os.path.join(path, name) if os.path.isdir(path) else path  # noqa: PTH112, PTH118 - keeps the text as it was given


def write_client_file(
    path: str, text: str, merge: Callable[[str, str], Merged] | None, *, mode: int, always_merge: bool = False
) -> list[tuple[str, str, str]]:
    """Write a file as a whole or not at all, merged into the one that is there.

    Args:
        path: The file; missing directories are made.
        text: What the server gave.
        merge: Joins the file's text and the server's; None to replace the file.
        mode: Permission bits of a new file; an existing one keeps its own.
        always_merge: Merge into an empty file where there is none.

    Returns:
        What was renamed.

    Raises:
        OSError: The file cannot be read or written.
        ConfigError: The file that is there cannot be added to.
    """
    from omniherd._core.files import is_special, write_atomic

    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    there = file.exists()
    renamed: list[tuple[str, str, str]] = []
    if merge is not None and (there or always_merge):
        # A device has nothing to add to, and may be read for ever.
        held = file.read_bytes() if there and not is_special(path) else b""
        try:
            merged = merge(held.decode(), text)
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: the file is no UTF-8 text: byte {error.start}") from None
        except (ConfigError, YAMLError) as error:
            error.hint = error.hint or f"{path} is left as it was; --merge=false --force replaces it"
            raise
        text, renamed = merged.text, list(merged.renamed)
    write_atomic(file, text, file.stat().st_mode & 0o777 if there else mode)
    return renamed


def _refuse_existing(path: str, kind: str, *, merge: bool, force: bool) -> None:
    if not merge and not force and os.path.exists(path):  # noqa: PTH110 - as above
        raise InputError(f'{kind} file already exists, use --force to overwrite: "{path}"')


def _always(_component: str, _name: str) -> bool:
    return True


def _ask(component: str, name: str) -> bool:
    """Ask whether to overwrite; off a terminal nothing is."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    while True:
        answer = input(f'{component} "{name}" already exists [(r)ename/(o)verwrite]: ').strip().lower()
        if answer in {"r", "o"}:
            return answer == "o"


def _tell(renamed: list[tuple[str, str, str]]) -> None:
    for what, before, after in renamed:
        sys.stdout.write(f'renamed {what} "{before}" -> "{after}"\n')


@command(dry_run=False, maximum=1, required=("cluster",))
@click.argument("words", nargs=-1, metavar="[FILE]")
@flag("--break-glass", help="an administrator's file that goes past Omni; most servers refuse")
@_CLUSTER
@_FORCE
@option("--force-context-name", metavar="NAME", help="name of the context")
@option("--grant-type", metavar="TYPE", help="how kubectl logs in: auto, authcode or authcode-keyboard")
@option("--groups", multiple=True, default=("system:masters",), metavar="NAME", help="groups of --service-account")
@_MERGE
@option("--oidc-cache-base-dir", metavar="DIR", help="where kubectl keeps its tokens")
@flag("--oidc-cache-isolation", help="a token cache for each context")
@flag("--service-account", help="a token for a program instead of a login")
@option("--ttl", type=Duration(), default=_YEAR, metavar="DURATION", help="life of that token, a year by default")
@option("--user", metavar="NAME", help="what Kubernetes calls that program")
def kubeconfig(**values: Any) -> None:
    """Write a kubeconfig for a cluster, or add it to the one that is there."""
    from functools import partial

    from omniherd.cli.kubeconfig_merge import merge_kubeconfig

    settings = Settings(values)
    merge, force, name = values["merge"], values["force"], values["force_context_name"]
    if values["service_account"] and not values["user"]:
        raise InputError("--user flag is required when --service-account is set to true")
    # The word is looked at first: a file that is named needs no default.
    default = default_kubeconfig(os.environ) if merge and not values["words"] else None
    path = place(values["words"], "kubeconfig", default)
    _refuse_existing(path, "kubeconfig", merge=merge, force=force)
    cluster = values["cluster"]
    with connected(settings) as omni:
        from omniherd.resources import Cluster

        try:
            omni.get(Cluster, cluster)
        except NotFound:
            raise InputError(f'cluster not found: "{cluster}"') from None
        if values["service_account"]:
            text = omni.management.service_account_kubeconfig(
                cluster, user=values["user"], lifetime=values["ttl"], groups=listed(values["groups"])
            )
        else:
            text = omni.management.kubeconfig(
                cluster,
                grant_type=values["grant_type"],
                oidc_cache_dir=values["oidc_cache_base_dir"],
                oidc_cache_isolation=values["oidc_cache_isolation"],
                break_glass=values["break_glass"],
            )
    join = partial(merge_kubeconfig, overwrite=_always if force else _ask, context_name=name)
    renamed: list[tuple[str, str, str]] = []
    if name and not merge:
        # The file is replaced, by one in which the context has that name.
        alone = join("", text)
        text, renamed = alone.text, list(alone.renamed)
    # omnictl writes files anew through Kubernetes's library, which keeps them for their owner.
    secret = values["service_account"] or values["break_glass"] or name
    mode = _SECRET if secret else _SHARED
    renamed += write_client_file(path, text, join if merge else None, mode=mode, always_merge=bool(name))
    _tell(renamed)


@command(dry_run=False, maximum=1)
@click.argument("words", nargs=-1, metavar="[FILE]")
@flag("--break-glass", help="an operator's file that goes past Omni; most servers refuse")
@_CLUSTER
@_FORCE
@_MERGE
def talosconfig(**values: Any) -> None:
    """Write a talosconfig for a cluster or for all, or add it to the one that is there."""
    from omniherd.cli.talosconfig_merge import merge_talosconfig
    from omniherd.omniconfig import talos_dir

    settings = Settings(values)
    merge, cluster = values["merge"], values["cluster"]
    path = place(values["words"], "talosconfig", str(talos_dir() / "config") if merge else None)
    _refuse_existing(path, "talosconfig", merge=merge, force=values["force"])
    with connected(settings) as omni:
        from omniherd.resources import Cluster

        if cluster:
            try:
                omni.get(Cluster, cluster)
            except NotFound:
                sys.stderr.write(f'warning: cluster "{cluster}" does not exist\n')
        text = omni.management.talosconfig(cluster or None, break_glass=values["break_glass"])
    mode = _SECRET if values["break_glass"] else _SHARED
    _tell(write_client_file(path, text, merge_talosconfig if merge else None, mode=mode))
