"""What may stand at a place of a command line. Pure, apart from what a `Source` is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from omniherd.cli.flags import BOOL, Command, global_flags
from omniherd.cli.table import ROOT, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

__all__ = ["Candidate", "Context", "Source", "candidates", "joined", "locate"]

_MOST = 500
_FORMATS = ("table", "yaml", "json")
_ROLES = ("None", "Reader", "Operator", "Admin")

# Commands whose words name things: `module:attribute` -> which. Where several may be named, `+` stands behind it.
_CLUSTERS, _PRESETS = "Clusters.omni.sidero.dev", "InstallationMediaConfigs.omni.sidero.dev"
_MACHINES = "machine"
_WORDS = {
    "accounts:destroy": "serviceaccount",
    "accounts:renew": "serviceaccount",
    "cluster_import:abort": _CLUSTERS,
    "clusters:delete": _CLUSTERS,
    "clusters:lock": _CLUSTERS,
    "clusters:machine_delete": _MACHINES,
    "clusters:machine_lock": _MACHINES,
    "clusters:machine_unlock": _MACHINES,
    "clusters:manifest_sync": _CLUSTERS,
    "clusters:status": _CLUSTERS,
    "clusters:unlock": _CLUSTERS,
    "clusters:upgrade_pre_checks": _CLUSTERS,
    "config:remove": "context",
    "config:use": "context",
    "configure:machine": f"{_MACHINES}+",
    "logs:machine_logs": _MACHINES,
    "machines:install": _MACHINES,
    "machines:power_on": _MACHINES,
    "machines:shutdown": _MACHINES,
    "machines:upgrade": _MACHINES,
    "media:delete_preset": _PRESETS,
    "media:download": _PRESETS,
    "providers:delete": "InfraProviders.omni.sidero.dev",
    "providers:renew_key": "InfraProviders.omni.sidero.dev",
    "users:delete": "user+",
    "users:set_role": "user",
}
# Commands whose first word is a type and whose others are ids of it, one or several.
_TYPED = {"get": False, "edit": False, "delete": True, "wait": True, "labels": True}


class Candidate(NamedTuple):
    """A word that may stand here, and what it is."""

    word: str
    meaning: str = ""


class Context(NamedTuple):
    """Where the last word of a command line stands.

    Attributes:
        node: The command or group.
        words: The command's words before it.
        flag: The flag whose value it is, or None.
        last: The word as far as it is typed.
        given: Values of the flags before it, by their long names.
    """

    node: Entry
    words: tuple[str, ...]
    flag: str | None
    last: str
    given: dict[str, str]


class Source(Protocol):
    """Who knows what there is."""

    def contexts(self) -> list[str]:
        """Return the contexts of the omniconfig file."""
        ...

    def ids(self, kind: str, namespace: str | None = None) -> list[str]:
        """Return the ids of a type."""
        ...

    def machines(self) -> list[tuple[str, str, str]]:
        """Return id, name and cluster of each machine."""
        ...


def joined(words: Iterable[str]) -> list[str]:
    """Put `--flag`, `=`, `value` together again, which bash takes apart."""
    result: list[str] = []
    for word in words:
        if result and (word == "=" or result[-1].endswith("=")) and result[-1].startswith("--"):
            result[-1] += word
        else:
            result.append(word)
    return result


def locate(words: Iterable[str]) -> Context:
    """Find out where the last word stands."""
    *before, last = joined(words) or [""]
    node = ROOT
    plain: list[str] = []
    given: dict[str, str] = {}
    options: dict[str, click.Option] = {name: option for option in global_flags() for name in option.opts}
    waiting: str | None = None
    for word in before:
        if waiting is not None:
            given[waiting] = word
            waiting = None
        elif word.startswith("-") and word != "-":
            name, equals, value = word.partition("=")
            option = options.get(name)
            long = max(option.opts, key=len) if option else name
            if equals:
                given[long] = value
            elif option is not None and option.type is not BOOL:
                waiting = long
        elif node.children:
            child = node.find(word)
            if child is None:
                break
            node = child
            if node.module:
                options |= {name: option for option in _options(node) for name in option.opts}
        else:
            plain.append(word)
    if waiting is None and last.startswith("--") and "=" in last:
        waiting, _, last = last.partition("=")
    return Context(node, tuple(plain), waiting, last, given)


def _command(node: Entry) -> Command:
    made = node.load()
    assert isinstance(made, Command)  # noqa: S101 - what the table names are commands
    return made


def _options(node: Entry) -> list[click.Option]:
    import click

    return [param for param in _command(node).params if isinstance(param, click.Option)]


def candidates(where: Context, source: Source) -> list[Candidate]:
    """Return the words that may stand at a place.

    Args:
        where: The place.
        source: Who knows what there is; it is asked only for what the place needs.
    """
    node = where.node
    found: list[Candidate]
    if where.flag is not None:
        found = _values(where, source)
    elif where.last.startswith("-"):
        options = global_flags() if node.children else _options(node)
        found = [Candidate(max(option.opts, key=len), option.help or "") for option in options]
    elif node.children:
        found = [Candidate(child.name, child.summary) for child in node.children.values()]
    elif node.module in _TYPED:
        found = _typed(where, source)
    else:
        kind, several, _ = _WORDS.get(f"{node.module}:{node.attribute}", "").partition("+")
        found = _named(where, kind, source) if kind and (several or not where.words) else []
    return [one for one in found if one.word.startswith(where.last)][:_MOST]


def _values(where: Context, source: Source) -> list[Candidate]:
    name, module = where.flag, where.node.module
    if name == "--context":
        return [Candidate(context) for context in source.contexts()]
    if name in {"--cluster", "--cluster-id"} or (name == "--name" and module == "cluster_secrets"):
        return _named(where, _CLUSTERS, source)
    if name == "--output" and module != "media":
        more = ("wide", "jsonl", "jsonpath=") if module == "get" else ()
        return [Candidate(word) for word in (*_FORMATS, *more)]
    if name == "--role":
        return [Candidate(word) for word in _ROLES]
    if name == "--for" and where.words:
        from omniherd import conditions
        from omniherd.resource import resource_class

        kind = resource_class(where.words[0]).type_name
        return [Candidate(word) for word in (*conditions.names(kind), "jsonpath={.spec.")]
    return []


def _typed(where: Context, source: Source) -> list[Candidate]:
    """Return types, then ids of the type."""
    if not where.words:
        return _types(where.last)
    kind, *before = where.words
    if before and not _TYPED[where.node.module]:
        return []
    from omniherd.cli.names import MACHINE_TYPES
    from omniherd.errors import OmniError
    from omniherd.resource import resource_class

    try:
        is_machine = resource_class(kind).type_name in MACHINE_TYPES
    except OmniError:
        # A type that only the server knows.
        is_machine = False
    return _named(where, _MACHINES if is_machine else kind, source, tuple(before))


def _named(where: Context, kind: str, source: Source, before: tuple[str, ...] | None = None) -> list[Candidate]:
    """Return the names of things; those that stand there already are left out."""
    found: list[Candidate]
    if kind == "context":
        found = [Candidate(name) for name in source.contexts()]
    elif kind == _MACHINES:
        known = source.machines()
        found = [Candidate(name, f"{ident} {cluster}".strip()) for ident, name, cluster in known if name]
        if not any(one.word.startswith(where.last) for one in found):
            found = [Candidate(ident, f"{name} {cluster}".strip()) for ident, name, cluster in known]
    elif kind in {"serviceaccount", "user"}:
        found = []
        for ident in source.ids("Identities.omni.sidero.dev"):
            name, machine, domain = ident.partition("@")
            account = machine and domain.startswith("serviceaccount.")
            if account == (kind == "serviceaccount"):
                found.append(Candidate(name if account else ident))
    else:
        found = [Candidate(ident) for ident in source.ids(kind, where.given.get("--namespace") or None)]
    there = where.words if before is None else before
    return [one for one in found if one.word not in there]


def _types(last: str) -> list[Candidate]:
    from omniherd._core.resource_table import TABLE

    known = [info for info in TABLE if info.registered]
    found = [Candidate(info.type.partition(".")[0].lower(), info.type) for info in known]
    if any(one.word.startswith(last.lower()) for one in found):
        return found
    return [Candidate(alias, info.type) for info in known for alias in info.aliases]
