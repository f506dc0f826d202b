"""The omniconfig file: named servers with the identity to use at each.

```yaml
contexts:
    lab:
        url: https://omni.example.com
        auth:
            siderov1:
                identity: me@example.com
context: lab
```

The file is shared with `omnictl`, so its place, its layout and the texts of errors are those of that program. Nothing
is printed here: what a person should read is returned as notices.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from omniherd._core.files import make_private_directory, reason, write_atomic
from omniherd.errors import ConfigError, ContextNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DEFAULT_CONTEXT",
    "DEFAULT_URL",
    "PLACEHOLDER_URL",
    "ConfigLocation",
    "Context",
    "OmniConfig",
    "locate",
    "talos_dir",
]

DEFAULT_CONTEXT = "default"
DEFAULT_URL = "grpc://127.0.0.1:8080"
PLACEHOLDER_URL = "<placeholder_url>"

_INDENT = "    "
_PLAIN = re.compile(r"[A-Za-z0-9_./<~+(][^\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
# Plain text that YAML readers, old and new, take for something other than a string.
_NOT_A_STRING = re.compile(
    r"(?:~|null|true|false|yes|no|on|off|y|n|[+-]?\.inf|\.nan|[+-]?[0-9][0-9_,.:]*(?:e[+-]?[0-9]+)?|0x[0-9a-f_]+"
    r"|0o[0-7_]+|0b[01_]+|[+-]?\.[0-9][0-9_]*(?:e[+-]?[0-9]+)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Context:
    """One server.

    Attributes:
        url: `https://…`, or `grpc://…` without TLS.
        identity: E-mail address of the person whose key signs, or `""` for nobody.
        basic: An obsolete credential that is kept and has no effect.
    """

    url: str = DEFAULT_URL
    identity: str = ""
    basic: str = field(default="", repr=False)

    def require_url(self, name: str) -> str:
        """Return the URL.

        Args:
            name: The context's name, for the error.

        Raises:
            ConfigError: The URL is the placeholder that stands for "fill this in".
        """
        if self.url == PLACEHOLDER_URL:
            raise ConfigError(
                f'context "{name}" has not been configured, you will need to set it manually',
                hint=f"`omniherd config url URL --context {name}` sets it",
            )
        return self.url


class ConfigLocation(NamedTuple):
    """Where the file is, and what to tell about it.

    Attributes:
        path: The file to read and write; it may not exist.
        notices: Lines for standard error.
    """

    path: str
    notices: tuple[str, ...] = ()


def talos_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the directory of Talos's and Omni's client files: `$TALOS_HOME` when that is absolute, else `~/.talos`.

    Args:
        environ: The environment, the process's by default.
    """
    env = os.environ if environ is None else environ
    home = env.get("TALOS_HOME", "")
    return Path(home) if home.startswith("/") else _home(env) / ".talos"


def locate(path: str | os.PathLike[str] | None = None, environ: Mapping[str, str] | None = None) -> ConfigLocation:
    """Find the omniconfig file.

    It is `path`, else `$OMNICONFIG`, else `omni/config` in the Talos directory. A file in the old place
    (`$XDG_CONFIG_HOME/omni/config`) is copied to the last of these when nothing is there yet; where that fails the old
    one is used.

    Args:
        path: An explicit file.
        environ: The environment, the process's by default.

    Example:
        >>> locate("lab.yaml").path
        'lab.yaml'
    """
    env = os.environ if environ is None else environ
    if path:
        return ConfigLocation(os.fspath(path))
    if env.get("OMNICONFIG"):
        return ConfigLocation(env["OMNICONFIG"])
    new = talos_dir(env) / "omni" / "config"
    old = Path(env.get("XDG_CONFIG_HOME") or _home(env) / ".config") / "omni" / "config"
    if new.exists() or not old.is_file():
        return ConfigLocation(str(new))
    try:
        make_private_directory(new.parent)
        write_atomic(new, old.read_bytes())
    except OSError as error:
        return ConfigLocation(
            str(old),
            (
                f"WARN: Omni config is read from deprecated default location: '{old}', "
                f"copying it to new default location: '{new}' failed: {reason(error)}",
            ),
        )
    return ConfigLocation(
        str(new),
        (f"INFO: Omni config was copied from deprecated default location: '{old}' to new default location: '{new}'",),
    )


@dataclass(slots=True)
class OmniConfig:
    """The contents of an omniconfig file.

    Methods change the contents in memory; `save` writes them.

    Attributes:
        path: The file, as it was given.
        contexts: By name.
        current: Name of the context in use, or `""`. It may name one that does not exist.

    Example:
        >>> config = OmniConfig("lab.yaml")
        >>> config.add("lab", "https://omni.example.com", "me@example.com")
        >>> config.current = "lab"
        >>> config.context().identity
        'me@example.com'
    """

    path: str
    contexts: dict[str, Context] = field(default_factory=dict[str, Context])
    current: str = ""

    @classmethod
    def default(cls, path: str | os.PathLike[str]) -> OmniConfig:
        """Return what a new file holds: the context `default` at `grpc://127.0.0.1:8080`. Nothing is written."""
        return cls(os.fspath(path), {DEFAULT_CONTEXT: Context()}, DEFAULT_CONTEXT)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, create: bool = False) -> OmniConfig:
        """Read the file.

        Args:
            path: The file.
            create: Write and return the default contents where there is no file.

        Raises:
            ConfigError: The file is not there, cannot be read, or is no omniconfig.
        """
        name = os.fspath(path)
        try:
            data = Path(name).read_bytes()
        except FileNotFoundError as error:
            if create:
                config = cls.default(name)
                config.save()
                return config
            raise _file_error(name, error) from None
        except OSError as error:
            raise _file_error(name, error) from None
        contexts, current = _parse(data, name)
        return cls(name, contexts, current)

    def save(self) -> None:
        """Write the file as a whole, readable by its owner only; the directory is made where it is missing.

        Raises:
            ConfigError: The file cannot be written; the old one is untouched.
        """
        path = Path(self.path)
        try:
            make_private_directory(path.parent)
            write_atomic(path, self.to_yaml())
        except OSError as error:
            raise _file_error(self.path, error) from None

    def to_yaml(self) -> str:
        """Return the text of the file: four blanks an indent, contexts by name, empty parts left out."""
        lines = ["contexts:" if self.contexts else "contexts: {}"]
        for name in sorted(self.contexts):
            context = self.contexts[name]
            lines += [f"{_INDENT}{_scalar(name)}:", f"{_INDENT * 2}url: {_scalar(context.url)}"]
            if context.basic or context.identity:
                lines.append(f"{_INDENT * 2}auth:")
            if context.basic:
                lines.append(f"{_INDENT * 3}basic: {_scalar(context.basic)}")
            if context.identity:
                lines += [f"{_INDENT * 3}siderov1:", f"{_INDENT * 4}identity: {_scalar(context.identity)}"]
        lines.append(f"context: {_scalar(self.current)}")
        return "\n".join(lines) + "\n"

    def context(self, name: str | None = None) -> Context:
        """Return a context.

        Args:
            name: By default the current one.

        Raises:
            ContextNotFound: There is none of that name.
        """
        wanted = name or self.current
        if wanted not in self.contexts:
            raise ContextNotFound(f"context not found: {wanted}", details={"contexts": sorted(self.contexts)})
        return self.contexts[wanted]

    def add(self, name: str, url: str = DEFAULT_URL, identity: str = "") -> None:
        """Add a context; the current one stays.

        Raises:
            ConfigError: The name is taken.
        """
        if name in self.contexts:
            raise ConfigError(f"context {name} already exists")
        self.contexts[name] = Context(url, identity)

    def reset_default(self, url: str = DEFAULT_URL, identity: str = "") -> None:
        """Set the context `default` anew, whatever it was; a file without a current context gets it as such."""
        self.contexts[DEFAULT_CONTEXT] = Context(url, identity)
        self.current = self.current or DEFAULT_CONTEXT

    def use(self, name: str) -> None:
        """Make a context the current one. The name is not checked, as in `omnictl`; `name in contexts` does."""
        self.current = name

    def remove(self, name: str) -> None:
        """Remove a context; when it was the current one, there is none afterwards.

        Raises:
            ContextNotFound: There is none of that name.
        """
        self.context(name or "")
        del self.contexts[name]
        if self.current == name:
            self.current = ""

    def set_url(self, url: str, name: str | None = None) -> None:
        """Set the URL of a context, by default of the current one.

        Raises:
            ContextNotFound: There is none of that name.
        """
        self.context(name).url = url

    def set_identity(self, identity: str, name: str | None = None) -> None:
        """Set the identity of a context, by default of the current one.

        Raises:
            ContextNotFound: There is none of that name.
        """
        self.context(name).identity = identity

    def merge(self, other: OmniConfig) -> list[tuple[str, str]]:
        """Take over all contexts of another configuration.

        A name that is taken gets `-1`, `-2` … appended, also where both contexts are the same. When the other has a
        current context, it becomes the current one here, under its new name; one that it does not have leaves none.

        Returns:
            Old and new name of each renamed context.

        Example:
            >>> mine, theirs = OmniConfig.default("a"), OmniConfig.default("b")
            >>> mine.merge(theirs), mine.current
            ([('default', 'default-1')], 'default-1')
        """
        names: dict[str, str] = {}
        for name in sorted(other.contexts):
            free, number = name, 0
            while free in self.contexts:
                number += 1
                free = f"{name}-{number}"
            names[name] = free
            source = other.contexts[name]
            self.contexts[free] = Context(source.url, source.identity, source.basic)
        if other.current:
            self.current = names.get(other.current, "")
        return [(old, new) for old, new in names.items() if old != new]


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _file_error(path: str, error: OSError) -> ConfigError:
    hint = "`omniherd config new` writes one" if isinstance(error, FileNotFoundError) else None
    return ConfigError(f"open {path}: {reason(error)}", hint=hint, details={"path": path})


def _own_form(data: bytes) -> tuple[dict[str, Context], str] | None:
    """Read the form that `to_yaml` writes, None for any other: no YAML reader needs to be loaded for it."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return None
    contexts: dict[str, Context] = {}
    current = ""
    for line in text.splitlines():
        key, _, value = line.strip().partition(": ")
        if line.startswith("context: "):
            current = value
        elif line.startswith(_INDENT) and not line.startswith(_INDENT * 2):
            contexts[line.strip()[:-1]] = Context()
        elif contexts and key in {"url", "basic", "identity"}:
            setattr(contexts[next(reversed(contexts))], key, value)
    # Whatever was misread above would be written in another way.
    return (contexts, current) if OmniConfig("", contexts, current).to_yaml() == text else None


def _parse(data: bytes, path: str) -> tuple[dict[str, Context], str]:
    simple = _own_form(data)
    if simple is not None:
        return simple
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Any = ""
    fault = ""
    try:
        document = _plain(yaml.compose(data.decode("utf-8-sig"), Loader=loader))
    except yaml.MarkedYAMLError as error:
        mark = error.context_mark or error.problem_mark
        # The reader counts the end of a file without a line end as a line of its own.
        place = f" at line {min(mark.line + 1, max(1, len(data.splitlines())))}" if mark is not None else ""
        fault = f"{error.context or 'while reading'}{place}: {error.problem}"
    except UnicodeDecodeError as error:
        fault = f"the file is no UTF-8 text: byte {error.start}"
    except (yaml.YAMLError, RecursionError) as error:
        fault = str(error).splitlines()[0]
    if fault:
        raise ConfigError(f"yaml: {fault}", hint=f"the omniconfig file is {path}", details={"path": path})
    if document == "":
        return {}, ""
    top = _mapping(document, path, "the file")
    contexts: dict[str, Context] = {}
    for name, value in _mapping(top.get("contexts", ""), path, "contexts").items():
        where = f"context {name}"
        body = _mapping(value, path, where)
        auth = _mapping(body.get("auth", ""), path, f"auth of {where}")
        siderov1 = _mapping(auth.get("siderov1", ""), path, f"siderov1 of {where}")
        contexts[name] = Context(
            url=_text(body.get("url", ""), path, f"url of {where}"),
            identity=_text(siderov1.get("identity", ""), path, f"identity of {where}"),
            basic=_text(auth.get("basic", ""), path, f"basic of {where}"),
        )
    return contexts, _text(top.get("context", ""), path, "context")


def _plain(node: Any) -> Any:
    """Turn a YAML node into mappings, lists and the texts that stand in the file; nothing becomes `""`."""
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return ""
    if node.id == "mapping":
        return {str(_plain(key)): _plain(value) for key, value in node.value}
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    return node.value


def _mapping(value: Any, path: str, what: str) -> dict[str, Any]:
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {what} must be a mapping", details={"path": path})
    return cast("dict[str, Any]", value)


def _text(value: Any, path: str, what: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {what} must be a text", details={"path": path})
    return value


def _scalar(text: str) -> str:
    if not text or _NOT_A_STRING.fullmatch(text):
        return f'"{text}"'
    if _CONTROL.search(text):
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped) + '"'
    plain = _PLAIN.fullmatch(text) and ": " not in text and " #" not in text and text[-1] not in ": "
    return text if plain else "'" + text.replace("'", "''") + "'"
