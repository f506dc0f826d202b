"""Plays recorded command lines: what each wrote, its exit code and its files, with placeholders for the rest."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = (sys.executable, "-c", "from omniherd.cli.main import entry; entry()")
# Where the recorded server was, in files that the records write.
RECORDED = "https://localhost:8099"
# A watch is given this long to show what exists, and each step beside it this long to be seen.
SETTLE, BETWEEN = 1.5, 0.7
GUIDANCE = (
    # Lines that omnictl does not have: what to do, or what it does not say (docs/differences.md).
    re.compile(r"^not found: .*\n", re.MULTILINE),
    re.compile(r"^\[WARN\] there is no context .*\n", re.MULTILINE),
)
PLACEHOLDERS = (
    (re.compile(r"(?!0001-)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<TIME>"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \+0000 UTC"), "<GOTIME>"),
    (re.compile(r"(?<=OMNI_SERVICE_ACCOUNT_KEY=)[A-Za-z0-9+/=]{99,}"), "<SECRET>"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "<SHA256>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<FINGERPRINT>"),
)
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")


@dataclass
class Result:
    rc: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Target:
    """The server that a scenario is played on, with what its outputs name."""

    endpoint: str
    key: str
    identity: str
    account: str
    factory: str


def target(endpoint: str, key: str, **options: Any) -> Target:
    """Ask a server what it is called."""
    from omniherd import Omni

    with Omni.connect(endpoint, service_account_key=key, **options) as omni:
        features = omni.get("featuresconfigs", "features-config").spec
        identity = omni.get("currentusers", "current").spec.identity
    factory = features.image_factory_base_url.partition("://")[2]
    return Target(endpoint.rstrip("/"), key, identity, features.account.name, factory)


@dataclass
class Player:
    """Runs the steps of one scenario in a directory of its own."""

    directory: Path
    target: Target
    inputs: str = ""
    names: dict[str, str] = field(default_factory=dict)

    def environment(self, step: dict[str, Any]) -> dict[str, str]:
        env = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        env |= {"HOME": str(self.directory / "home"), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        env |= {"OMNI_ENDPOINT": self.target.endpoint, "OMNI_SERVICE_ACCOUNT_KEY": self.target.key}
        for name, value in step.get("env", {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = self.fill(value)
        return env

    def fill(self, text: str) -> str:
        text = text.replace("<CWD>", str(self.directory)).replace(RECORDED, self.target.endpoint)
        for name, value in self.names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def start(self, step: dict[str, Any]) -> subprocess.Popen[str]:
        time.sleep(step.get("pause", 0))
        for name, text in step.get("write", {}).items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.fill(text))
        for name in step.get("remove", ()):
            (self.directory / name).unlink(missing_ok=True)
        flags = [] if step.get("no_insecure_flag") else ["--insecure-skip-tls-verify"]
        arguments = [*PROGRAM, *flags, *map(self.fill, step["args"])]
        process = subprocess.Popen(
            arguments,
            cwd=self.directory,
            env=self.environment(step),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        if not step.get("during"):
            # A command that fails early does not read its input.
            try:
                process.stdin.write(self.fill(step.get("stdin", "")))
                process.stdin.close()
            except BrokenPipeError:
                pass
            process.stdin = None
        return process

    def run(self, step: dict[str, Any]) -> Result:
        process = self.start(step)
        told = ""
        if "signal" in step and step["expect"]["rc"]:
            # It is interrupted while it waits for a person, or has ended by itself.
            assert process.stderr is not None
            while line := process.stderr.readline():
                told += line
                if line.startswith("Please visit this page"):
                    break
            process.send_signal(signal.SIGINT)
        elif "during" in step or "signal" in step:
            time.sleep(SETTLE)
            for beside in step.get("during", ()):
                self.run(beside)
                time.sleep(BETWEEN)
            process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        for name, pattern in step.get("capture", {}).items():
            found = re.search(pattern, stdout)
            assert found, f"{pattern} is not in {stdout!r}"
            self.names[name] = found[1]
        return Result(process.returncode, stdout, told + stderr)

    def normal(self, text: str, step: dict[str, Any]) -> str:
        """Put placeholders where a run's own values stand."""
        text = text.replace(str(self.directory), "<CWD>").replace(self.target.endpoint, "<ENDPOINT>")
        text = text.replace(self.target.identity, "<IDENTITY>")
        if self.target.factory and "<FACTORY>" in self.inputs:
            text = text.replace(self.target.factory, "<FACTORY>")
        for name, value in self.names.items():
            text = text.replace(value, f"{{{name}}}")
        if "<ACCOUNT>" in self.inputs:
            text = re.sub(rf"\b{re.escape(self.target.account)}\b", "<ACCOUNT>", text)
        for pattern, mark in PLACEHOLDERS:
            text = pattern.sub(mark, text)
        text = UUID.sub(lambda found: found[0] if found[0] in self.inputs else "<UUID>", text)
        return renamed(text, step)


def renamed(text: str, step: dict[str, Any]) -> str:
    """Apply what a step says about its own noise, to either side."""
    for pattern, replacement in step.get("normalize", ()):
        text = re.sub(pattern, re.sub(r"\$(\d)", r"\\\1", replacement), text, flags=re.MULTILINE)
    return text


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line.rstrip()) for line in text.splitlines()]


def comparable(text: str, step: dict[str, Any]) -> Any:
    """Return the form of an output in which it is compared."""
    how = step.get("compare", "exact")
    if "keep_stdout_lines" in step:
        text = "".join(line for line in text.splitlines(keepends=True) if re.search(step["keep_stdout_lines"], line))
    if how == "columns":
        return rows(text)
    if how == "columns-any-order":
        return sorted(rows(text))
    if how == "jsonl":
        return [re.sub(r'"event_ts":\d+', '"event_ts":<MS>', line) for line in text.splitlines()]
    if how == "racy":
        # Which of two keys comes first, and so which has been used, is not fixed.
        return [["<TIME>" if cell == "Never" else cell for cell in row] for row in rows(text)]
    if how == "lines-any-order":
        return sorted(text.splitlines())
    return text


def same_stderr(expected: str, actual: str, step: dict[str, Any]) -> bool:
    """Compare standard error: the words of errors are omnictl's, guidance behind and below them is ours."""
    expected = expected.replace("omnictl", "omniherd")
    # Guidance of omnictl's: which command was meant, where help is.
    expected = re.sub(r"\n\n?(?:Did you mean this\?\n(?:\t.*\n)+\n)?Run '.*' for usage\.\n", "\n", expected)
    for pattern in GUIDANCE:
        actual = pattern.sub("", actual)
    if step.get("compare") == "destroyed-lines-optional":
        expected, actual = (
            "".join(line for line in text.splitlines(keepends=True) if not line.startswith("destroyed "))
            for text in (expected, actual)
        )
    if expected.strip() == actual.strip():
        return True
    head, last = expected.rstrip("\n"), actual.rstrip("\n")
    return bool(head) and re.fullmatch(re.escape(head) + r"(?:, did you mean [^?]*\?)? \(.*\)", last) is not None
