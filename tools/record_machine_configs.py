"""Ask the official libraries about machine configurations, and keep their answers.

Usage: `python tools/record_machine_configs.py`, with Go on this machine. The program that answers is
`tests/interop/cmd/machineconfig`; the module in `tests/interop` names the versions of the libraries. Two files are
written: the table of the documents' fields, which `omniherd.machineconfig` reads by, and the answers for its tests.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from omniherd.yamlform import dump, load

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "omniherd"
TABLE = SOURCE / "machineconfig" / "fields.json"
DATA = ROOT / "tests" / "data" / "machineconfig"
CONTRACTS = tuple(f"1.{minor}.2" for minor in range(15))
JOIN = {"url": "https://omni.example.org:8090", "token": "a-join-token", "events": 8091, "logs": 8092}


class Judge:
    """The program that asks the official libraries."""

    def __init__(self, command: list[str]) -> None:
        self._command = command

    def ask(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what the libraries answer to each question: `answer`, or `error` with its text."""
        folder = ROOT / "tests" / "interop"
        given = "".join(json.dumps(question) + "\n" for question in questions)
        done = subprocess.run(self._command, cwd=folder, input=given, capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def answer(self, do: str, **question: Any) -> Any:
        """Return the answer to one question."""
        (found,) = self.ask([{"do": do, **question}])
        if "error" in found:
            raise ValueError(found["error"])
        return found["answer"]


def cases() -> list[dict[str, Any]]:
    """Return the configurations that the libraries are asked about."""
    return load((DATA / "cases.yaml").read_text("utf-8"))


def table_text(judge: Judge) -> str:
    """Return the table of fields as it is kept: one type a line."""
    keys = json.loads((SOURCE / "template" / "talos-config-keys.json").read_text("utf-8"))
    answer = judge.answer("fields", kinds=sorted(keys["kinds"]))
    parts: list[str] = []
    for name in ("kinds", "structs", "texts"):
        rows = (f"{json.dumps(key)}: {json.dumps(answer[name][key])}" for key in sorted(answer[name]))
        parts.append(f'"{name}": {{\n' + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def answers_text(judge: Judge) -> str:
    """Return the answers to all cases as they are kept."""
    found: dict[str, Any] = {"join": judge.answer("join", **JOIN), "cases": {}, "contracts": {}}
    secrets = ""
    for case in cases():
        found["cases"][case["name"]] = answer = _case(judge, case, found["join"], secrets)
        # A worker comes after its control plane, which has the secrets of both.
        secrets = answer["secrets"]
    secrets = next(iter(found["cases"].values()))["secrets"]
    for version in CONTRACTS:
        for control_plane in (True, False):
            name = f"{version} {'controlplane' if control_plane else 'worker'}"
            question = {"cluster": "lab", "talos": version, "kubernetes": "1.36.0", "control_plane": control_plane}
            found["contracts"][name] = judge.answer("generate", secrets=secrets, **question)
    found["secrets"] = secrets
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _case(judge: Judge, case: dict[str, Any], join: list[Any], secrets: str) -> dict[str, Any]:
    control_plane = case["role"] == "controlplane"
    found: dict[str, Any] = {"secrets": judge.answer("secrets", text=case["text"]) if control_plane else secrets}
    generated = judge.answer(
        "generate",
        cluster=case["cluster"],
        talos=case["talos"],
        kubernetes=case["kubernetes"],
        control_plane=control_plane,
        secrets=found["secrets"],
    )
    patches = judge.answer("difference", text=_text(generated), other=case["text"])
    return found | {
        "read": judge.answer("read", text=case["text"]),
        "patches": [_by_identity(patch) for patch in patches],
        "sanitized": [judge.answer("sanitize", text=_text(_by_identity(patch))) for patch in patches],
        "joined": judge.answer("merge", text=case["text"], other=_text(join)),
    }


def _text(documents: list[Any]) -> str:
    return "---\n".join(dump(document) for document in documents)


def _by_identity(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a patch's documents in an order of ours: Go's changes from run to run."""
    return sorted(documents, key=lambda one: (one.get("kind", ""), one.get("name", "")))


def main() -> int:
    """Record; return the exit code."""
    judge = Judge(["go", "run", "./cmd/machineconfig"])
    TABLE.write_text(table_text(judge), "utf-8")
    (DATA / "answers.json").write_text(answers_text(judge), "utf-8")
    print(f"{len(cases())} configurations, {len(CONTRACTS)} versions of Talos")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
