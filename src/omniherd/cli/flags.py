"""Command lines in the manner of omnictl: flags anywhere, `-lvalue`, `--watch=false`, its checks in its order.

click parses, converts and prints help; what it does not know of this manner is rewritten before it sees it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BOOL",
    "Choice",
    "Command",
    "Duration",
    "Number",
    "Seconds",
    "command",
    "flag",
    "global_flags",
    "listed",
    "option",
]

_TRUE = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE = frozenset(("0", "f", "F", "false", "FALSE", "False"))


class _Bool(click.ParamType[bool]):
    """A boolean that may be written `--flag`, `--flag=true` and `--flag=false`."""

    name = "true|false"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bool:
        if isinstance(value, bool):
            return value
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        return self.fail(f'strconv.ParseBool: parsing "{value}": invalid syntax', param, ctx)


BOOL = _Bool()


class Duration(click.ParamType[float]):
    """A duration as Go writes it, `1h30m`, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it; a number is one already."""
        if isinstance(value, (int, float)):
            return float(value)
        from omniherd._core.durations import UNITS, parse_duration

        text = str(value)
        found = parse_duration(text)
        if found is not None:
            return found.total_seconds()
        for unit in re.findall(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)", text):
            if not unit:
                return self.fail(f'time: missing unit in duration "{text}"', param, ctx)
            if unit not in UNITS:
                return self.fail(f'time: unknown unit "{unit}" in duration "{text}"', param, ctx)
        return self.fail(f'time: invalid duration "{text}"', param, ctx)


class Number(click.ParamType[float]):
    """A number, within bounds.

    Args:
        low: The least that it may be, None for no least.
        high: The most.
        whole: Whether it has no fraction.
    """

    name = "number"

    def __init__(self, low: int | None = None, high: int | None = None, *, whole: bool = True) -> None:
        self._low, self._high, self._whole = low, high, whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            number = int(value) if self._whole else float(value)
        except ValueError:
            reader = "ParseInt" if self._whole else "ParseFloat"
            return self.fail(f'strconv.{reader}: parsing "{value}": invalid syntax', param, ctx)
        if self._low is not None and not number >= self._low:
            return self.fail(f"must be {self._low} or more", param, ctx)
        if self._high is not None and number > self._high:
            return self.fail(f"must be {self._high} or less", param, ctx)
        return number


class Choice(click.ParamType[str]):
    """One of several words.

    Args:
        words: The words.
    """

    name = "word"

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take one of the words, or nothing."""
        if value and value not in self._words:
            return self.fail(f"must be one of: {', '.join(self._words)}", param, ctx)
        return str(value)


class Seconds(Duration):
    """A number of seconds, or a duration as Go writes it; 0 for no limit."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        text = str(value)
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            return float(text)
        return super().convert(value, param, ctx)


def option(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Declare a flag with a value; see `click.option`."""
    attributes.setdefault("default", "")
    attributes.setdefault("show_default", False)
    return click.option(*names, **attributes)


def flag(*names: str, help: str) -> Callable[[Any], Any]:  # noqa: A002 - click's name for it
    """Declare a flag that is true when it stands there."""
    return click.option(*names, type=BOOL, default=False, help=help, metavar="", show_default=False)


def listed(values: Sequence[str]) -> list[str]:
    """Return the values of a flag that may be repeated and takes several at once, separated by commas."""
    return [part for value in values for part in value.split(",") if part]


def global_flags() -> list[click.Option]:
    """Return the flags that every command takes."""
    hidden: dict[str, Any] = {"expose_value": True, "hidden": True, "show_default": False}
    return [
        click.Option(["--ca"], default=None, **hidden),
        click.Option(["--context"], default=None, **hidden),
        click.Option(["--dry-run", "without_writing"], type=BOOL, default=False, **hidden),
        click.Option(["--insecure-skip-tls-verify"], type=BOOL, default=False, **hidden),
        click.Option(["--no-notices"], type=BOOL, default=False, envvar="OMNIHERD_NO_NOTICES", **hidden),
        click.Option(["--omniconfig"], default=None, **hidden),
        click.Option(["--read-only"], type=BOOL, default=False, envvar="OMNIHERD_READ_ONLY", **hidden),
        click.Option(["--server-name"], default=None, **hidden),
        click.Option(["--siderov1-keys-dir"], default=None, **hidden),
        click.Option(["--timeout"], type=Seconds(), default=30.0, **hidden),
    ]


class Command(click.Command):
    """A command whose words are checked as omnictl checks them: flags, count of words, required flags, groups of flags.

    Attributes:
        minimum: The least number of words, None for no least.
        maximum: The most, None for any number.
        required: Flags that must be given.
        exclusive: Groups of flags of which one at the most may be given.
        counted: Whether a word too many is counted, rather than taken for an unknown command.
        dry_run: Whether it takes the flag `--dry-run` of every command; not where it writes files of this machine.
    """

    def __init__(
        self,
        *arguments: Any,
        minimum: int | None = None,
        maximum: int | None = 0,
        required: Sequence[str] = (),
        exclusive: Sequence[tuple[str, ...]] = (),
        counted: bool = False,
        dry_run: bool = True,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.dry_run = dry_run
        self.counted = counted
        self.minimum = minimum
        self.maximum = maximum
        self.required = required
        self.exclusive = exclusive
        own = {name for param in self.params for name in param.opts}
        # A command's own meaning of a flag goes before the one that it has everywhere else.
        everywhere = [known for known in global_flags() if dry_run or known.name != "without_writing"]
        self.params += [known for known in everywhere if own.isdisjoint(known.opts)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Check and rewrite the words, then let click parse them."""
        if any(word in {"-h", "--help"} for word in args[: args.index("--") if "--" in args else None]):
            return super().parse_args(ctx, ["--help"])
        flags, words = self._scan(ctx, args)
        for name, value in flags:
            self._check(ctx, name, value)
        self._count(ctx, len(words), words)
        given = {name for name, _ in flags}
        missing = [name for name in self.required if name not in given]
        if missing:
            names = ", ".join(f'"{name}"' for name in missing)
            raise click.UsageError(f"required flag(s) {names} not set", ctx)
        for group in self.exclusive:
            both = sorted(name for name in group if name in given)
            if len(both) > 1:
                raise click.UsageError(
                    f"if any flags in the group [{' '.join(group)}] are set none of the others can be; "
                    f"[{' '.join(both)}] were all set",
                    ctx,
                )
        canonical = [f"--{name}={value}" for name, value in flags]
        return super().parse_args(ctx, [*canonical, "--", *words])

    def _options(self) -> dict[str, click.Option]:
        return {name: param for param in self.params if isinstance(param, click.Option) for name in param.opts}

    def _scan(self, ctx: click.Context, args: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
        options = self._options()
        flags: list[tuple[str, str]] = []
        words: list[str] = []
        queue = list(args)
        while queue:
            word = queue.pop(0)
            if word == "--":
                words += queue
                break
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                known = options.get(name)
                if known is None:
                    raise click.UsageError(f"unknown flag: {name}", ctx)
                if not equals:
                    if known.type is BOOL:
                        value = "true"
                    elif queue:
                        value = queue.pop(0)
                    else:
                        raise click.UsageError(f"flag needs an argument: {name}", ctx)
                flags.append((_long(known), value))
            elif word.startswith("-") and len(word) > 1:
                flags += self._short(ctx, options, word, queue)
            else:
                words.append(word)
        return flags, words

    def _short(
        self, ctx: click.Context, options: dict[str, click.Option], word: str, queue: list[str]
    ) -> list[tuple[str, str]]:
        """Take apart a word of short flags: `-dv`, `-lvalue`, `-o=yaml`, `-o yaml`."""
        flags: list[tuple[str, str]] = []
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            known = options.get(f"-{letter}")
            if known is None:
                raise click.UsageError(f"unknown shorthand flag: '{letter}' in {word}", ctx)
            if letters.startswith("="):
                value, letters = letters[1:], ""
            elif known.type is BOOL:
                value = "true"
            elif letters:
                value, letters = letters, ""
            elif queue:
                value = queue.pop(0)
            else:
                raise click.UsageError(f"flag needs an argument: '{letter}' in {word}", ctx)
            flags.append((_long(known), value))
        return flags

    def _check(self, ctx: click.Context, name: str, value: str) -> None:
        known = self._options()[f"--{name}"]
        try:
            known.type.convert(value, known, ctx)
        except click.BadParameter as error:
            short = next((opt for opt in known.opts if not opt.startswith("--")), "")
            shown = f"{short}, --{name}" if short else f"--{name}"
            raise click.UsageError(f'invalid argument "{value}" for "{shown}" flag: {error.message}', ctx) from None

    def _count(self, ctx: click.Context, received: int, words: list[str]) -> None:
        low, high = self.minimum or 0, self.maximum
        if received >= low and (high is None or received <= high):
            return
        if high == 0 and not self.counted:
            text = f'unknown command "{words[0]}" for "{ctx.command_path}"'
        elif high is None:
            text = f"requires at least {low} arg(s), only received {received}"
        elif high and self.minimum is None:
            text = f"accepts at most {high} arg(s), received {received}"
        elif low == high:
            text = f"accepts {low} arg(s), received {received}"
        else:
            text = f"accepts between {low} and {high} arg(s), received {received}"
        raise click.UsageError(text, ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags; those of every command are named in the group's help."""
        super().format_options(ctx, formatter)
        with formatter.section("More"):
            formatter.write_dl([("omniherd --help", "flags of every command, such as --context and --timeout")])


def _long(known: click.Option) -> str:
    return next(name for name in known.opts if name.startswith("--"))[2:]


def command(**attributes: Any) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function; see `Command` for the attributes."""

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(cls=Command, **attributes)(function)
        assert isinstance(made, Command)  # noqa: S101 - tells the type checker what `cls` did
        return made

    return decorate
