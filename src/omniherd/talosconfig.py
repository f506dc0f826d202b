"""The talosconfig file: where Talos's own API is, and the certificate that opens it.

Example:
    >>> context = read_talosconfig("talosconfig", context="lab")  # doctest: +SKIP
    >>> context.endpoints  # doctest: +SKIP
    ('10.0.0.2',)
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omniherd.errors import ConfigError, ContextNotFound, CredentialError
from omniherd.omniconfig import talos_dir

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TalosContext", "find_talosconfig", "parse_talosconfig", "read_talosconfig"]

# Where Talos mounts the file in pods that may use its API.
_MOUNTED = "/var/run/secrets/talos.dev/config"


@dataclass(frozen=True, slots=True)
class TalosContext:
    """One context of a talosconfig.

    Attributes:
        name: Its name.
        endpoints: Where Talos's API is, `host` or `host:port`; each of them reaches every node.
        nodes: The nodes that are meant when none is named.
        ca: The certificate authority of the API as PEM; None for the system's.
        certificate: The client's certificate as PEM, or None.
        key: Its private key as PEM, or None; does not show when printed.
    """

    name: str
    endpoints: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    ca: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)


def find_talosconfig(environ: Mapping[str, str] | None = None) -> str:
    """Return the file that is used when none is named.

    It is the first that exists of `$TALOSCONFIG`, `config` in the Talos directory (`$TALOS_HOME`, else `~/.talos`) and
    the one that Talos mounts in pods; where none exists, the first of them.

    Args:
        environ: The environment, the process's by default.
    """
    env = os.environ if environ is None else environ
    chosen = [env["TALOSCONFIG"]] if env.get("TALOSCONFIG") else []
    paths = [*chosen, str(talos_dir(env) / "config"), _MOUNTED]
    return next((path for path in paths if Path(path).exists()), paths[0])


def read_talosconfig(path: str | os.PathLike[str] | None = None, *, context: str | None = None) -> TalosContext:
    """Read a context of a talosconfig file.

    Args:
        path: The file, by default the one that `find_talosconfig` finds.
        context: The context, by default the file's current one.

    Raises:
        ConfigError: The file cannot be read, is no talosconfig, or leads through Omni.
        ContextNotFound: It has no such context.
        CredentialError: Its certificate or key is malformed.
    """
    file = os.fspath(path) if path else find_talosconfig()
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror or str(error) if isinstance(error, OSError) else "it is no text"
        raise ConfigError(
            f'failed to open config file "{file}": {reason.lower()}',
            hint="name the cluster's talosconfig with `talosconfig`, --talosconfig or TALOSCONFIG",
            details={"path": file},
        ) from None
    return parse_talosconfig(text, context=context, path=file)


def parse_talosconfig(text: str, *, context: str | None = None, path: str = "the talosconfig") -> TalosContext:
    r"""Return a context of a talosconfig's text.

    Args:
        text: The YAML text.
        context: The context, by default the file's current one.
        path: What errors call the file.

    Raises:
        ConfigError: It is no talosconfig, or leads through Omni.
        ContextNotFound: It has no such context.
        CredentialError: Its certificate or key is malformed.

    Example:
        >>> parse_talosconfig("context: lab\ncontexts: {lab: {endpoints: [10.0.0.2]}}").endpoints
        ('10.0.0.2',)
    """
    from omniherd.errors import YAMLError
    from omniherd.yamlform import load

    try:
        document = load(text)
    except YAMLError as error:
        # The text is not shown: it holds a key.
        raise ConfigError(f"{path} is no YAML", details={"path": path}) from error.__cause__
    top = _mapping(document, path, "the file")
    contexts = _mapping(top.get("contexts"), path, "`contexts`")
    name = context or str(top.get("context") or "")
    if name not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise ContextNotFound(
            f'context "{name}" is not defined in {path}' if name else f"{path} has no current context",
            hint=f"the file's contexts: {known}",
            details={"path": path},
        )
    body = _mapping(contexts[name], path, f"context {name}")
    auth = _mapping(body.get("auth"), path, f"auth of context {name}")
    if auth.get("siderov1"):
        raise ConfigError(
            f"context {name} of {path} leads through Omni",
            hint="reach its machines with `omni.talos(...)`; directly, with a talosconfig that holds a certificate",
            details={"path": path},
        )
    written = body.get("endpoints")
    endpoints = _texts(body.get("target") if written is None else written, path, f"endpoints of context {name}")
    certificate, key = (_pem(body.get(part), f"{part} of context {name} of {path}") for part in ("crt", "key"))
    if (certificate is None) != (key is None):
        raise CredentialError(f"context {name} of {path} has only one of `crt` and `key`", details={"path": path})
    return TalosContext(
        name,
        endpoints,
        _texts(body.get("nodes"), path, f"nodes of context {name}"),
        _pem(body.get("ca"), f"ca of context {name} of {path}"),
        certificate,
        key,
    )


def _pem(value: Any, what: str) -> bytes | None:
    if not value:
        return None
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        found = b""
    if b"-----BEGIN " not in found:
        raise CredentialError(f"{what} is no PEM text in base64")
    return found


def _mapping(value: Any, path: str, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {what} must be a mapping", details={"path": path})
    return cast("dict[str, Any]", value)


def _texts(value: Any, path: str, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    found = cast("Sequence[Any]", value) if isinstance(value, list) else [value]
    if not all(isinstance(one, str) and one for one in found):
        raise ConfigError(f"{path}: {what} must be texts", details={"path": path})
    return tuple(found)
