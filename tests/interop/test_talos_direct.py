"""The direct client of Talos against the TLS and the API of the official Go libraries."""

import dataclasses
import subprocess

import pytest

from omniherd import AsyncTalosClient, RetryPolicy, TalosClient
from omniherd.errors import Unavailable, Unimplemented
from omniherd.talosconfig import parse_talosconfig
from unit.talos_endpoint import authority as authority  # noqa: PLC0414 - a fixture
from unit.talos_endpoint import talosconfig

ONCE = RetryPolicy(attempts=1)


@pytest.fixture
def context(build, authority):
    """A talosconfig's context that leads to a server written in Go."""
    with subprocess.Popen([build("apid"), authority.folder], stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip()
        yield parse_talosconfig(talosconfig(authority, [address]))
        server.kill()


def test_certificates_that_grpc_cannot_judge(context):
    with TalosClient.connect(context=context) as cluster:
        [reply] = cluster.talos().version()
        assert reply.result().version.tag == "v1.13.5"
        with pytest.raises(Unimplemented, match="Hostname"):
            cluster.talos().hostname()


async def test_certificates_that_grpc_cannot_judge_with_asyncio(context):
    async with AsyncTalosClient.connect(context=context) as cluster:
        assert (await cluster.talos().version())[0].result().version.tag == "v1.13.5"


def test_somebody_without_a_certificate(context):
    nobody = dataclasses.replace(context, certificate=None, key=None)
    with (
        TalosClient.connect(context=nobody, retry=ONCE) as cluster,
        pytest.raises(Unavailable, match=r"it refuses the talosconfig's certificate: .*certificate required"),
    ):
        cluster.talos().version()
