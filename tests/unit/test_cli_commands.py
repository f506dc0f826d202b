from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_shell import Shell

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.resources import MachineClass
from omniherd.talosconfig import parse_talosconfig


@pytest.fixture
def offline(tmp_path: Path) -> Shell:
    return Shell(tmp_path, {})


@pytest.mark.parametrize("words", [["--help"], ["--version"], [], ["config", "--help"], ["help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    heavy = ("grpc", "google.protobuf", "yaml", "rich", "pysequoia", "re2", "click")
    code = (
        "import sys\nfrom omniherd.cli.main import run\n"
        f"rc = run({words!r})\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit(f'loaded: {loaded}' if loaded else rc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_command_help_loads_no_grpc() -> None:
    for name in ("get", "apply", "delete", "edit", "emulator", "version"):
        code = (
            "import sys\nfrom omniherd.cli.main import run\n"
            f"assert run([{name!r}, '--help']) == 0\n"
            "heavy = ('grpc', 'google.protobuf', 'yaml', 'rich', 'pysequoia')\n"
            "loaded = [name for name in heavy if name in sys.modules]\n"
            "sys.exit(f'loaded: {loaded}' if loaded else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bogus"], 'unknown command "bogus" for "omniherd"'),
        (["gett"], 'unknown command "gett" for "omniherd", did you mean get?'),
        (["config", "bogus"], 'unknown command "bogus" for "omniherd config"'),
        (["--bogus"], "unknown flag: --bogus"),
        (["get", "--bogus"], "unknown flag: --bogus"),
        (["get"], "accepts between 1 and 2 arg(s), received 0"),
        (["apply"], 'required flag(s) "file" not set'),
        (["--context"], "flag needs an argument: --context"),
        (
            ["machine-logs", "x", "--tail", "x"],
            'invalid argument "x" for "--tail" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (["emulator", "--machines", "-1"], 'invalid argument "-1" for "--machines" flag: must be 0 or more'),
        (["emulator", "--web-port", "65536"], 'invalid argument "65536" for "--web-port" flag: must be 65535 or less'),
        (
            ["emulator", "--speed", "fast"],
            'invalid argument "fast" for "--speed" flag: strconv.ParseFloat: parsing "fast": invalid syntax',
        ),
        (["emulator", "--speed", "nan"], 'invalid argument "nan" for "--speed" flag: must be 0 or more'),
    ],
)
def test_usage_errors(words: list[str], told: str, offline: Shell) -> None:
    code, out, err = offline(*words)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("environ", "words", "told"),
    [
        ({"OMNI_SERVICE_ACCOUNT_KEY": "not base64!"}, [], "illegal base64 data at input byte 3"),
        ({"OMNI_ENDPOINT": "https://127.0.0.1:1"}, ["--context", "nope"], "context not found: nope"),
        ({}, ["--omniconfig", "/proc/none/x"], "open /proc/none/x"),
        ({}, [], 'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial'),
    ],
)
def test_bad_connections(environ: dict[str, str], words: list[str], told: str, offline: Shell) -> None:
    code, out, err = offline("get", "clusters", *words, **environ)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {told}")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_a_certificate_of_its_own_making(tmp_path: Path) -> None:
    with Emulator(seed_fleet=False, tls=True) as emulator:
        shell = Shell(tmp_path, emulator.environment())
        code, _, err = shell("get", "mc")
        assert code == 1
        assert "is not trusted" in err
        assert "`--ca`" in err
        (tmp_path / "ca.pem").write_bytes(emulator.certificate)
        assert shell("get", "mc", "--ca", "ca.pem")[0] == 0
        assert shell("get", "mc", "--insecure-skip-tls-verify")[0] == 0


def test_a_context_that_is_not_there_is_warned_of(offline: Shell) -> None:
    assert offline("config", "new")[0] == 0
    assert offline("config", "use", "other") == (
        0,
        "",
        "[WARN] there is no context other yet; `omniherd config add other` adds it\n",
    )


def test_contexts_come_and_go(offline: Shell) -> None:
    assert offline("config", "add", "lab", "--url", "https://lab.example.com")[0] == 0
    (offline.home / "other").write_text("contexts:\n    lab:\n        url: https://b.example.com\ncontext: lab\n")
    assert offline("config", "merge", "other")[:2] == (0, "renamed omniconfig context lab -> lab-1\n")
    assert offline("config", "remove", "lab")[0] == 0
    assert offline("config", "contexts")[1] == (
        "CURRENT   NAME      URL\n          default   grpc://127.0.0.1:8080\n*         lab-1     https://b.example.com\n"
    )
    assert offline("config", "remove", "lab")[::2] == (
        1,
        "Error: context not found: lab (`omniherd config contexts` lists the contexts of the file)\n",
    )


def test_versions(shell: Shell) -> None:
    from omniherd import __version__

    assert shell("version") == (0, f"Client: {__version__}\nServer: v1.9.3 (API 2)\n", "")
    assert shell("version", "--client", OMNI_ENDPOINT="") == (0, f"Client: {__version__}\n", "")
    assert shell("--version") == (0, f"omniherd {__version__}\n", "")


@pytest.mark.parametrize("words", [["delete", "mc", "x"], ["apply", "-f", "x"], ["create", "-f", "x"], ["edit", "mc"]])
def test_read_only_refuses_writes(words: list[str], shell: Shell) -> None:
    for code, out, err in (shell("--read-only", *words), shell(*words, OMNIHERD_READ_ONLY="1")):
        assert (code, out) == (1, "")
        assert err.startswith(f"Error: read-only: `{words[0]}` is refused")
    assert shell("--read-only", "get", "mc")[0] == 0


def test_a_blank_selector_deletes_nothing(shell: Shell, server: Emulator) -> None:
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        omni.create(MachineClass("stays", spec={"match_labels": ["a"]}))
        code, _, err = shell("delete", "mc", "-l", "  ")
        assert code == 1
        assert err.startswith("Error: the selector is empty")
        assert omni.get(MachineClass, "stays")
        omni.delete(MachineClass, "stays")


def test_create_fails_where_apply_does_not(shell: Shell) -> None:
    (shell.home / "m.yaml").write_text(
        "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: made\n"
        "spec:\n  matchlabels: [a]\n"
    )
    assert shell("create", "-f", "m.yaml") == (0, "", "")
    code, _, err = shell("create", "-f", "m.yaml")
    assert code == 1
    assert "code = AlreadyExists desc = resource MachineClasses.omni.sidero.dev(default/made@undefined)" in err
    assert shell("apply", "-f", "m.yaml", "-v")[1].endswith("Resource 'made' is unchanged\n")
    assert shell("delete", "mc", "made", "none")[0] == 0


def test_an_edit_goes_to_the_server(shell: Shell, server: Emulator) -> None:
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        omni.create(MachineClass("edited", labels={"rank": "10"}, spec={"match_labels": ["zone = a"]}))
        sed = "sed -i s/zone/area/"
        code, out, err = shell("edit", "mc", "edited", "--dry-run", EDITOR=sed)
        assert (code, err) == (0, "")
        assert "\n-         - zone = a\n+         - area = a\n" in out
        assert shell("edit", "mc", "edited", EDITOR=sed) == (0, "", "Updated MachineClasses.omni.sidero.dev 'edited'\n")
        stored = omni.get(MachineClass, "edited")
        assert (list(stored.spec.match_labels), dict(stored.labels)) == (["area = a"], {"rank": "10"})
        assert shell("edit", "mc", "-l", "rank=11")[::2] == (1, "Error: no resources found for editing\n")
        refused = "sed -i s/1.34.3/1.34.99/"
        code, _, err = shell("edit", "cluster", "edge-lab", EDITOR=refused, TMPDIR=str(shell.home))
        assert code == 1
        kept, error = err.split("\n", 1)
        assert error.startswith("Error: rpc error: code = InvalidArgument")
        path = Path(kept.removeprefix("what was edited is kept in "))
        assert "1.34.99" in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        omni.delete(MachineClass, "edited")


def wait_for_line(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"{text!r} was not printed")


def test_a_watch_of_an_absent_id_waits(shell: Shell, server: Emulator) -> None:
    process = shell.start("get", "mc", "late", "-w")
    wait_for_line(process, "NAMESPACE")
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        omni.create(MachineClass("late", spec={"match_labels": ["a"]}))
        assert wait_for_line(process, "late") == "+   default     MachineClass   late   1\n"
        omni.delete(MachineClass, "late")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == ""
    assert process.returncode == 0


def test_a_reader_that_leaves_is_no_error(shell: Shell) -> None:
    script = f"{sys.executable} -c 'from omniherd.cli.main import entry; entry()' get rd -o yaml | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"],
        env=shell.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "metadata:\n", "")


@pytest.mark.parametrize("ids", [["stuck-1"], ["stuck-1", "stuck-2"]])
def test_a_delete_that_waits_can_be_interrupted(ids: list[str], shell: Shell, server: Emulator) -> None:
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        for ident in ids:
            omni.create(MachineClass(ident, finalizers=["held"], spec={"match_labels": ["a"]}))
        process = shell.start("delete", "mc", *ids)
        for ident in ids:
            omni.wait_for(MachineClass, ident, lambda found: found.metadata.phase == "tearingDown", timeout=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (130, "")
        for ident in ids:
            omni.edit(MachineClass, ident, lambda found: found.finalizers.clear())
            omni.wait_gone(MachineClass, ident, timeout=30)


def test_a_delete_gives_up_in_time(shell: Shell, server: Emulator) -> None:
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        omni.create(MachineClass("kept", finalizers=["holder"], spec={"match_labels": ["a"]}))
        code, out, err = shell("delete", "mc", "kept", "--wait-timeout", "200ms")
        assert (code, out) == (1, "")
        assert "held by holder" in err
        omni.edit(MachineClass, "kept", lambda found: found.finalizers.clear())


def test_maps_with_numbers_for_keys_are_json(shell: Shell) -> None:
    code, out, _ = shell("get", "clusterstatusmetrics", "-o", "json")
    assert code == 0
    phases = json.loads(out)["spec"]["phases"]
    assert phases
    assert all(key.isdigit() for key in phases)


def test_labels_that_look_like_no_number_are_json(shell: Shell, server: Emulator) -> None:
    with Omni.connect(server.endpoint, service_account_key=server.service_account_key) as omni:
        omni.create(MachineClass("odd", labels={"a": ".nan", "b": "-.inf"}, spec={"match_labels": ["a"]}))
        code, out, _ = shell("get", "mc", "odd", "-o", "json")
        assert (code, json.loads(out)["metadata"]["labels"]) == (0, {"a": "NaN", "b": "-Infinity"})
        code, out, _ = shell("get", "mc", "odd", "-o", "jsonpath={.metadata.labels}")
        assert (code, json.loads(out)) == (0, {"a": "NaN", "b": "-Infinity"})
        omni.delete(MachineClass, "odd")


def test_ids_are_completed(shell: Shell) -> None:
    assert shell("__complete", "get", "cluster", "p") == (0, "prod\n", "")
    assert shell("__complete", "get", "cluster", "p", OMNI_ENDPOINT="http://127.0.0.1:1") == (0, "", "")
    assert not (shell.home / ".talos").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_emulator_serves_and_stops(number: int, offline: Shell) -> None:
    process = offline.start("emulator", "--ready-file", "ready", "--no-fleet")
    ready = offline.home / "ready"
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    assert ready.stat().st_mode & 0o777 == 0o600
    lines: dict[str, Any] = dict(line.split("=", 1) for line in ready.read_text().splitlines())
    assert sorted(lines) == ["OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY"]
    assert offline("get", "clusters", **lines)[:2] == (
        0,
        "NAMESPACE   TYPE   ID   VERSION   TALOS VERSION   KUBERNETES VERSION\n",
    )
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "".join(f"export {name}={value}\n" for name, value in lines.items())


def test_the_emulator_brings_a_cluster_outside(offline: Shell) -> None:
    with offline.start("emulator", "--no-fleet", "--foreign-cluster", "tc", "--foreign-machines", "1,2") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.terminate()
    assert line == "foreign cluster outside has the nodes 192.0.251.1,192.0.251.2,192.0.251.3\n"
    assert (offline.home / "tc").stat().st_mode & 0o777 == 0o600
    assert parse_talosconfig((offline.home / "tc").read_text()).nodes == ("192.0.251.1",)


@pytest.mark.parametrize("machines", ["3", "a,b", "1,-1", ""])
def test_the_size_of_a_foreign_cluster_is_two_numbers(machines: str, offline: Shell) -> None:
    code, out, err = offline("emulator", "--foreign-machines", machines)
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: --foreign-machines wants N,M, not {machines!r}")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "nonsense", "127.0.0.1:99999"])
def test_the_emulator_listens_on_loopback_only(address: str, offline: Shell) -> None:
    code, out, err = offline("emulator", "--listen", address)
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
