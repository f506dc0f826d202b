import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniherd.errors import ConfigError, ContextNotFound
from omniherd.omniconfig import Context, OmniConfig, locate, talos_dir

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
FILLED = """\
contexts:
    bare:
        url: grpc://127.0.0.1:8080
    lab:
        url: https://omni.example.com
        auth:
            siderov1:
                identity: me@example.com
context: lab
"""


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_layout_is_kept_byte_for_byte(tmp_path):
    path = write(tmp_path / "oc.yaml", FILLED)
    config = OmniConfig.load(path)
    assert config.contexts == {"lab": Context("https://omni.example.com", "me@example.com"), "bare": Context()}
    config.save()
    assert path.read_text() == FILLED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_all_values_are_texts_and_unknown_keys_are_dropped(tmp_path):
    path = write(
        tmp_path / "oc.yaml",
        "extra: [1, 2]\ncontext: 10\ncontexts:\n  10: {url: 1.50, more: x, auth: {siderov1: {identity: on}}}\n"
        '  "yes": {url: ~}\n  old: {url: u, auth: {basic: eA==}}\n  nothing:\n',
    )
    config = OmniConfig.load(path)
    assert config.current == "10"
    assert config.context() == Context("1.50", "on")
    assert config.context("yes").url == config.context("nothing").url == ""
    assert config.to_yaml() == (
        'contexts:\n    "10":\n        url: "1.50"\n'
        '        auth:\n            siderov1:\n                identity: "on"\n'
        '    nothing:\n        url: ""\n'
        "    old:\n        url: u\n        auth:\n            basic: eA==\n"
        '    "yes":\n        url: ""\ncontext: "10"\n'
    )
    assert "eA==" not in repr(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{{", "yaml: while parsing a flow node at line 1: did not find expected node content"),
        ("a: b: c", "yaml: while reading at line 1: mapping values are not allowed in this context"),
        ("a: \x07", "yaml: "),
        ("- a", "the file must be a mapping"),
        ("text", "the file must be a mapping"),
        ("contexts: [a]", "contexts must be a mapping"),
        ("contexts: {a: b}", "context a must be a mapping"),
        ("contexts: {a: {url: [x]}}", "url of context a must be a text"),
        ("contexts: {a: {auth: x}}", "auth of context a must be a mapping"),
        ("context: {}", "context must be a text"),
    ],
)
def test_what_is_no_omniconfig(tmp_path, text, message):
    path = write(tmp_path / "oc.yaml", text)
    with pytest.raises(ConfigError) as caught:
        OmniConfig.load(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    # Where nothing else is said of it, the hint says which file it is.
    assert str(path) in f"{caught.value} {caught.value.hint}"


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "oc.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^yaml: the file is no UTF-8 text: byte 0$") as caught:
        OmniConfig.load(tmp_path / "oc.yaml")
    assert caught.value.hint == f"the omniconfig file is {tmp_path / 'oc.yaml'}"


def test_an_empty_file_has_no_context(tmp_path):
    config = OmniConfig.load(write(tmp_path / "oc.yaml", ""))
    assert (config.contexts, config.current) == ({}, "")
    with pytest.raises(ContextNotFound, match=r"^context not found: $"):
        config.context()
    config.add("q")
    config.save()
    assert (tmp_path / "oc.yaml").read_text() == 'contexts:\n    q:\n        url: grpc://127.0.0.1:8080\ncontext: ""\n'


def test_a_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^open oc\.yaml: no such file or directory$") as caught:
        OmniConfig.load("oc.yaml")
    assert caught.value.hint
    made = OmniConfig.load("deep/er/oc.yaml", create=True)
    assert made.context() == Context()
    assert Path("deep/er/oc.yaml").read_text() == (
        "contexts:\n    default:\n        url: grpc://127.0.0.1:8080\ncontext: default\n"
    )
    assert stat.S_IMODE(Path("deep").stat().st_mode) == 0o700
    with pytest.raises(ConfigError, match=r"^open deep: is a directory$"):
        OmniConfig.load("deep")
    with pytest.raises(ConfigError, match=r"^open deep/er/oc\.yaml/x: "):
        OmniConfig.default("deep/er/oc.yaml/x").save()


def test_changes():
    config = OmniConfig.default("x")
    config.add("lab", "https://lab", "me@lab")
    with pytest.raises(ConfigError, match=r"^context lab already exists$"):
        config.add("lab")
    config.set_url("https://new")
    config.set_identity("you@lab", "lab")
    assert config.context("default") == Context("https://new")
    assert config.context("lab") == Context("https://lab", "you@lab")
    config.use("missing")
    for call in (config.context, lambda: config.set_url("u", "nope"), lambda: config.remove("nope")):
        with pytest.raises(ContextNotFound, match=r"^context not found: (missing|nope)$") as caught:
            call()
        assert caught.value.details["contexts"] == ["default", "lab"]
    config.use("lab")
    config.remove("lab")
    config.remove("default")
    assert (config.current, config.to_yaml()) == ("", 'contexts: {}\ncontext: ""\n')
    config.reset_default("https://d", "me@d")
    assert (config.current, config.context()) == ("default", Context("https://d", "me@d"))
    config.use("other")
    config.reset_default()
    assert (config.current, config.contexts) == ("other", {"default": Context()})


@pytest.mark.parametrize(("theirs", "expected"), [("lab", "lab-2"), ("", "lab"), ("gone", "")])
def test_merge(theirs, expected):
    mine = OmniConfig("a", {"lab": Context("1"), "lab-1": Context("2")}, "lab")
    other = OmniConfig("b", {"new": Context("3", "me", "eA=="), "lab": Context("4")}, theirs)
    assert mine.merge(other) == [("lab", "lab-2")]
    assert {name: context.url for name, context in mine.contexts.items()} == {
        "lab": "1",
        "lab-1": "2",
        "lab-2": "4",
        "new": "3",
    }
    assert mine.contexts["new"] == other.contexts["new"]
    assert mine.contexts["new"] is not other.contexts["new"]
    assert mine.current == expected
    assert mine.merge(other) == [("lab", "lab-3"), ("new", "new-1")]


def test_the_placeholder_must_be_filled_in():
    with pytest.raises(ConfigError) as caught:
        Context("<placeholder_url>").require_url("p")
    assert str(caught.value) == 'context "p" has not been configured, you will need to set it manually'
    assert Context("https://x").require_url("p") == "https://x"


@given(st.dictionaries(st.text(), st.tuples(st.text(), st.text(), st.text()), max_size=3), st.text())
def test_every_text_survives(tmp_path_factory, contexts, current):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    config = OmniConfig(str(path), {name: Context(*values) for name, values in contexts.items()}, current)
    try:
        config.to_yaml().encode()
    except UnicodeEncodeError:
        return
    config.save()
    again = OmniConfig.load(path)
    assert (again.contexts, again.current) == (config.contexts, config.current)
    assert again.to_yaml() == config.to_yaml()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<placeholder_url>", "<placeholder_url>"),
        ("me+x@example.com", "me+x@example.com"),
        ("2026-01-01", '"2026-01-01"'),
        ("12:30", '"12:30"'),
        ("0x1F", '"0x1F"'),
        ("a: b", "'a: b'"),
        ("it's #1", "it's #1".replace("'", "''").join("''")),
        ("@x", "'@x'"),
        ('a\nb\\"', '"a\\u000ab\\\\\\""'),
    ],
)
def test_quoting(text, written):
    assert f"url: {written}\n" in OmniConfig("x", {"a": Context(text)}).to_yaml()


def test_the_place(tmp_path):
    home = {"HOME": str(tmp_path)}
    default = str(tmp_path / ".talos/omni/config")
    assert locate("flag.yaml", {**home, "OMNICONFIG": "env.yaml"}) == ("flag.yaml", ())
    assert locate(None, {**home, "OMNICONFIG": "env.yaml"}) == ("env.yaml", ())
    assert locate("", {**home, "OMNICONFIG": ""}) == (default, ())
    assert locate(None, {**home, "TALOS_HOME": "th"}) == (default, ())
    assert locate(None, {**home, "TALOS_HOME": "/th"}) == ("/th/omni/config", ())
    assert talos_dir({}) == Path.home() / ".talos"
    assert not (tmp_path / ".talos").exists()


def test_a_file_in_the_old_place_is_copied_once(tmp_path):
    old, new = tmp_path / ".config/omni/config", tmp_path / ".talos/omni/config"
    write(old, "context: old\n")
    environ = {"HOME": str(tmp_path)}
    assert locate(environ=environ) == (
        str(new),
        (f"INFO: Omni config was copied from deprecated default location: '{old}' to new default location: '{new}'",),
    )
    assert new.read_text() == "context: old\n"
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    write(old, "context: older\n")
    assert locate(environ=environ) == (str(new), ())
    assert new.read_text() == "context: old\n"
    write(tmp_path / "xdg/omni/config", "context: x\n")
    new.unlink()
    assert "xdg" in locate(environ={**environ, "XDG_CONFIG_HOME": str(tmp_path / "xdg")}).notices[0]
    assert new.read_text() == "context: x\n"


def test_the_old_place_is_read_when_nothing_can_be_copied(tmp_path):
    old = write(tmp_path / ".config/omni/config", FILLED)
    write(tmp_path / ".talos", "a file where a directory should be")
    found = locate(environ={"HOME": str(tmp_path)})
    assert found.path == str(old)
    assert found.notices[0].startswith("WARN: ")
    assert OmniConfig.load(found.path).current == "lab"


def recorded(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())["steps"]


@pytest.mark.parametrize("name", ["g10-config-basics", "g12-config-paths"])
def test_recorded_runs_leave_the_same_files(tmp_path, monkeypatch, name):
    steps = recorded(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    done = 0
    for step in steps:
        for path, text in step.get("write", {}).items():
            write(Path(path), text)
        for path in step.get("remove", []):
            Path(path).unlink()
        done += replay(step, tmp_path)
        for path, text in step["expect"].get("files", {}).items():
            assert (Path(path).read_text() if Path(path).exists() else None) == text, step["args"]
    assert done > len(steps) / 2


def replay(step, cwd):
    """Do what the command does by this module's means; count the steps that it understands."""
    args = list(step["args"])
    options = {}
    for flag in ("--omniconfig", "--url", "--identity", "--context"):
        if flag in args:
            at = args.index(flag)
            options[flag] = args[at + 1]
            del args[at : at + 2]
    if args[0] != "config" or step.get("compare") == "racy" or "arg(s)" in step["expect"]["stderr"]:
        return 0
    environ = {"HOME": str(cwd / "home")} | {
        name: value.replace("<CWD>", str(cwd)) for name, value in step.get("env", {}).items() if value
    }
    verb, *rest = args[1:]
    path = rest[0] if verb == "new" and rest else None if verb == "new" else options.get("--omniconfig")
    found = locate(path, environ)
    stderr = "".join(f"{notice}\n" for notice in found.notices)
    url, identity = options.get("--url", "grpc://127.0.0.1:8080"), options.get("--identity", "")
    try:
        config = OmniConfig.load(found.path, create=verb in {"add", "new"})
        {
            "contexts": lambda: None,
            "get-contexts": lambda: None,
            "info": lambda: config.context(options.get("--context")),
            "add": lambda: config.add(rest[0], url, identity),
            "new": lambda: config.reset_default(url, identity),
            "url": lambda: config.set_url(rest[0], options.get("--context")),
            "identity": lambda: config.set_identity(rest[0], options.get("--context")),
            "context": lambda: config.use(rest[0]),
            "use-context": lambda: config.use(rest[0]),
        }[verb]()
        if verb not in {"contexts", "get-contexts", "info"}:
            config.save()
    except ConfigError as error:
        stderr += f"Error: {error}\n"
    assert stderr.replace(os.fspath(cwd), "<CWD>") == step["expect"]["stderr"], step["args"]
    return 1
