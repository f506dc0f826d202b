"""`omniherd completion`: shell scripts, and the candidates that they ask for. Silent and quick when offline."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from omniherd.cli.connection import Settings
from omniherd.cli.flags import BOOL, Command, command, flag, global_flags
from omniherd.cli.table import ROOT, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Candidate", "Context", "bash", "candidates", "complete", "fish", "locate", "zsh"]

# Seconds after which a server that does not answer is not worth waiting for with a finger on the Tab key.
_PATIENCE = 2.0
_MOST = 500

_BASH = r"""# bash completion for omniherd
_omniherd() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <(omniherd __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _omniherd omniherd
"""
_ZSH = r"""#compdef omniherd
_omniherd() {
    local line value
    local -a found
    for line in "${(@f)$(omniherd __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n "$line" ]] || continue
        value="${line%%$'\t'*}"
        value="${value//:/\\:}"
        if [[ "$line" == *$'\t'* ]]DESCRIPTIONS; then
            found+=("$value:${line#*$'\t'}")
        else
            found+=("$value")
        fi
    done
    if (( ${#found} )); then
        _describe omniherd found
    else
        _files
    fi
}
compdef _omniherd omniherd
"""
_FISH = r"""# fish completion for omniherd
function __omniherd_complete
    set -l words (commandline -opc) (commandline -ct)
    omniherd __complete $words[2..-1] 2>/dev/nullFILTER
end
complete -c omniherd -a '(__omniherd_complete)'
"""


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
    return [param for param in _command(node).params if isinstance(param, click.Option)]


def candidates(
    where: Context, contexts: Callable[[], list[str]], ids: Callable[[Context], list[str]]
) -> list[Candidate]:
    """Return the words that may stand at a place.

    Args:
        where: The place.
        contexts: Lists the contexts of the omniconfig file.
        ids: Lists the ids of the type that stands before.
    """
    found: list[Candidate]
    if where.flag is not None:
        found = _values(where.flag, contexts)
    elif where.last.startswith("-"):
        options = global_flags() if where.node.children else _options(where.node)
        found = [Candidate(max(option.opts, key=len), option.help or "") for option in options]
    elif where.node.children:
        found = [Candidate(child.name, child.summary) for child in where.node.children.values()]
    elif where.node.module in {"get", "edit", "delete"}:
        if not where.words:
            found = _types(where.last)
        elif len(where.words) == 1 or where.node.module == "delete":
            found = [Candidate(ident) for ident in ids(where) if ident not in where.words[1:]]
        else:
            found = []
    elif where.node.module == "config" and where.node.attribute in {"use", "remove"} and not where.words:
        found = [Candidate(name) for name in contexts()]
    else:
        found = []
    return [one for one in found if one.word.startswith(where.last)][:_MOST]


def _values(name: str, contexts: Callable[[], list[str]]) -> list[Candidate]:
    if name == "--context":
        return [Candidate(context) for context in contexts()]
    if name in {"--output", "-o"}:
        return [Candidate(word) for word in ("table", "yaml", "json", "jsonpath=")]
    return []


def _types(last: str) -> list[Candidate]:
    from omniherd._core.resource_table import TABLE

    known = [info for info in TABLE if info.registered]
    found = [Candidate(info.type.partition(".")[0].lower(), info.type) for info in known]
    if any(one.word.startswith(last.lower()) for one in found):
        return found
    return [Candidate(alias, info.type) for info in known for alias in info.aliases]


def _contexts(given: dict[str, str]) -> list[str]:
    from omniherd.omniconfig import OmniConfig
    from omniherd.omniconfig import locate as locate_config

    return sorted(OmniConfig.load(locate_config(given.get("--omniconfig") or None).path).contexts)


def _ids(where: Context) -> list[str]:
    from omniherd import Omni, RetryPolicy

    given = where.given
    with Omni.connect(
        context=given.get("--context") or None,
        omniconfig=given.get("--omniconfig") or None,
        keys_dir=given.get("--siderov1-keys-dir") or None,
        ca=given.get("--ca") or None,
        server_name=given.get("--server-name") or None,
        insecure_skip_tls_verify="--insecure-skip-tls-verify" in where.given,
        timeout=_PATIENCE,
        retry=RetryPolicy(attempts=1),
    ) as omni:
        namespace = given.get("--namespace") or None
        return [found.id for found in omni.list(where.words[0], namespace=namespace, timeout=_PATIENCE)]


def complete(words: list[str]) -> None:
    """Print the candidates for the last of some words, one a line, with their meanings behind a tab."""
    lines: list[str] = []
    # Whatever goes wrong: a Tab key that prints errors into the line being typed helps nobody.
    with (
        contextlib.suppress(Exception),
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        where = locate(words)
        # bash asks for the value alone, the others for the word as a whole.
        prefix = f"{where.flag}=" if where.flag and words[-1].startswith("--") else ""
        found = candidates(where, lambda: _contexts(where.given), _ids)
        lines = [f"{prefix}{one.word}" + (f"\t{one.meaning}" if one.meaning else "") for one in found]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _plain(values: dict[str, Any]) -> bool:
    Settings(values)
    return bool(values["no_descriptions"])


@command()
@flag("--no-descriptions", help="leave descriptions out; bash shows none")
def bash(**values: Any) -> None:
    """Print the completion script for bash: `source <(omniherd completion bash)`."""
    _plain(values)
    sys.stdout.write(_BASH)


@command()
@flag("--no-descriptions", help="leave descriptions out")
def zsh(**values: Any) -> None:
    """Print the completion script for zsh; put it into a file `_omniherd` of a directory in $fpath."""
    sys.stdout.write(_ZSH.replace("DESCRIPTIONS", " && false" if _plain(values) else ""))


@command()
@flag("--no-descriptions", help="leave descriptions out")
def fish(**values: Any) -> None:
    """Print the completion script for fish: `omniherd completion fish | source`."""
    sys.stdout.write(_FISH.replace("FILTER", " | string split -f 1 \\t" if _plain(values) else ""))
