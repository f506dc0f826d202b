"""Secrets never show: in reprs, logs, tracebacks, pickles of errors, files that others may read."""

from __future__ import annotations

import logging
import pickle
import stat
import traceback
from pathlib import Path

import pytest

from omniherd import AsyncOmni, Omni, RetryPolicy
from omniherd.credentials import KeyStore, ServiceAccount, resolve
from omniherd.emulator import Emulator
from omniherd.errors import CredentialError, OmniError
from omniherd.omniconfig import OmniConfig
from omniherd.resources import ConfigPatch, MachineClass
from omniherd.signing import PGPKey

CANARY = "canary-5f1c0e-secret"
QUICK = RetryPolicy(attempts=2, initial=0.01)


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running:
        yield running


def fragments(key):
    """Parts of a key in each form that it may show in: as the variable holds it, armoured, without line ends."""
    armoured = ServiceAccount.decode(key).key.private_armored()
    lines = [line for line in armoured.splitlines() if len(line) > 40 and ":" not in line]
    return [key[200:240], key[-80:-40], *(line[:40] for line in lines[2:])]


def shows(text, secrets):
    return [secret for secret in secrets if secret in text]


def test_a_key_shows_nowhere(emulator, caplog):
    key = emulator.service_account_key
    secrets = fragments(key)
    assert len(secrets) > 5
    texts = []
    with caplog.at_level(logging.DEBUG), Omni.connect(emulator.endpoint, service_account_key=key, retry=QUICK) as omni:
        account = ServiceAccount.decode(key)
        held = (omni, omni.connection, omni.channel, account, account.key, account.key.public, omni.channel._signer)
        texts.extend(form(one) for one in held for form in (repr, str))
        for call in (
            lambda: omni.get(MachineClass, "missing"),
            lambda: omni.create(MachineClass("a")),
            lambda: omni.call("/nope", None),
            lambda: next(omni.watch(MachineClass, bookmark=b"x")),
            lambda: Omni.connect(emulator.endpoint, service_account_key=key[:-20]),
            lambda: Omni.connect(emulator.endpoint, service_account_key="x" + key[1:]),
        ):
            with pytest.raises(OmniError) as caught:
                call()
            error = caught.value
            texts.append("".join(traceback.format_exception(error)))
            texts.extend((repr(error), str(error.details), str(pickle.loads(pickle.dumps(error)).__dict__)))
    texts.append(caplog.text)
    for text in texts:
        assert shows(text, secrets) == []


def test_a_key_cannot_be_pickled(emulator):
    key = ServiceAccount.decode(emulator.service_account_key).key
    with pytest.raises((TypeError, CredentialError)):
        pickle.dumps(key)


async def test_a_failing_handler_is_logged_without_specs(emulator, caplog):
    """Specs hold keys of clusters; a cache logs which resource a handler failed on."""
    async with emulator.connect_async() as omni:
        await omni.create(ConfigPatch("secret", spec={"data": f"machine:\n  env:\n    A: {CANARY}\n"}))

        def fails(event):
            raise ValueError(repr(event.resource))

        async with omni.cache(ConfigPatch) as cache:
            cache.subscribe(fails)
            await cache.wait_until(lambda held: "ConfigPatches" in caplog.text and not held.pending, 20)
            texts = [repr(cache), repr(cache.get("secret")), str(cache.get("secret")), caplog.text]
        await omni.delete(ConfigPatch, "secret")
    assert shows("".join(texts), [CANARY]) == []


async def test_clients_of_tasks_show_no_keys(emulator):
    key = emulator.service_account_key
    async with AsyncOmni.connect(emulator.endpoint, service_account_key=key) as omni:
        assert shows(repr(omni) + repr(omni.connection) + repr(omni.channel.__dict__), fragments(key)) == []


def test_a_support_bundle_holds_no_key_of_ours(tmp_path):
    with Emulator() as emulator, emulator.connect() as omni:
        path = tmp_path / "support.zip"
        omni.management.support_bundle("prod", path=path)
        secrets = fragments(emulator.service_account_key)
        import zipfile

        with zipfile.ZipFile(path) as bundle:
            texts = [bundle.read(name).decode(errors="replace") for name in bundle.namelist()]
        assert texts
        assert shows("".join(texts), secrets) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_with_secrets_are_their_owners_alone(tmp_path, monkeypatch):
    import os

    before = os.umask(0)
    try:
        key = PGPKey.generate("", "", "me@example.com", 3600)
        store = KeyStore(tmp_path / "keys")
        saved = store.save("default", "me@example.com", key)
        assert stat.S_IMODE(Path(saved).stat().st_mode) == 0o600
        config = OmniConfig.default(tmp_path / "config")
        config.save()
        assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_key_from_the_environment_shows_in_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("OMNI_ENDPOINT", "https://omni.example.com")
    monkeypatch.setenv("OMNI_SERVICE_ACCOUNT_KEY", CANARY)
    with pytest.raises(CredentialError) as caught:
        resolve()
    text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert shows(text, [CANARY]) == []
