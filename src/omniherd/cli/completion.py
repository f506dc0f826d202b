"""`omniherd completion`: shell scripts, and the candidates that they ask for. Silent and quick when offline."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniherd.cli.candidates import candidates, locate
from omniherd.cli.connection import Settings
from omniherd.cli.flags import command, flag

if TYPE_CHECKING:
    from omniherd import Omni

__all__ = ["bash", "complete", "fish", "zsh"]

# Seconds after which a server that does not answer is not worth waiting for with a finger on the Tab key.
_PATIENCE = 1.5

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


class _Asked:
    """What the files of this machine and the server know.

    Args:
        given: Values of the flags before the word, by their long names.
    """

    def __init__(self, given: dict[str, str]) -> None:
        self._given = given

    def contexts(self) -> list[str]:
        """Return the contexts of the omniconfig file."""
        from omniherd.omniconfig import OmniConfig
        from omniherd.omniconfig import locate as locate_config

        return sorted(OmniConfig.load(locate_config(self._given.get("--omniconfig") or None).path).contexts)

    def ids(self, kind: str, namespace: str | None = None) -> list[str]:
        """Return the ids of a type."""
        with self._connect() as omni:
            return [found.id for found in omni.list(kind, namespace=namespace, timeout=_PATIENCE)]

    def machines(self) -> list[tuple[str, str, str]]:
        """Return id, name and cluster of each machine."""
        with self._connect() as omni:
            return [(node.id, node.name, node.cluster) for node in omni.machines.known()]

    def _connect(self) -> Omni:
        from omniherd import Omni, RetryPolicy

        given = self._given
        return Omni.connect(
            context=given.get("--context") or None,
            omniconfig=given.get("--omniconfig") or None,
            keys_dir=given.get("--siderov1-keys-dir") or None,
            ca=given.get("--ca") or None,
            server_name=given.get("--server-name") or None,
            insecure_skip_tls_verify="--insecure-skip-tls-verify" in given,
            timeout=_PATIENCE,
            retry=RetryPolicy(attempts=1),
        )


def complete(words: list[str]) -> None:
    """Print the candidates for the last of some words, one a line, with their meanings behind a tab."""
    lines: list[str] = []

    def look() -> None:
        # Whatever goes wrong: a Tab key that prints errors into the line being typed helps nobody.
        with contextlib.suppress(Exception):
            lines.extend(_lines(words))

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        # Names are looked up and keys read before a call has a deadline: the whole of it gets one here.
        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        looking.join(_PATIENCE)
    if not looking.is_alive():
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def _lines(words: list[str]) -> list[str]:
    where = locate(words)
    # bash asks for the value alone, the others for the word as a whole.
    prefix = f"{where.flag}=" if where.flag and words[-1].startswith("--") else ""
    found = candidates(where, _Asked(where.given))
    return [f"{prefix}{one.word}" + (f"\t{one.meaning}" if one.meaning else "") for one in found]


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
