from __future__ import annotations

import io
import shutil
import subprocess
from contextlib import redirect_stdout

import pytest

from omniherd.cli import completion
from omniherd.cli.completion import candidates, joined, locate


def words(*typed: str, ids: tuple[str, ...] = (), contexts: tuple[str, ...] = ()) -> list[str]:
    return [one.word for one in candidates(locate(typed), lambda: list(contexts), lambda _: list(ids))]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (("ge",), ["get"]),
        (("config", "ur"), ["url"]),
        (("config", "nonsense", ""), [one.name for one in completion.ROOT.children["config"].children.values()]),
        (("get", "c", "-o", "j"), ["json", "jsonpath="]),
        (("get", "c", "--output=y"), ["yaml"]),
        (("get", "c", "--output", "=", "y"), ["yaml"]),
        (("--context", "x", "get", "machinesetno"), ["machinesetnodes"]),
        (("g", "machinesetno"), ["machinesetnodes"]),
        (("get", "c", "--wat"), ["--watch"]),
        (("get", "c", "--watch", "--sel"), ["--selector"]),
        (("apply", ""), []),
        (("get", "msn", "a", ""), []),
    ],
)
def test_candidates(typed: tuple[str, ...], found: list[str]) -> None:
    assert words(*typed) == found


def test_types_and_then_their_aliases() -> None:
    assert "clusters" in words("get", "clus")
    assert "clusters" in words("get", "")
    assert words("get", "msn") == ["msn", "msns"]


def test_ids() -> None:
    assert words("get", "cluster", "p", ids=("prod", "lab")) == ["prod"]
    assert words("delete", "cluster", "prod", "", ids=("prod", "lab")) == ["lab"]
    assert words("get", "-n", "default", "cluster", "", ids=("prod",)) == ["prod"]


def test_contexts() -> None:
    assert words("--context", "l", contexts=("lab", "prod")) == ["lab"]
    assert words("config", "use-context", "", contexts=("lab", "prod")) == ["lab", "prod"]


def test_bash_takes_words_apart() -> None:
    assert joined(["get", "--output", "=", "js"]) == ["get", "--output=js"]
    assert joined(["get", "-l", "a", "=", "b"]) == ["get", "-l", "a", "=", "b"]


def test_flags_before_it_lead_the_question() -> None:
    where = locate(("--context=lab", "get", "-n", "meta", "--insecure-skip-tls-verify", "cluster", ""))
    assert where.given == {"--context": "lab", "--namespace": "meta"}
    assert where.words == ("cluster",)


def test_failures_are_silent(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNI_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OMNI_SERVICE_ACCOUNT_KEY", "nonsense")
    completion.complete(["get", "cluster", ""])
    completion.complete(["get", "nonsense", ""])
    completion.complete([])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_accepted_by_their_shells(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    for flags in ([], ["--no-descriptions"]):
        script = getattr(completion, shell)
        with redirect_stdout(io.StringIO()) as text, script.make_context(shell, list(flags)) as context:
            script.invoke(context)
        done = subprocess.run([program, "-n"], input=text.getvalue(), text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
