"""The console script: find the command, load it alone, run it, and turn every failure into one line."""

from __future__ import annotations

import os
import sys

from omniherd.cli.table import ROOT, Entry

# What type checkers take for true; importing `typing` would cost a fifth of what `--help` may take.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["entry", "run"]

_GLOBAL_HELP = (
    ("--ca FILE", "trust these CA certificates instead of the system's"),
    ("--context NAME", "context of the omniconfig file (not used with a service account's key)"),
    ("--dry-run", "show what would be written, write nothing"),
    ("--insecure-skip-tls-verify", "trust the certificate that the server presents, whoever signed it"),
    ("--no-notices", "do not ask for the server's version and notices [$OMNIHERD_NO_NOTICES]"),
    ("--omniconfig FILE", "omniconfig file [$OMNICONFIG, else ~/.talos/omni/config]"),
    ("--read-only", "refuse everything that would change the server [$OMNIHERD_READ_ONLY]"),
    ("--server-name NAME", "name that the server's certificate bears"),
    ("--siderov1-keys-dir DIR", "people's keys [$SIDEROV1_KEYS_DIR, else ~/.talos/keys]"),
    ("--timeout SECONDS", "limit for each call, 30 by default"),
)
# Global flags that are followed by a value, to find the command behind them.
_VALUED = frozenset(
    ("--ca", "--context", "--omniconfig", "--server-name", "--siderov1-keys-dir", "--timeout"),
)
_HELP = frozenset(("-h", "--help", "help"))


def entry() -> None:
    """Run the command line of this process, and exit with its code."""
    _stand_in()
    code = 0
    try:
        code = run(sys.argv[1:], alone=True)
        sys.stdout.flush()
    except BrokenPipeError:
        # How `| head` says that it has read enough.
        code = 0
    except KeyboardInterrupt:
        # While the command was being looked up; later on the command's own end comes first.
        code = 130
    except OSError as error:
        from omniherd.cli.failures import os_text
        from omniherd.cli.running import say

        # A command that failed by it has said so.
        code = code or say(os_text(error))
    try:
        sys.stderr.flush()
    except OSError:
        code = code or 1
    # Everything is closed and written. Taking gRPC's and Python's modules apart would cost a sixth of the whole run.
    os._exit(code)


def _stand_in() -> None:
    """Put something in the place of streams that the caller has closed, so that no connection gets their numbers."""
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    if sys.stdout is None:
        # To be read only: results that go nowhere are an error, as with every other program.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def run(arguments: Sequence[str], *, alone: bool = False) -> int:
    """Run one command line.

    Args:
        arguments: The words after the program's name.
        alone: Whether the process is there for nothing else; imports are spared then that others would need.

    Returns:
        The exit code: 0 for success, and for a watch that was ended by Ctrl-C; 1 for every failure.
    """
    words = list(arguments)
    if alone and words and words[0] not in _HELP:
        from omniherd.cli.unused_imports import put_off

        put_off()
    if not words or (words[0] in _HELP and len(words) == 1):
        sys.stdout.write(group_help(ROOT, "omniherd"))
        return 0
    if words[0] == "__complete":
        from omniherd.cli.completion import complete

        complete(words[1:])
        return 0
    if words[0] in {"--version", "-v", "-V"}:
        from omniherd._version import __version__

        sys.stdout.write(f"omniherd {__version__}\n")
        return 0
    if words[0] == "help":
        words = [*words[1:], "--help"]
    found, path, rest = _find(words)
    if found.children and not found.module:
        return _group(found, path, rest)
    from omniherd.cli.running import run_command

    return run_command(found, path, rest)


def _find(words: list[str]) -> tuple[Entry, str, list[str]]:
    """Walk down the table along the words; flags may stand before, between and after the names of commands."""
    node, path = ROOT, "omniherd"
    rest: list[str] = []
    valued = _VALUED
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not node.children or word == "--":
            rest.append(word)
            rest += words[position:]
            break
        if word.startswith("-") and word != "-":
            if word in valued and position < len(words):
                # In one word, so that the value is not taken for a command.
                word = f"{word}={words[position]}"
                position += 1
            rest.append(word)
            continue
        child = node.find(word)
        if child is None:
            # A group that is a command as well takes all of them, any other names the first.
            return node, path, [*rest, word, *(words[position:] if node.module else ())]
        node, path = child, f"{path} {child.name}"
        valued = valued.union(child.valued)
    return node, path, rest


def _group(node: Entry, path: str, rest: list[str]) -> int:
    words = [word for word in rest if not word.startswith("-")]
    known = _own_flags(path)
    unknown = next((word for word in rest if word.startswith("-") and not _is_known(word, known)), None)
    if any(word in _HELP for word in rest) or (not words and unknown is None and not _lacks_value(rest, known)):
        sys.stdout.write(group_help(node, path))
        return 0
    if unknown is not None and (not words or rest.index(unknown) < rest.index(words[-1])):
        message = f"unknown flag: {unknown.partition('=')[0]}"
    elif _lacks_value(rest, known):
        message = f"flag needs an argument: {rest[-1]}"
    else:
        message = f'unknown command "{words[-1]}" for "{path}"{_suggestions(node, words[-1])}'
    sys.stderr.write(f"Error: {message} (see '{path} --help')\n")
    return 1


def _own_flags(path: str) -> set[str]:
    """Return the flags that the groups of a path share with their commands."""
    node, flags = ROOT, set[str]()
    for name in path.split()[1:]:
        node = node.children[name]
        flags.update(node.valued)
    return flags


def _is_known(word: str, more: set[str]) -> bool:
    name = word.partition("=")[0]
    return word in _HELP or name in more or name in {line.split()[0] for line, _ in _GLOBAL_HELP}


def _lacks_value(rest: list[str], more: set[str]) -> bool:
    return bool(rest) and (rest[-1] in _VALUED or rest[-1] in more)


def _suggestions(node: Entry, word: str) -> str:
    import difflib

    names = [name for child in node.children.values() for name in (child.name, *child.aliases)]
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    return f", did you mean {' or '.join(close)}?" if close else ""


def group_help(node: Entry, path: str) -> str:
    """Return the help page of a group.

    Args:
        node: The group.
        path: Its name with those of the groups around it.
    """
    width = max(len(name) for name in node.children) + 3
    lines = [node.summary, "", f"Usage: {path} COMMAND [ARGUMENTS]", "", "Commands:"]
    for child in node.children.values():
        also = f" (also: {', '.join(child.aliases)})" if child.aliases else ""
        lines.append(f"  {child.name:{width}}{child.summary}{also}")
    lines += ["", "Flags of every command:"]
    lines += [f"  {flag:28}{meaning}" for flag, meaning in _GLOBAL_HELP]
    lines += ["", f"Use '{path} COMMAND --help' for more about a command."]
    if node is ROOT:
        lines += [
            "",
            "OMNI_ENDPOINT and OMNI_SERVICE_ACCOUNT_KEY name server and identity, else the omniconfig file does.",
            "omniherd is unofficial: it is not made by Sidero Labs.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    entry()
