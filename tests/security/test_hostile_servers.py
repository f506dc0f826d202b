"""What a server, or a machine behind it, may send: errors of ours, no harm to the terminal, no file elsewhere."""

from __future__ import annotations

import contextlib
import json
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd._async import media as async_media
from omniherd._sync import media as sync_media
from omniherd.cli import logs, running
from omniherd.cli.output.printers import printer_for
from omniherd.cli.output.tables import layout
from omniherd.cli.output.terminal import harmless
from omniherd.errors import InputError, InternalError, NotFound, OmniError
from omniherd.resources import ConfigPatch, MachineClass
from omniherd.signing import PGPKey
from omniherd.wire import cosi_resource as cosi

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b1m"
QUICK = RetryPolicy(attempts=2, initial=0.01)
# A resource whose id is no UTF-8.
NO_TEXT = b"\x0a\x06\x0a\x04\x1a\x02\xff\xfe"
GARBAGE = [b"\xff" * 10, b"\x0a\xff\xff\xff\xff\x7f", NO_TEXT, b"\x0a\x05abc"]


@pytest.fixture(scope="module")
def signer():
    return PGPKey.generate("", "", "test@example.com", 3600)


@contextlib.contextmanager
def serving(answer):
    """A server that gives one answer to everything, or fails with a text."""

    def one(request, context):
        return answer(context)

    def many(request, context):
        yield answer(context)

    class Router(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method.endswith(("/List", "/Watch")):
                return grpc.unary_stream_rpc_method_handler(many)
            return grpc.unary_unary_rpc_method_handler(one)

    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((Router(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


VERBS = {
    "get": lambda omni: omni.get(MachineClass, "a"),
    # A resource of a list is decoded when somebody looks at it.
    "list": lambda omni: omni.list(MachineClass)[0].id,
    "watch": lambda omni: next(omni.watch(MachineClass)),
    "create": lambda omni: omni.create(MachineClass("a")),
    "update": lambda omni: omni.update(MachineClass("a")),
    "teardown": lambda omni: omni.teardown(MachineClass, "a"),
    "cache": lambda omni: omni.cache(MachineClass).start(timeout=20),
    "call": lambda omni: omni.call("/cosi.resource.State/Get", cosi.GetRequest()),
    "stream": lambda omni: next(omni.stream("/cosi.resource.State/List", cosi.ListRequest())),
}


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: data.hex())
@pytest.mark.parametrize("verb", VERBS)
def test_answers_that_are_no_messages(signer, verb, data):
    if data is NO_TEXT and verb in {"watch", "cache", "teardown"}:
        pytest.skip("the message of this answer has no text in that place")
    with serving(lambda context: data) as endpoint, Omni.connect(endpoint, signer=signer, retry=QUICK) as omni:
        with pytest.raises(InternalError, match=r"the server's answer of \d+ bytes cannot be read") as caught:
            VERBS[verb](omni)
        assert caught.value.__cause__ is None
        assert sum(omni.channel.streams) == 0


async def test_answers_that_are_no_messages_for_tasks(signer):
    with serving(lambda context: GARBAGE[0]) as endpoint:
        async with AsyncOmni.connect(endpoint, signer=signer, retry=QUICK) as omni:
            for call in (
                omni.get(MachineClass, "a"),
                omni.list(MachineClass),
                anext(omni.watch(MachineClass)),
                omni.create(MachineClass("a")),
            ):
                with pytest.raises(InternalError):
                    await call
            assert sum(omni.channel.streams) == 0


def test_a_spec_that_is_none_is_told_when_it_is_read(signer):
    resource = ConfigPatch("a").to_proto()
    resource.spec.proto_spec = b"\xff\xff"
    data = cosi.GetResponse(resource=resource).SerializeToString()
    with serving(lambda context: data) as endpoint, Omni.connect(endpoint, signer=signer) as omni:
        found = omni.get(ConfigPatch, "a")
        assert found.id == "a"
        with pytest.raises(OmniError, match=r"is no specs\.ConfigPatchSpec"):
            assert found.spec


def test_a_huge_answer_is_taken(signer):
    """The server has no limit of its own, so a large patch must come through; it is one message of 48 MiB."""
    resource = ConfigPatch("a", spec={"data": "x" * (48 << 20)}).to_proto()
    data = cosi.GetResponse(resource=resource).SerializeToString()
    with serving(lambda context: data) as endpoint, Omni.connect(endpoint, signer=signer) as omni:
        assert len(omni.get(ConfigPatch, "a").spec.data) == 48 << 20


# --- the terminal -----------------------------------------------------------------------------------------------------


def obeyed(text):
    return [char for char in text if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160]


def test_names_in_tables_are_shown_not_obeyed():
    hostile = MachineClass("a" + ESCAPE, labels={"x" + ESCAPE: ESCAPE}, spec={"match_labels": [ESCAPE + "\r\n"]})
    hostile.metadata.proto.namespace = ESCAPE
    printer = printer_for("table", [("labels", "{.matchlabels}")], "MachineClass", watch=False)
    printer.add(hostile)
    text = printer.flush()
    assert text.count("\n") == 2
    assert obeyed(text) == []
    assert r"a\x1b]0;owned" in text
    for output in ("yaml", "json"):
        assert "\x1b" not in printer_for(output, [], "", watch=False).add(hostile)
    assert obeyed(layout([("a\x1b[2J", "b\nc")])) == []


def test_errors_of_servers_are_shown_not_obeyed(capsys):
    assert running.say("rpc error: desc = 2 errors occurred:\n\t* a" + ESCAPE) == 1
    shown = capsys.readouterr().err
    assert obeyed(shown) == []
    assert "occurred:\n\t* a\\x1b]0;owned\\x07" in shown


def test_logs_of_machines_are_shown_not_obeyed():
    line = json.dumps({"msg": "hello " + ESCAPE, "facility": ESCAPE, "clock": 1, "talos-level": ESCAPE}).encode()
    for form in ("raw", "omni", "dmesg"):
        for data in (logs.log_line(line, form), logs.log_line(b"\xff\x1b[2J not json", form)):
            shown = logs._harmless(data)
            assert obeyed(shown.decode()) == []
            assert shown.endswith(b"\n")
    assert logs._harmless(b"\xff\xc3\xa4\n").decode() == "\\xff\u00e4\n"


def test_harmless_leaves_the_rest():
    assert harmless("\u00e4 \u4f60 \U0001f600\n\ta") == "\u00e4 \u4f60 \U0001f600\n\ta"


def test_an_error_keeps_the_servers_words_for_programs(signer):
    def refuse(context):
        context.abort(grpc.StatusCode.NOT_FOUND, "no " + "\x1b[2J")

    with serving(refuse) as endpoint, Omni.connect(endpoint, signer=signer) as omni:
        with pytest.raises(NotFound) as caught:
            omni.get(MachineClass, "a")
        assert "no " in str(caught.value)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [sync_media, async_media])
@pytest.mark.parametrize("name", ["../x.iso", "/etc/x", "a/b", "..", "", "a\0b", "..\\x"])
def test_a_download_stays_in_its_folder(module, name, tmp_path):
    with pytest.raises(InputError, match="no name of a file"):
        module._target(tmp_path, name)
    assert module._target(tmp_path, "talos-1.iso") == tmp_path / "talos-1.iso"
    assert module._target(tmp_path / "chosen.iso", name) == tmp_path / "chosen.iso", "what the user chose is his"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "sub/../../secret", "link"])
def test_a_templates_files_stay_in_the_allowed_folder(name, tmp_path):
    from omniherd.template.files import FileRefused, Files

    folder = tmp_path / "templates"
    folder.mkdir()
    (tmp_path / "secret").write_text("canary")
    (folder / "link").symlink_to(tmp_path / "secret")
    files = Files.beside(folder, ".")
    with pytest.raises(FileRefused) as caught:
        files.read(name)
    assert "canary" not in str(caught.value)


def test_the_table_of_a_support_bundle_is_harmless():
    from omniherd.cli.support import error_table

    steps = [SimpleNamespace(source="node" + ESCAPE, error=f"a{ESCAPE}\nb")]
    assert obeyed(error_table(steps)) == []
