"""People's logins: omnictl's and ours, on the emulator's page, one using the key of the other."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import login_page
from omniherd.credentials import KeyStore
from omniherd.emulator import Emulator
from omniherd.signing import PGPKey
from unit.openpgp_forge import ForgedKey

OURS = Path(sys.executable).parent / "omniherd"
ME = "both@example.com"
HOUR = 3600
GET = ("get", "currentusers", "current", "-o", "jsonpath={.spec.identity}")


@pytest.fixture
def person(emulator, environment, tmp_path):
    """The environment of a person who has a context and no key."""
    with emulator.connect() as omni:
        omni.management.create_user(ME, "Reader")
    (tmp_path / "oc.yaml").write_text(login_page.config_of(emulator.endpoint, ME))
    kept = {name: value for name, value in environment.items() if not name.startswith("OMNI_")}
    return {**kept, "OMNICONFIG": str(tmp_path / "oc.yaml"), "BROWSER": "echo"}


@pytest.fixture
def log_in(person, tmp_path):
    """Run a program, confirm the key when it asks for it; return exit code, output and errors."""

    def call(program, *arguments):
        process = subprocess.Popen(
            [program, *arguments],
            cwd=tmp_path,
            env=person,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        code, out, err = login_page.log_in(process)
        return code, out, re.sub(r"[0-9a-f]{40}", "FINGERPRINT", err)

    return call


def test_each_uses_the_key_of_the_other(omnictl, log_in, run, person, tmp_path):
    key = tmp_path / ".talos" / "keys" / f"lab-{ME}.pgp"
    told = {}
    for first, second in ((omnictl, OURS), (OURS, omnictl)):
        code, out, err = log_in(first, *GET)
        assert (code, out) == (0, f"{ME}\n"), err
        assert run(second, *GET, env=person) == (0, f"{ME}\n", "")
        told[first] = err
        key.unlink()
    assert told[OURS] == told[omnictl]
    assert f"PGP key saved to {key}" in told[OURS]


def test_one_port_for_programs_and_pages(omnictl, environment, run):
    """As on real servers: the first bytes of a connection, or ALPN, tell gRPC from a browser."""
    for tls in (False, True):
        with Emulator(single_port=True, tls=tls) as emulator:
            variables = {**environment, **emulator.environment()}
            flags = ["--insecure-skip-tls-verify"] if tls else []
            theirs = run(omnictl, *flags, "get", "clusters", env=variables)
            assert theirs == run(OURS, *flags, "get", "clusters", env=variables)
            assert theirs[1].count("\n") == 4


def test_a_key_that_the_server_does_not_take(omnictl, log_in, tmp_path):
    told = []
    for program in (omnictl, OURS):
        KeyStore(tmp_path / ".talos" / "keys").save("lab", ME, PGPKey.generate("", "", ME, 3600))
        code, out, err = log_in(program, *GET)
        assert (code, out) == (0, f"{ME}\n"), err
        told.append(err)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "key",
    [
        {"age": 5 * HOUR, "lifetime": 4 * HOUR},
        {"age": 60, "lifetime": None},
        {"age": 60, "lifetime": 9 * HOUR},
        {"age": 60, "lifetime": 4 * HOUR, "user_id": "nobody"},
        {"age": 60, "lifetime": 4 * HOUR, "revoked": True},
    ],
    ids=["expired", "endless", "long", "nameless", "revoked"],
)
def test_a_key_that_is_no_good(omnictl, log_in, tmp_path, key):
    path = tmp_path / ".talos" / "keys" / f"lab-{ME}.pgp"
    path.parent.mkdir(parents=True)
    options = {"user_id": f"me <{ME}>", **key}
    text = ForgedKey(int(time.time()) - options.pop("age"), **options).private_armored
    told = []
    for program in (omnictl, OURS):
        path.write_text(text)
        code, out, err = log_in(program, *GET)
        assert (code, out) == (0, f"{ME}\n"), err
        told.append(err)
    assert told[0] == told[1]
