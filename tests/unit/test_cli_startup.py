"""What short commands leave unloaded, and that they mean the same without it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from command_shell import Shell

from omniherd.cli.output.fields import path_of, shown
from omniherd.cli.output.tables import Columns
from omniherd.omniconfig import Context, OmniConfig, _own_form
from omniherd.resources import ALL_TYPES, ClusterStatus, Machine
from omniherd.yamlform import spec_from_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from omniherd.emulator import Emulator


def run(code: str, environ: dict[str, str], home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


HEAVY = ("yaml", "omniherd.jsonpath", "omniherd.yamlform", "rich", "ssl", "tempfile", "importlib.resources", "re2")
LOADED = f"""
import sys
from omniherd.cli.main import run
code = run(sys.argv[1:] or ["get", "clusters"], alone=True)
real = [name for name in ("asyncio.events", "grpc.aio._call") if name in sys.modules]
print([name for name in {HEAVY!r} if name in sys.modules], real, file=sys.stderr)
sys.exit(code)
"""


def test_a_table_loads_what_it_needs(server: Emulator, tmp_path: Path) -> None:
    # The second time: the first wrote the omniconfig file.
    run(LOADED, server.environment(), tmp_path)
    done = run(LOADED, server.environment(), tmp_path)
    assert (done.returncode, done.stderr) == (0, "[] []\n")
    assert "edge-lab" in done.stdout


def test_modules_that_were_put_off_come_when_they_are_used(tmp_path: Path) -> None:
    code = (
        "from omniherd.cli.unused_imports import put_off\nput_off()\n"
        "import grpc, sys\n"
        "assert 'asyncio.events' not in sys.modules\n"
        "import asyncio, grpc.aio\n"
        "async def nothing():\n    return asyncio.get_running_loop().is_running()\n"
        "assert asyncio.run(nothing())\n"
        "from asyncio import Queue\n"
        "import asyncio.subprocess\n"
        "assert issubclass(grpc.aio.AioRpcError, grpc.RpcError)\n"
        "assert sys.modules['asyncio'].__file__ and sys.modules['grpc.aio'].__file__\n"
    )
    done = run(code, {}, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_async_client_works_in_a_process_that_put_them_off(server: Emulator, tmp_path: Path) -> None:
    code = (
        "from omniherd.cli.unused_imports import put_off\nput_off()\n"
        "import asyncio\nfrom omniherd import AsyncOmni, Omni\n"
        "with Omni.connect() as omni:\n    assert omni.get('cluster', 'prod')\n"
        "async def main():\n"
        "    async with AsyncOmni.connect() as omni:\n        return len(await omni.list('clusters'))\n"
        "print(asyncio.run(main()))\n"
    )
    done = run(code, server.environment(), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


@pytest.mark.parametrize("implementation", ["upb", "python", ""])
def test_both_implementations_of_protobuf_make_the_same(implementation: str, tmp_path: Path) -> None:
    code = (
        "from omniherd.resources import Cluster\nfrom omniherd.wire import cosi_resource as cosi\n"
        "made = Cluster('a', labels={'x': 'y'}, spec={'features': {'disk_encryption': True}})\n"
        "data = cosi.CreateRequest(resource=made.to_proto()).SerializeToString(deterministic=True)\n"
        "read = cosi.CreateRequest.FromString(data).resource\n"
        "print(Cluster.from_proto(read).spec.features.disk_encryption, data.hex())\n"
    )
    environ = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation} if implementation else {}
    outcomes = [run(code, one, tmp_path) for one in ({}, environ)]
    assert [done.returncode for done in outcomes] == [0, 0], outcomes[1].stderr
    assert outcomes[0].stdout == outcomes[1].stdout


# --- cells from messages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("{.talosversion}", ("talosversion",)),
        ("{.machines.total}", ("machines", "total")),
        ("{.items[0]}", None),
        ("{.a..b}", None),
        ("{.a} {.b}", None),
        (".a", None),
        ("{.a-b}", None),
        ("{..a}", None),
    ],
)
def test_plain_paths(template: str, path: tuple[str, ...] | None) -> None:
    assert path_of(template) == path


def test_what_is_not_plain_is_left_to_yaml() -> None:
    status = ClusterStatus("x", spec={"phase": 3, "ready": True}).spec
    assert shown(status, ("phase",)) == "3"
    assert shown(status, ("ready",)) == "true"
    # There are no counts: that is `null` or nothing in YAML, as it happens.
    assert shown(status, ("machines", "total")) is None
    assert shown(status, ("nothing",)) is None
    assert shown(Machine("x", spec={"management_address": "fd::1"}).spec, ("managementaddress",)) == "fd::1"


def test_cells_are_those_of_the_yaml_form(server: Emulator) -> None:
    plain = compared = 0
    with server.connect() as omni:
        for info in ALL_TYPES:
            columns = Columns(info.columns or ())
            if not columns.titles or info.since is not None:
                continue
            for namespace in {info.namespace}:
                for stored in server.store.list(namespace, info.type):
                    one = omni.get(info.type, stored.id, namespace=namespace)
                    assert columns.of(one) == columns.cells(one.yaml_spec), one
                    compared += 1
                    plain += all(shown(one.spec, path) is not None for _, path in columns._paths if path)
    assert compared > 100
    assert plain > 60


@pytest.mark.parametrize("text", ["1.10", "true", "null", "007", "a: b", "  padded ", "größe", "0x10", ""])
def test_texts_that_look_like_something_else(text: str) -> None:
    from omniherd.resources import Cluster

    columns = Columns([("Version", "{.talosversion}")])
    one = Cluster("x", spec={"talos_version": text})
    assert spec_from_yaml(one.yaml_spec, type(one.spec), one.type_name).talos_version == text
    assert columns.of(one) == columns.cells(one.yaml_spec)


# --- omniconfig files in our own form --------------------------------------------------------------------------------


def test_our_own_form_is_read_without_yaml() -> None:
    contexts = {
        "lab": Context("https://lab.example.com", "me@example.com"),
        "b": Context("grpc://127.0.0.1:8080"),
        "c": Context("https://x.example.com:8443", "", "old"),
    }
    text = OmniConfig("", contexts, "lab").to_yaml()
    assert _own_form(text.encode()) == (dict(sorted(contexts.items())), "lab")


@pytest.mark.parametrize(
    "text",
    [
        "contexts:\n  lab:\n    url: https://x\ncontext: lab\n",
        'contexts:\n    lab:\n        url: "https://x"\ncontext: lab\n',
        "contexts:\n    lab:\n        url: https://x # mine\ncontext: lab\n",
        "contexts:\n    lab:\n        url: https://x\n        url: https://y\ncontext: lab\n",
        "contexts:\n    lab:\n        url: 123\ncontext: lab\n",
        "contexts:\n    lab:\n        url: https://x\ncontext: ~\n",
        'contexts:\n    lab:\n        url: https://x\ncontext: ""\n',
        "contexts:\r\n    lab:\r\n        url: https://x\r\ncontext: lab\r\n",
        "context: lab\ncontexts:\n    lab:\n        url: https://x\n",
        "contexts:\n    lab:\n        auth:\n            siderov1:\n                identity: a@b\n        url: https://x\n"
        "context: lab\n",
        "contexts: {}\ncontext: lab\nmore: 1\n",
        "",
        "contexts:\n    größe:\n        url: https://x\ncontext: lab\n",
    ],
)
def test_every_other_form_is_left_to_yaml(text: str) -> None:
    assert _own_form(text.encode()) is None


def test_a_file_in_another_form_means_the_same_to_a_command(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    (tmp_path / "a").write_text("contexts:\n    lab:\n        url: https://x.example.com\ncontext: lab\n")
    (tmp_path / "b").write_text('{"contexts": {"lab": {"url": "https://x.example.com"}}, "context": "lab"}')
    assert shell("config", "contexts", "--omniconfig", "a") == shell("config", "contexts", "--omniconfig", "b")
