"""One suite for the emulator and for a real server.

The emulator is always used. With `OMNI_ENDPOINT` set (and a service account's key beside it) the same tests run against
that server too; what they make there is called `omniherd-test-…` and removed.
"""

from __future__ import annotations

import os
import uuid

import pytest

from omniherd import AsyncOmni, Omni
from omniherd.emulator import Emulator
from omniherd.errors import OmniError
from omniherd.resources import ConfigPatch, MachineClass

PREFIX = "omniherd-test-"


@pytest.fixture(scope="session")
def emulator():
    with Emulator() as running:
        yield running


SERVERS = ["emulator"]
if os.environ.get("OMNI_ENDPOINT"):
    SERVERS.append(pytest.param("live", marks=pytest.mark.live))


@pytest.fixture(params=SERVERS)
def server(request):
    """How to connect: arguments of `connect`."""
    if request.param == "live":
        return {"insecure_skip_tls_verify": os.environ.get("OMNIHERD_TEST_INSECURE") == "1"}
    running = request.getfixturevalue("emulator")
    return {"endpoint": running.endpoint, "service_account_key": running.service_account_key}


@pytest.fixture
def omni(server):
    with Omni.connect(**server) as client:
        yield client


@pytest.fixture
async def aomni(server):
    async with AsyncOmni.connect(**server) as client:
        yield client


@pytest.fixture
def prefix(server):
    """The beginning of the ids that a test may use; what bears it is removed afterwards."""
    mine = f"{PREFIX}{uuid.uuid4().hex[:8]}-"
    yield mine
    with Omni.connect(**server) as client:
        for kind in (MachineClass, ConfigPatch):
            for left in client.list(kind, id_regexp=f"^{mine}"):
                if left.finalizers:
                    client.edit(kind, left.id, lambda one: one.finalizers.clear())
                try:
                    client.delete(kind, left.id, timeout=10)
                except OmniError:
                    continue
