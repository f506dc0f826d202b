"""People's logins on the way to a command."""

from __future__ import annotations

import re
import signal
import stat
import sys
import time

import pytest
from command_shell import Shell
from openpgp_forge import ForgedKey

from login_page import PAGE, config_of, log_in, press
from omniherd.cli import login as cli_login
from omniherd.cli import main as cli
from omniherd.credentials import KeyStore, resolve
from omniherd.emulator import Emulator
from omniherd.signing import PGPKey

ME = "cli-login@example.com"
GET = ("get", "currentuser", "-o", "jsonpath={.spec.identity}")


@pytest.fixture(scope="module")
def emulator():
    with Emulator(seed_fleet=False) as running, running.connect() as omni:
        omni.management.create_user(ME, "Reader")
        yield running


@pytest.fixture
def shell(emulator, tmp_path):
    (tmp_path / "oc.yaml").write_text(config_of(emulator.endpoint, ME))
    return Shell(tmp_path, {"OMNICONFIG": "oc.yaml", "SIDEROV1_KEYS_DIR": str(tmp_path / "keys")})


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "keys" / f"lab-{ME}.pgp"


def lines_of(shell, why, err):
    """Assert omnictl's lines, and return the key's fingerprint."""
    fingerprint = re.search(r"public-key-id=([0-9a-f]{40})", err)[1]
    path = shell.home / "keys" / f"lab-{ME}.pgp"
    lines = err.splitlines()
    assert lines[0] == f"Could not authenticate: {why}"
    assert lines[1].startswith(PAGE)
    assert lines[2:] == [
        f"Public key {fingerprint} is now registered for user {ME}",
        f"PGP key saved to {path}",
    ]
    return fingerprint


def test_a_missing_key(shell, key_file):
    code, out, err = log_in(shell.start(*GET, BROWSER="echo"))
    assert (code, out) == (0, f"{ME}\n")
    lines_of(shell, f"open {key_file}: no such file or directory", err)
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    # The next command finds it.
    assert shell(*GET) == (0, f"{ME}\n", "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (PGPKey.generate("", "", ME, 24 * 3600).private_armored(), "key lifetime is too long: 24h1m0s"),
        ("nonsense", r"gopenpgp: .*"),
        ("", "gopenpgp: the key does not contain any entity"),
    ],
    ids=["lifetime", "nonsense", "empty"],
)
def test_a_key_that_is_no_good(shell, key_file, content, why):
    key_file.parent.mkdir(mode=0o700)
    key_file.write_text(content)
    code, out, err = log_in(shell.start(*GET, BROWSER="echo"))
    assert (code, out) == (0, f"{ME}\n")
    assert re.match(f"Could not authenticate: {why}\n", err), err
    assert key_file.read_text() != content


def test_a_key_that_the_server_does_not_take(shell, key_file, emulator):
    """Such as one that was never confirmed, or is revoked: the answer to a signed call leads to the login, once."""
    KeyStore(key_file.parent).save("lab", ME, PGPKey.generate("", "", ME, 3600))
    code, out, err = log_in(shell.start(*GET, BROWSER="echo"))
    assert (code, out) == (0, f"{ME}\n")
    fingerprint = lines_of(shell, "rpc error: code = Unauthenticated desc = invalid signature", err)
    # Even where a command makes no call of its own first.
    emulator.store.remove("default", "PublicKeys.omni.sidero.dev", fingerprint)
    code, out, err = log_in(shell.start("version", BROWSER="echo"))
    assert (code, err.count(PAGE)) == (0, 1)


def test_a_key_that_has_just_expired(shell, key_file):
    """The server would still take it from a client whose clock is late; nothing signs with it any more."""
    key = ForgedKey(int(time.time()) - 4 * 3600 - 180, lifetime=4 * 3600, user_id=f"me <{ME}>")
    key_file.parent.mkdir(mode=0o700)
    key_file.write_text(key.private_armored)
    code, out, err = log_in(shell.start(*GET, BROWSER="echo"))
    assert (code, out) == (0, f"{ME}\n")
    assert err.startswith(f"Could not authenticate: key {key.fingerprint} expired")


def test_nobody_is_waited_for_off_a_terminal(shell, key_file):
    code, out, err = shell(*GET)
    assert (code, out) == (1, "")
    url = re.search(r"\(confirm it at (\S+), then run the command again\)", err)[1]
    assert err.splitlines()[1:] == [
        f"Error: open {key_file}: no such file or directory",
        f"a new key waits for its owner (confirm it at {url}, then run the command again)",
    ]
    press(url)
    assert shell(*GET) == (0, f"{ME}\n", "")


def test_service_accounts_never_log_in(shell, emulator):
    key = emulator.add_service_account("cli-login-gone", "Reader")
    with emulator.connect() as omni:
        omni.management.destroy_service_account("cli-login-gone")
    environ = {"OMNI_ENDPOINT": emulator.endpoint, "OMNI_SERVICE_ACCOUNT_KEY": key, "BROWSER": "echo"}
    code, out, err = shell(*GET, **environ)
    assert (code, out) == (1, "")
    assert "Could not authenticate" not in err
    assert "invalid signature" in err


def test_an_interrupted_login_can_be_confirmed_later(shell, key_file):
    process = shell.start(*GET, BROWSER="echo")
    told = process.stderr.readline()
    page = process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 1
    why = f"open {key_file}: no such file or directory"
    assert told == f"Could not authenticate: {why}\n"
    assert rest == f"Error: {why}\nrpc error: code = Canceled desc = context canceled\n"
    press(page.removeprefix(PAGE).strip())
    assert shell(*GET)[0] == 0


def test_a_server_that_is_away(shell, tmp_path):
    text = (tmp_path / "oc.yaml").read_text()
    (tmp_path / "oc.yaml").write_text(re.sub("url: .*", "url: http://127.0.0.1:1", text))
    code, _, err = shell(*GET, BROWSER="echo")
    assert code == 1
    assert err.splitlines()[-1].startswith("rpc error: code = Unavailable")


@pytest.fixture
def terminal(shell, monkeypatch):
    """A terminal on a desktop, in this process; returns what the browser was asked to open."""
    for name in ("OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "SIDERO_SERVICE_ACCOUNT_KEY", "BROWSER", "CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**shell.environ, "DISPLAY": ":0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(shell.home)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    kept = signal.getsignal(signal.SIGTERM)
    yield []
    signal.signal(signal.SIGTERM, kept)


@pytest.mark.parametrize("works", [True, False])
def test_a_browser_opens_on_a_desktop(terminal, monkeypatch, capsys, works):
    def browse(url):
        terminal.append(url)
        press(url)
        return works

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.run(GET) == 0
    err = capsys.readouterr().err
    assert len(terminal) == 1
    assert f"Attempting to open URL: {terminal[0]}\n" in err
    assert (f"{PAGE}{terminal[0]}\n" in err) is not works


def test_a_login_that_nobody_finishes(terminal, monkeypatch, capsys):
    monkeypatch.setattr("webbrowser.open", lambda url: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr("omniherd.Login.wait.__defaults__", (0.1,))
    assert cli.run(GET) == 1
    assert "nobody confirmed the key" in capsys.readouterr().err


def test_who_is_watched(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert cli_login.unwatched({})
    assert not cli_login.unwatched({"BROWSER": "echo"})
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert not cli_login.unwatched({})


def test_what_is_stored_is_what_the_library_finds(shell, emulator):
    log_in(shell.start(*GET, BROWSER="echo"))
    found = resolve(
        omniconfig=shell.home / "oc.yaml", environ={k: v for k, v in shell.environ.items() if k != "OMNI_ENDPOINT"}
    )
    assert found.problem is None
    assert found.signer.identity == ME
