"""What the services make of their arguments and answers without a server."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from omniherd._core.service_requests import account_name, day, duration, enum_value, expiration, image_labels
from omniherd.errors import InputError
from omniherd.services import moment
from omniherd.wire import management as wire


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ci", "ci"),
        ("ci@serviceaccount.omni.sidero.dev", "ci"),
        ("infra-provider:lab", "infra-provider:lab"),
        ("lab@infra-provider.serviceaccount.omni.sidero.dev", "infra-provider:lab"),
    ],
)
def test_names_of_accounts(name, expected):
    assert account_name(name) == expected


@pytest.mark.parametrize("name", ["", "Ci", "infra-provider:", "@serviceaccount.omni.sidero.dev"])
def test_names_that_the_server_would_half_accept(name):
    with pytest.raises(InputError):
        account_name(name)


@pytest.mark.parametrize(
    ("given", "expected"), [(None, ""), ("", ""), ("2026-11-24", "2026-11-24"), (date(2026, 1, 2), "2026-01-02")]
)
def test_days(given, expected):
    assert day(given) == expected


@pytest.mark.parametrize("given", ["x", "24.11.2026", "2026-1-2", datetime(2026, 1, 2, tzinfo=UTC)])
def test_what_is_no_day(given):
    with pytest.raises(InputError):
        day(given)


def test_durations_and_ends():
    assert (duration(90.25).seconds, duration(timedelta(days=2, microseconds=5)).nanos) == (90, 5000)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    assert expiration(60, now) == expiration(timedelta(minutes=1), now) == now + timedelta(minutes=1)
    assert expiration(now) is now
    assert expiration(None) is None
    for wrong in (0, -1, timedelta(0)):
        with pytest.raises(InputError, match=r"^a lifetime must be positive, not (0|-1) seconds$"):
            expiration(wrong)
        with pytest.raises(InputError):
            duration(wrong)
    with pytest.raises(InputError, match="time zone"):
        expiration(datetime(2026, 11, 24))  # noqa: DTZ001 - that it has none is the point


def test_words_for_enums():
    name = "management.MaintenanceLifecycleRequest.Operation"
    assert enum_value(name, "OPERATION_", "Upgrade") == 2
    with pytest.raises(InputError, match="'x' is none of install, upgrade"):
        enum_value(name, "OPERATION_", "x")


def test_labels_of_images_are_yaml():
    import yaml

    labels = {"a": "true", "b": "", "c": "é: #"}
    assert yaml.safe_load(image_labels(labels)[12]) == {"machineLabels": labels}
    assert image_labels({"c": "", "a": "b"}) == {12: 'machineLabels:\n    a: b\n    c: ""\n'}


def test_an_empty_time_is_none():
    assert moment(wire.ListServiceAccountsResponse.ServiceAccount.PgpPublicKey().created) is None
