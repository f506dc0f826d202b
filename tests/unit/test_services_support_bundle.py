"""Support bundles: read whole or not at all, written for their owner."""

from __future__ import annotations

import stat

import pytest
from recorded_server import steps

from omniherd.errors import InternalError
from omniherd.services import SupportBundle

MANAGEMENT = steps("management")
MACHINES = steps("machines")


@pytest.fixture
def server(recorded):
    return recorded


def test_a_support_bundle_is_written_as_a_whole_for_its_owner(server, omni, tmp_path):
    step = MACHINES["GetSupportBundle: running cluster"]
    server.play(step)
    seen = []
    bundle = omni.management.support_bundle("judge-one", progress=seen.append, path=tmp_path / "support.zip")
    assert (tmp_path / "support.zip").read_bytes() == bundle.data
    assert stat.S_IMODE((tmp_path / "support.zip").stat().st_mode) == 0o600
    assert [name.name for name in tmp_path.iterdir()] == ["support.zip"]
    assert {(one.source, one.total) for one in seen if one.total} == {("omni", 52), ("cluster", 408)}
    assert bundle.errors == tuple(one for one in seen if one.error)
    assert "bytes" in repr(bundle)


def test_a_bundle_of_a_missing_cluster_tells_why_it_is_empty(server, omni):
    server.play(MANAGEMENT["GetSupportBundle: missing cluster"])
    bundle = omni.management.support_bundle("cap-none")
    assert "kubeconfig for cluster cap-none" in bundle.errors[0].error


def test_a_stream_without_a_bundle_is_an_error_and_writes_nothing(server, omni, tmp_path):
    step = MACHINES["GetSupportBundle: running cluster"]
    server.play(dict(step, responses=[one for one in step["responses"] if "progress" in one]))
    with pytest.raises(InternalError, match="no support bundle"):
        omni.management.support_bundle("judge-one", path=tmp_path / "support.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_breaks_off_leaves_the_old_file(server, omni, tmp_path):
    target = tmp_path / "support.zip"
    target.write_bytes(b"old")
    step = MACHINES["GetSupportBundle: running cluster"]
    broken = {"code": "INTERNAL", "message": "no more"}
    server.play(dict(step, responses=step["responses"][:3], status=broken))
    with pytest.raises(InternalError, match="no more"):
        omni.management.support_bundle("judge-one", path=target)
    assert target.read_bytes() == b"old"


async def test_progress_reaches_tasks(server):
    async with server.connect_async() as omni:
        server.play(MACHINES["GetSupportBundle: running cluster"])
        seen = []
        bundle = await omni.management.support_bundle("judge-one", progress=seen.append)
        assert len(seen) > 20
        assert bundle.data


def test_a_bundle_does_not_print_itself():
    assert repr(SupportBundle(b"secret", (), ())) == "SupportBundle(6 bytes, 0 errors)"
