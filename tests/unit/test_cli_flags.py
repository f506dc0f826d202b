from __future__ import annotations

from typing import Any

import click
import pytest

from omniherd.cli.emulator import split_address
from omniherd.cli.failures import describe, rpc_text
from omniherd.cli.flags import Seconds, command, flag, option
from omniherd.cli.main import run as program
from omniherd.cli.regexps import check_regexp
from omniherd.cli.skew import version_notices
from omniherd.cli.types import Definition, choose
from omniherd.errors import (
    AmbiguousType,
    ConfigError,
    InputError,
    InvalidArgument,
    Unauthenticated,
    Unavailable,
    UnknownType,
    WatchError,
)

SEEN: dict[str, Any] = {}


@command(minimum=1, maximum=2, exclusive=(("all", "selector"),))
@click.argument("words", nargs=-1)
@flag("-w", "--watch", help="")
@flag("--all", help="")
@option("-l", "--selector")
@option("--wait", type=Seconds(), default=0.0)
def probe(**values: Any) -> None:
    SEEN.clear()
    SEEN.update(values)


def run(*words: str) -> dict[str, Any]:
    with probe.make_context("omniherd probe", list(words)) as context:
        probe.invoke(context)
    return SEEN


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("a",), {"words": ("a",), "watch": False, "selector": ""}),
        (("-w", "a", "--selector", "x=y", "b"), {"words": ("a", "b"), "watch": True, "selector": "x=y"}),
        (("a", "-lx"), {"selector": "x"}),
        (("a", "-l=x"), {"selector": "x"}),
        (("a", "-wl", "x"), {"watch": True, "selector": "x"}),
        (("a", "--selector="), {"selector": ""}),
        (("a", "--watch=false"), {"watch": False}),
        (("a", "-w=T"), {"watch": True}),
        (("a", "--", "-w"), {"words": ("a", "-w"), "watch": False}),
        (("-",), {"words": ("-",)}),
        (("a", "--wait", "1m30s"), {"wait": 90.0}),
        (("a", "--wait=2"), {"wait": 2.0}),
        (("a", "-l", "--all"), {"selector": "--all"}),
        (("a", "-l", "x", "-l", "y"), {"selector": "y"}),
        (("a", "--context", "lab", "--read-only"), {"context": "lab", "read_only": True}),
    ],
)
def test_words(words: tuple[str, ...], expected: dict[str, Any]) -> None:
    values = run(*words)
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "accepts between 1 and 2 arg(s), received 0"),
        (("a", "b", "c"), "accepts between 1 and 2 arg(s), received 3"),
        (("a", "--bogus=1"), "unknown flag: --bogus"),
        (("a", "-q"), "unknown shorthand flag: 'q' in -q"),
        (("a", "-wq"), "unknown shorthand flag: 'q' in -wq"),
        (("a", "-l"), "flag needs an argument: 'l' in -l"),
        (("a", "--selector"), "flag needs an argument: --selector"),
        (("--watch=maybe",), 'invalid argument "maybe" for "-w, --watch" flag: '),
        (("a", "--wait", "--5s"), 'invalid argument "--5s" for "--wait" flag: time: invalid duration "--5s"'),
        (
            ("a", "--wait", "9999999h"),
            'invalid argument "9999999h" for "--wait" flag: time: invalid duration "9999999h"',
        ),
        (("a", "--wait", "1m5"), 'invalid argument "1m5" for "--wait" flag: time: missing unit in duration "1m5"'),
        (("a", "--wait", "1y"), 'invalid argument "1y" for "--wait" flag: time: unknown unit "y" in duration "1y"'),
        (
            ("a", "--all", "-l", "x"),
            "if any flags in the group [all selector] are set none of the others can be; [all selector] were all set",
        ),
        # The syntax of flags is judged before the number of arguments, that before groups.
        (("a", "b", "c", "--all", "-l", "x"), "accepts between 1 and 2 arg(s), received 3"),
    ],
)
def test_refusals(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        run(*words)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:80", ("::1", 80)), ("localhost:65535", ("localhost", 65535))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize("text", ["", ":1", "host", "host:", "host:x", "host:65536", "host:-1", "host:٣"])
def test_bad_addresses(text: str) -> None:
    with pytest.raises(InputError, match="--listen wants HOST:PORT"):
        split_address(text)


@pytest.mark.parametrize(
    ("regexp", "message"),
    [
        ("[", "missing closing ]: `[`"),
        ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
        ("(", "missing closing ): `(`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("*", "missing argument to repetition operator: `*`"),
        ("x\\", "trailing backslash at end of expression"),
    ],
)
def test_bad_regexps(regexp: str, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    check_regexp("^fine$")
    with pytest.raises(InputError) as caught:
        check_regexp(regexp)
    assert str(caught.value).startswith(f"invalid ID regexp: error parsing regexp: {message}")
    assert capfd.readouterr().err == ""


def definition(name: str, *aliases: str) -> Definition:
    return Definition(f"{name}s.omni.sidero.dev", name, "default", (f"{name.lower()}s.omni.sidero.dev", *aliases), ())


def test_a_word_means_a_type() -> None:
    known = [definition("Cluster", "cluster", "c"), definition("Cat", "cat", "c")]
    assert choose("CLUSTER", known).display == "Cluster"
    assert choose("cats.omni.sidero.dev", known).display == "Cat"
    with pytest.raises(AmbiguousType, match=r'"C" is ambiguous: \[cats.omni.sidero.dev clusters.omni.sidero.dev\]'):
        choose("C", known)
    with pytest.raises(UnknownType, match='resource "dog" is not registered'):
        choose("dog", known)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidArgument("bad", hint="unused"), "rpc error: code = InvalidArgument desc = bad"),
        (InvalidArgument("bad", code="OUT_OF_RANGE"), "rpc error: code = OutOfRange desc = bad"),
        (
            Unauthenticated("invalid signature", hint="do"),
            "rpc error: code = Unauthenticated desc = invalid signature (do)",
        ),
        (ConfigError("no", hint="give the CA with `ca=`"), "no (give the CA with `--ca`)"),
        (WatchError("slow"), "watch error: slow"),
        (
            Unavailable("cannot connect to https://127.0.0.1: connection refused"),
            'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
            'dial tcp 127.0.0.1:443: connect: connection refused"',
        ),
        (Unavailable("cannot resolve", hint=None), "cannot resolve"),
        (
            Unavailable(
                "x", details={"text": "last error: UNKNOWN: ipv4:127.0.0.1:1: Failed to connect: Connection refused"}
            ),
            'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
            'dial tcp 127.0.0.1:1: connect: connection refused"',
        ),
        (
            Unavailable("x", details={"text": "ipv6:%5B::1%5D:1: Failed to connect: Connection refused"}),
            'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
            'dial tcp [::1]:1: connect: connection refused"',
        ),
    ],
)
def test_failures(error: Any, text: str) -> None:
    assert describe(error) == text
    assert text.startswith(rpc_text(error))


@pytest.mark.parametrize(
    ("backend", "warned"),
    [("v1.9.3", False), ("v1.9.0-alpha.1", False), ("v1.10.0", True), ("v2.9.0", True), ("", False), ("dirty", False)],
)
def test_another_version_is_warned_of(backend: str, warned: bool) -> None:
    assert [backend in line for line in version_notices(backend)] == [True] * warned


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--context x cluster", 0, "Status, deletion and locks of clusters"),
        ("cluster secret -n lab", 0, "Certificate authorities of a cluster"),
        ("cluster secret rotate --name=lab -t 5s", 0, "New certificate authorities"),
        ("cluster secret -n", 1, "Error: flag needs an argument: -n (see 'omniherd cluster secret --help')"),
        ("cluster --context", 1, "Error: flag needs an argument: --context (see 'omniherd cluster --help')"),
        ("cluster -n lab", 1, "Error: unknown flag: -n (see 'omniherd cluster --help')"),
        ("cluster secret -n lab bogus", 1, 'Error: unknown command "bogus" for "omniherd cluster secret"'),
    ],
)
def test_flags_between_the_names_of_commands(
    words: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(words.split()) == code
    out, err = capsys.readouterr()
    assert (out + err).startswith(said)
