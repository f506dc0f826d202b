"""docs/cli-parity.md and what it is made of: the record of omnictl's commands and our own."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import click
import pytest
from command_shell import Shell

from omniherd.cli.flags import option
from omniherd.cli.table import ROOT as COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "cli" / "commands.json"


@pytest.fixture
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("generate_parity", ROOT / "tools" / "generate_parity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_as_the_commands_are(tool: Any) -> None:
    assert (ROOT / tool.PAGE).read_bytes() == tool.render()[tool.PAGE]


def test_the_record_is_whole() -> None:
    if not SHARED.exists():
        pytest.skip("the facts on omnictl's commands are not beside this repository")
    kept = {one["command"]: one for one in json.loads((ROOT / "tests" / "data" / "commands.json").read_text())}
    facts = {one["command"]: one for one in json.loads(SHARED.read_text())["commands"]}
    assert kept.keys() == facts.keys()
    for name, fact in facts.items():
        ours, theirs = ([flag["long"] for flag in one.get("flags", ())] for one in (kept[name], fact))
        assert ours == theirs, name
        assert kept[name].get("aliases") == fact.get("aliases")


def test_what_is_missing_says_so(tool: Any, tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    for name in tool.MISSING:
        code, out, err = shell(*name.split())
        assert (code, out) == (1, "")
        assert "is not built" in err or "unknown command" in err


def test_a_flag_that_goes_is_missed(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    node = tool.find("jointoken renew")
    made = node.load()
    monkeypatch.setattr(made, "params", [param for param in made.params if param.name != "ttl"])
    page = tool.render()[tool.PAGE].decode()
    assert "| `jointoken renew` |  | yes |  |\n|  | `-t, --ttl` | missing |  |\n" in page


@pytest.mark.parametrize(
    ("flag", "fault"),
    [
        (option("--ttl", metavar="DURATION"), "jointoken create --ttl: short form -t"),
        (option("-t", "--ttl", default="1h"), "jointoken create --ttl: default '0s'"),
    ],
)
def test_a_flag_that_differs_needs_a_remark(tool: Any, monkeypatch: pytest.MonkeyPatch, flag: Any, fault: str) -> None:
    made = tool.find("jointoken create").load()
    others = [param for param in made.params if param.name != "ttl"]
    monkeypatch.setattr(made, "params", [*others, *click.Command("x", params=_declared(flag)).params])
    with pytest.raises(SystemExit) as caught:
        tool.render()
    assert fault in str(caught.value)


def _declared(flag: Any) -> list[click.Parameter]:
    made: click.Command = click.command()(flag(lambda: None))
    return made.params


def test_a_remark_on_nothing_is_refused(tool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tool.BETTER, ("get", "--nothing"), "")
    with pytest.raises(SystemExit, match="a remark on get --nothing is about nothing"):
        tool.render()


def test_the_help_of_every_command_in_one_file(tmp_path: Path) -> None:
    code, out, err = Shell(tmp_path, {})("docs", ".")
    assert (code, out, err) == (0, "", "")
    text = (tmp_path / "cli.md").read_text()
    assert text.count("\n## ") == 1 + sum(1 for _ in _rows(COMMANDS))
    assert "## omniherd cluster secret rotate talos-ca\n" in text


def _rows(node: Any) -> Any:
    for child in node.children.values():
        yield child
        yield from _rows(child)
