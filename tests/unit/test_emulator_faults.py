"""Faults on demand, as a client meets them."""

import time

import pytest

from omniherd import Omni
from omniherd.emulator import Emulator
from omniherd.errors import (
    AlreadyExists,
    APIError,
    DeadlineExceeded,
    InputError,
    InternalError,
    OmniError,
    ResourceExhausted,
    Unauthenticated,
)
from omniherd.resources import Cluster, MachineClass


@pytest.fixture(scope="module")
def running():
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def emulator(running):
    yield running
    running.faults.clear()


@pytest.fixture
def omni(emulator):
    with emulator.connect() as client:
        yield client


@pytest.mark.parametrize(("code", "error"), [("INTERNAL", InternalError), ("RESOURCE_EXHAUSTED", ResourceExhausted)])
def test_a_call_fails_with_the_wanted_code_and_text(emulator, omni, code, error):
    fault = emulator.faults.fail("Get", code, "so be it", times=None)
    with pytest.raises(error, match="so be it"):
        omni.get(Cluster, "prod")
    assert fault.met >= 1
    assert [one.id for one in omni.list(Cluster)] == ["edge-lab", "prod", "staging"]
    emulator.faults.clear()
    assert omni.get(Cluster, "prod").id == "prod"


def test_a_fault_is_met_by_as_many_calls_as_were_asked_for(emulator, omni):
    fault = emulator.faults.fail("/cosi.resource.State/*", "PERMISSION_DENIED", times=2)
    for _ in range(2):
        with pytest.raises(OmniError, match="asked for this fault"):
            omni.get(Cluster, "prod")
    assert omni.get(Cluster, "prod").id == "prod"
    assert (fault.met, fault.left) == (2, 0)


def test_a_client_tries_again_when_the_server_is_away(emulator, omni):
    fault = emulator.faults.fail("State/Get", "UNAVAILABLE", times=2)
    assert omni.get(Cluster, "prod").id == "prod"
    assert fault.met == 2


def test_an_answer_is_lost_after_the_work_was_done(emulator, omni):
    emulator.faults.fail("Create", "INTERNAL", done=True)
    with pytest.raises(APIError):
        omni.create(MachineClass("lost-answer", spec={"match_labels": ["x"]}))
    with pytest.raises(AlreadyExists):
        omni.create(MachineClass("lost-answer", spec={"match_labels": ["x"]}))


def test_a_delay_holds_calls_back(emulator, omni):
    emulator.faults.delay("Get", 0.2, times=1)
    begin = time.monotonic()
    omni.get(Cluster, "prod")
    assert time.monotonic() - begin >= 0.2


def test_a_blackhole_never_answers(emulator, omni):
    fault = emulator.faults.blackhole("Get", times=None)
    with pytest.raises(DeadlineExceeded):
        omni.get(Cluster, "prod", timeout=0.3)
    assert fault.met >= 1


def test_a_server_with_calls_in_a_blackhole_stops():
    with Emulator() as emulator, emulator.connect() as omni:
        emulator.faults.blackhole("Get", times=None)
        with pytest.raises(DeadlineExceeded):
            omni.get(Cluster, "prod", timeout=0.1)


@pytest.mark.parametrize("kind", ["cut", "end"])
def test_a_stream_breaks_in_the_middle_and_a_watch_goes_on(emulator, omni, kind):
    fault = getattr(emulator.faults, kind)("Watch", after=2)
    with omni.watch(Cluster) as watch:
        seen = []
        for event in watch:
            seen.append(event)
            if fault.met and len(seen) >= 3:
                break
    ids = {event.resource.id for event in seen if getattr(event, "resource", None) is not None}
    assert ids
    assert fault.met == 1


def test_bookmarks_expire(emulator):
    store = emulator.store
    from omniherd.emulator.records import StateError
    from omniherd.emulator.store import WatchOptions

    bookmark = store.bookmark(0)
    store.watch("default", "Clusters.omni.sidero.dev", None, WatchOptions(start_from=bookmark)).close()
    emulator.faults.expire_bookmarks()
    with pytest.raises(StateError, match="invalid watch bookmark"):
        store.watch("default", "Clusters.omni.sidero.dev", None, WatchOptions(start_from=bookmark))


def test_watches_are_overrun(emulator):
    from omniherd.emulator.records import ERRORED
    from omniherd.emulator.store import WatchOptions

    watch = emulator.store.watch("default", "Clusters.omni.sidero.dev", None, WatchOptions())
    assert emulator.faults.overrun_watches() == 1
    (event,) = watch.poll()
    assert event.kind == ERRORED
    assert event.error.startswith('buffer overrun: namespace "default" type "Clusters.omni.sidero.dev"')
    assert watch.poll() == []
    watch.close()


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_is_off_refuses_signatures(emulator, seconds):
    emulator.faults.skew_clock(seconds)
    with (
        pytest.raises(Unauthenticated),
        Omni.connect(emulator.endpoint, service_account_key=emulator.service_account_key) as omni,
    ):
        omni.get(Cluster, "prod")
    emulator.faults.skew_clock(0)
    with emulator.connect() as omni:
        assert omni.get(Cluster, "prod").id == "prod"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda faults: faults.fail("Get", "OK"),
        lambda faults: faults.fail("Get", "TIRED"),
        lambda faults: faults.fail("Get", "INTERNAL", times=0),
        lambda faults: faults.fail("Watch", "INTERNAL", after=1, done=True),
        lambda faults: faults.delay("Get", -1),
        lambda faults: faults.slow("Watch", float("nan")),
    ],
)
def test_what_makes_no_sense_is_refused(emulator, wrong):
    with pytest.raises(InputError):
        wrong(emulator.faults)
