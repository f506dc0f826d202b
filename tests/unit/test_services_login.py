"""Keys of people: registering, confirming, and the login in the browser."""

from __future__ import annotations

import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from recorded_server import recorded_server, steps

from login_page import config_of, fetch, form_of, press
from omniherd import AsyncLogin, AsyncOmni, Login, Omni
from omniherd._core.login import announcement, login_key, may_open_browser, success
from omniherd.credentials import USER_KEY_LIFETIME, resolve
from omniherd.emulator import Emulator
from omniherd.errors import (
    APIError,
    ConfigError,
    CredentialError,
    InvalidArgument,
    OmniError,
    PermissionDenied,
    Unauthenticated,
    UnknownError,
    WaitTimeout,
)
from omniherd.signing import PGPKey

ME = "svc-me@example.com"
KEY_TYPE = "PublicKeys.omni.sidero.dev"


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running, running.connect() as omni:
        omni.management.create_user(ME, "Reader")
        yield running


@pytest.fixture
def admin(emulator):
    with emulator.connect() as omni:
        yield omni


@pytest.fixture
def context(emulator, tmp_path):
    """What `resolve` needs to find a context of a person without a key."""
    config = tmp_path / "config"
    config.write_text(config_of(emulator.endpoint, ME) + f"    anonymous:\n        url: {emulator.endpoint}\n")
    return {"omniconfig": config, "keys_dir": tmp_path / "keys", "environ": {"HOME": str(tmp_path)}}


@pytest.fixture
def browser():
    """What the key's owner does: open the page, and press its button."""
    seen = []

    def show(url):
        seen.append(url)
        press(url)

    show.seen = seen
    return show


# --- the whole login --------------------------------------------------------------------------------------------------


def test_a_person_logs_in(context, browser, emulator):
    connection = resolve(**context)
    assert isinstance(connection.problem, CredentialError)
    with Login(connection) as login:
        ready = login.run(browser)
    path = Path(login.path)
    assert path == context["keys_dir"] / f"lab-{ME}.pgp"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert browser.seen == [f"{emulator.web_endpoint}/authenticate?flow=cli&public-key-id={login.key.fingerprint}"]
    # The key serves the connection at hand, and whoever looks for one afterwards.
    for usable in (ready, resolve(**context)):
        assert usable.problem is None
        with Omni.connect(connection=usable) as omni:
            assert omni.get("currentusers", "current").spec.identity == ME
    assert login.key.user_ids[0].startswith("omniherd ")


async def test_a_person_logs_in_by_a_task(context, browser):
    async with AsyncLogin(resolve(**context)) as login:
        ready = await login.run(browser)
    async with AsyncOmni.connect(connection=ready) as omni:
        assert (await omni.get("currentusers", "current")).spec.identity == ME


def test_the_page_is_shown_to_whoever_is_there(context, monkeypatch, capsys):
    """Off a terminal as an address; on a desktop in a browser, and as an address where none opens."""
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    for may in (False, True):
        monkeypatch.setattr("omniherd._core.login.may_open_browser", lambda may=may: may)
        with Login(resolve(**context)) as login, pytest.raises(WaitTimeout):
            login.run(timeout=0.1)
        lines = capsys.readouterr().err.splitlines()
        page = lines[-1].removeprefix("Please visit this page to authenticate: ")
        assert page.endswith(login.key.fingerprint)
        assert lines[:-1] == ([f"Attempting to open URL: {page}"] if may else [])
        assert opened == ([page] if may else [])


def test_a_key_that_nobody_confirms(context):
    with Login(resolve(**context)) as login:
        with pytest.raises(WaitTimeout, match="nobody confirmed the key") as caught:
            login.run(lambda url: None, timeout=0.2)
        assert "log in again" in caught.value.hint
        # It is stored all the same: the person may still confirm it.
        unconfirmed = resolve(**context)
        assert unconfirmed.problem is None
    with Omni.connect(connection=unconfirmed) as omni, pytest.raises(Unauthenticated):
        omni.get("currentusers", "current")


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_says_what_is_confirmed(context):
    with Login(resolve(**context)) as login:
        url = login.start()
        status, text = fetch(url)
        assert status == 200
        assert all(fact in text for fact in (ME, login.key.fingerprint, "Reader", "Valid until"))
        # Machines that look without pressing the button change nothing.
        with pytest.raises(WaitTimeout):
            login.wait(0.1)
        fetch(*form_of(url, text))
        login.wait()
        assert "confirmed before" in fetch(url)[1]


def test_pages_of_keys_that_nobody_can_confirm(admin, emulator):
    status, text = fetch(f"{emulator.web_endpoint}/authenticate?flow=cli&public-key-id=nope")
    assert (status, "Unknown key" in text) == (404, True)
    key = PGPKey.generate("", "", "svc-ghost@example.com", 3600)
    # Nobody is told that there is no such user, but the key is not kept.
    unknown = admin.auth.register_public_key(key, "svc-ghost@example.com")
    status, text = fetch(unknown.login_url)
    assert (status, "Unknown key" in text) == (404, True)
    admin.management.create_user("svc-ghost@example.com", "Reader")
    ghost = admin.auth.register_public_key(key, "svc-ghost@example.com")
    with pytest.raises(PermissionDenied, match="is owned by"):
        admin.management.destroy_user("svc-ghost@example.com")
    status, text = fetch(ghost.login_url)
    assert (status, "There is no user svc-ghost@example.com" in text) == (403, True)
    status, text = fetch(ghost.login_url, {"public-key-id": ghost.public_key_id})
    assert (status, "is not authorized for this instance" in text) == (403, True)
    # Somebody who came later gets no key that was there before.
    admin.management.create_user("svc-ghost@example.com", "Reader")
    assert fetch(ghost.login_url, {"public-key-id": ghost.public_key_id})[0] == 403


def test_forms_of_other_sites_are_refused(admin, emulator):
    told = admin.auth.register_public_key(PGPKey.generate("", "", ME, 3600), ME)
    fields = {"public-key-id": told.public_key_id}
    assert fetch(told.login_url, fields, Origin="https://evil.example.com")[0] == 403
    assert not emulator.store.find("default", KEY_TYPE, told.public_key_id).decode().confirmed
    assert fetch(told.login_url, fields, Origin=emulator.web_endpoint)[0] == 200


def test_names_are_not_markup(admin, emulator):
    url = f"{emulator.web_endpoint}/authenticate?flow=cli&public-key-id={quote('<script>')}"
    assert "<script>" not in fetch(url)[1]


def test_an_expired_key_makes_room(context, browser):
    store = resolve(**context).key_store
    old = Path(store.save("lab", ME, PGPKey.generate("", "", ME, 3600)))
    before = old.read_text()
    with Login(resolve(**context)) as login:
        login.run(browser)
    assert old.read_text() == login.key.private_armored() != before


def test_only_people_log_in(context, emulator):
    key = {"endpoint": emulator.endpoint, "service_account_key": emulator.service_account_key, "environ": {}}
    for connection in (resolve(**{**context, "context": "anonymous"}), resolve(**key)):
        with pytest.raises(ConfigError, match="context with an identity"):
            Login(connection)


def test_waiting_before_the_start(context):
    with Login(resolve(**context)) as login, pytest.raises(OmniError, match="not been started"):
        login.wait()
    assert repr(login).startswith(f"<Login of {ME} at http")


def test_a_server_that_is_away_leaves_the_old_key(context, tmp_path):
    config = context["omniconfig"]
    lines = config.read_text().splitlines()
    config.write_text("\n".join("        url: http://127.0.0.1:1" if "url:" in line else line for line in lines))
    store = resolve(**context).key_store
    old = Path(store.save("lab", ME, PGPKey.generate("", "", ME, 3600)))
    with Login(resolve(**context)) as login, pytest.raises(APIError):
        login.start()
    assert old.exists()


# --- its parts --------------------------------------------------------------------------------------------------------


def test_the_key_of_a_login():
    key = login_key(ME, USER_KEY_LIFETIME)
    assert key.email == ME
    assert timedelta(hours=3, minutes=59) < key.expires - datetime.now(UTC) <= timedelta(hours=4, minutes=1)
    assert "/" in key.user_ids[0].partition("(")[2]


@pytest.mark.parametrize(
    ("environ", "terminal", "expected"),
    [
        ({"DISPLAY": ":0"}, True, True),
        ({"WAYLAND_DISPLAY": "w"}, True, True),
        ({"BROWSER": "firefox"}, True, True),
        ({}, True, False),
        ({"DISPLAY": ":0"}, False, False),
        ({"DISPLAY": ":0", "BROWSER": "echo"}, True, False),
        ({"DISPLAY": ":0", "CI": "true"}, True, False),
    ],
)
def test_when_a_browser_is_opened(environ, terminal, expected, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    assert may_open_browser(environ, terminal=terminal) is expected


def test_a_desktop_without_variables(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert may_open_browser({}, terminal=True)
    assert not may_open_browser({}, terminal=False)


def test_what_people_read():
    assert announcement("https://o/a", opening=True) == "Attempting to open URL: https://o/a"
    assert announcement("https://o/a", opening=False) == "Please visit this page to authenticate: https://o/a"
    assert success("ab", ME, "/k")[0] == f"Public key ab is now registered for user {ME}"


# --- omni.auth --------------------------------------------------------------------------------------------------------


def test_a_registered_key_is_confirmed_and_revoked(admin, browser, emulator):
    key = PGPKey.generate("", "", ME, 3600)
    told = admin.auth.register_public_key(key, ME)
    assert told.public_key_id == key.fingerprint
    assert admin.auth.register_public_key(key.public, ME) == told
    assert admin.auth.register_public_key(key.public_armored, ME) == told
    browser(told.login_url)
    admin.auth.await_confirmation(told.public_key_id)
    with Omni.connect(emulator.endpoint, signer=key) as mine:
        assert mine.get("currentusers", "current").spec.role == "Reader"
        mine.auth.revoke(key.fingerprint)
    with Omni.connect(emulator.endpoint, signer=key) as mine, pytest.raises(Unauthenticated):
        mine.get("currentusers", "current")
    with pytest.raises(UnknownError, match="doesn't exist"):
        admin.auth.revoke(key.fingerprint)


def test_somebody_elses_key_cannot_be_revoked(admin):
    key = PGPKey.generate("", "", ME, 3600)
    admin.auth.register_public_key(key, ME)
    with pytest.raises(PermissionDenied):
        admin.auth.revoke(key.fingerprint)


def test_a_key_with_a_role_of_its_own(admin, emulator):
    key = PGPKey.generate("", "", ME, 3600)
    admin.auth.register_public_key(key, ME, role="None")
    assert emulator.store.find("default", KEY_TYPE, key.fingerprint).decode().role == "None"
    with pytest.raises(UnknownError, match="unknown role"):
        admin.auth.register_public_key(key, ME, role="none")


def test_a_plain_key(admin):
    public = (
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt\n"
        "6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==\n-----END PUBLIC KEY-----\n"
    )
    now = datetime.now(UTC)
    told = admin.auth.register_plain_key(public, ME, not_before=now, not_after=now + timedelta(hours=1), role="Reader")
    assert len(base64.urlsafe_b64decode(told.public_key_id)) == 32


def test_confirming_takes_an_identity_providers_token(admin, emulator):
    key = PGPKey.generate("", "", ME, 3600)
    admin.auth.register_public_key(key, ME)
    with pytest.raises(UnknownError, match="missing verified email"):
        admin.auth.confirm(key.fingerprint, "")
    for token in ("no.token", emulator.identity_token(ME)[:-8] + "AAAAAAAA"):
        with pytest.raises(Unauthenticated, match="invalid jwt"):
            admin.auth.confirm(key.fingerprint, token)
    with pytest.raises(InvalidArgument, match="public key id is required"):
        admin.auth.confirm("", emulator.identity_token(ME))
    with pytest.raises(PermissionDenied, match=r'"svc-nobody@example\.com" is not authorized for this instance'):
        admin.auth.confirm(key.fingerprint, emulator.identity_token("svc-nobody@example.com"))
    with pytest.raises(PermissionDenied):
        admin.auth.confirm("ab", emulator.identity_token(ME))
    admin.management.create_user("svc-other@example.com", "Reader")
    with pytest.raises(UnknownError, match="public key <> id mismatch"):
        admin.auth.confirm(key.fingerprint, emulator.identity_token("svc-other@example.com"))
    admin.auth.confirm(key.fingerprint, emulator.identity_token(ME))
    with Omni.connect(emulator.endpoint, signer=key) as mine:
        assert mine.get("currentusers", "current").spec.identity == ME


def test_keys_that_live_too_long(admin):
    with pytest.raises(APIError, match="lifetime"):
        admin.auth.register_public_key(PGPKey.generate("", "", ME, timedelta(days=1)), ME)


def test_the_server_may_stop_waiting_first():
    """It gives up after five minutes, and is asked again."""
    expired = {
        "name": "expired",
        "rpc": "/auth.AuthService/AwaitPublicKeyConfirmation",
        "request": {"public_key_id": "ab"},
        "responses": [],
        "status": {"code": "DEADLINE_EXCEEDED", "message": "context deadline exceeded"},
    }
    confirmed = dict(expired, responses=[{}], status={"code": "OK", "message": ""})
    with recorded_server() as server, server.connect() as omni:
        server.play(expired, expired, confirmed)
        omni.auth.await_confirmation("ab", timeout=None)
        assert (server.faults, server.expected) == ([], [])


# --- omni.oidc --------------------------------------------------------------------------------------------------------


def test_a_kubernetes_clients_login():
    step = {
        "name": "authenticate",
        "rpc": "/oidc.OIDCService/Authenticate",
        "request": {"auth_request_id": "r"},
        "responses": [{"redirect_url": "http://localhost:8000/?code=c", "auth_code": "c"}],
        "status": {"code": "OK", "message": ""},
    }
    with recorded_server() as server, server.connect() as omni:
        server.play(step)
        assert omni.oidc.authenticate("r") == ("http://localhost:8000/?code=c", "c")
        assert server.faults == []


def test_a_login_that_nobody_waits_for(admin):
    with pytest.raises(PermissionDenied, match="request not found"):
        admin.oidc.authenticate("r")


def test_recordings_of_unsigned_calls_agree():
    """A login signs nothing; the record says which calls may do so."""
    allowed = {step["rpc"] for step in steps("auth-unsigned").values() if step["status"]["code"] != "UNAUTHENTICATED"}
    assert "/auth.AuthService/RegisterPublicKey" in allowed
