import base64
import json
import stat
import time
import traceback
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpgp_forge import ForgedKey

from omniherd.credentials import (
    Endpoint,
    KeyStore,
    ServiceAccount,
    check_user_key,
    resolve,
    service_account_identity,
    service_account_name,
)
from omniherd.errors import ConfigError, ContextNotFound, CredentialError, KeyExpired
from omniherd.omniconfig import Context, OmniConfig
from omniherd.signing import PGPKey, Signer

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
URL = "https://omni.example.com"


@pytest.fixture(scope="module")
def key():
    return PGPKey.generate("omniherd", "", "me@example.com", timedelta(hours=4))


@pytest.fixture(scope="module")
def account(key):
    return ServiceAccount("ci", key).encode()


@pytest.fixture
def environ(tmp_path):
    return {"HOME": str(tmp_path)}


def save_config(tmp_path, current="lab", **contexts):
    path = tmp_path / ".talos/omni/config"
    OmniConfig(str(path), contexts, current).save()
    return path


@pytest.mark.parametrize(
    ("url", "host", "port", "tls", "target"),
    [
        ("https://omni.example.com", "omni.example.com", 443, True, "omni.example.com:443"),
        ("HTTPS://Omni.Example.com/path", "omni.example.com", 443, True, "omni.example.com:443"),
        ("https://localhost:8099", "localhost", 8099, True, "localhost:8099"),
        ("grpc://127.0.0.1:8080", "127.0.0.1", 8080, False, "127.0.0.1:8080"),
        ("http://h", "h", 80, False, "h:80"),
        ("grpc://h", "h", 80, False, "h:80"),
        ("other://h", "h", 80, False, "h:80"),
        ("https://[::1]", "::1", 443, True, "[::1]:443"),
        ("http://h:0", "h", 0, False, "h:0"),
    ],
)
def test_endpoints(url, host, port, tls, target):
    endpoint = Endpoint.parse(url)
    assert (endpoint.host, endpoint.port, endpoint.tls, endpoint.url) == (host, port, tls, url)
    assert endpoint.target == target


@pytest.mark.parametrize(
    "url", ["", "omni.example.com", "https://", "//h", "https://h:x", "https://h:99999", "https://[::1", "https://a b"]
)
def test_what_is_no_endpoint(url):
    with pytest.raises(ConfigError, match=r"^server URL ") as caught:
        Endpoint.parse(url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("x", "x@serviceaccount.omni.sidero.dev"),
        ("infra-provider:x", "x@infra-provider.serviceaccount.omni.sidero.dev"),
        ("", "@serviceaccount.omni.sidero.dev"),
    ],
)
def test_identities_of_accounts(name, identity):
    assert service_account_identity(name) == identity
    assert service_account_name(identity) == name


def test_a_person_is_no_account():
    assert service_account_name("me@example.com") is None


def test_a_service_account_key_survives(key, account):
    read = ServiceAccount.decode(account)
    assert (read.name, read.key.identity, read.key.fingerprint) == ("ci", "ci", key.fingerprint)
    assert json.loads(base64.b64decode(account)).keys() == {"name", "pgp_key"}
    assert ServiceAccount.decode(account[:40] + "\r\n" + account[40:] + "\n").name == "ci"
    body = max(key.private_armored().splitlines()[3:], key=len)
    for text in (repr(read), str(read), repr(ServiceAccount("ci", key))):
        assert body not in text
        assert "PRIVATE" not in text


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not base64!", "illegal base64 data at input byte 3"),
        ("", "unexpected end of JSON input"),
        ("\n", "unexpected end of JSON input"),
        ("e30=", "gopenpgp: the key does not contain any entity"),
        (encoded('{"name":"x"'), "unexpected end of JSON input"),
        (encoded('{"name":"x'), "unexpected end of JSON input"),
        (encoded("{x}"), "invalid character in the service account key's JSON"),
        (encoded("[]"), "the service account key is no JSON object"),
        (encoded("[" * 100_000), "the service account key is no JSON object"),
        (encoded('{"name":1}'), "the service account key holds something other than texts"),
        (encoded('{"pgp_key":{}}'), "the service account key holds something other than texts"),
        (encoded('{"name":null,"pgp_key":null}'), "gopenpgp: the key does not contain any entity"),
        (encoded('{"pgp_key":"x"}'), "gopenpgp: error in reading key ring: openpgp: invalid data: tag byte does not"),
    ],
)
def test_malformed_service_account_keys(text, message):
    with pytest.raises(CredentialError) as caught:
        ServiceAccount.decode(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("e30", 0),
        ("e30=x", 4),
        ("e30==", 4),
        ("e3=0", 2),
        ("e3==", None),
        ("e3=", 3),
        ("e3=\n=", None),
        ("e3=\nx", 3),
        ("e30=\n", None),
        ("e30=\ne", 5),
        ("=", 0),
        ("e===", 1),
        ("e30=e30=", 4),
        ("AAAAe", 4),
        ("AAAA\ne", 5),
        ("AAAAe\n", 5),
        ("AA-_", 2),
        ("żAAA", 0),
        (" e30=", 0),
    ],
)
def test_base64_errors_name_the_byte_that_go_names(text, offset):
    with pytest.raises(CredentialError) as caught:
        ServiceAccount.decode(text)
    wanted = "illegal base64 data at input byte"
    assert str(caught.value).startswith(wanted) is (offset is not None)
    if offset is not None:
        assert str(caught.value) == f"{wanted} {offset}"


@given(st.text(max_size=40))
def test_any_text_is_refused_by_one_kind_of_error(text):
    with pytest.raises(CredentialError):
        ServiceAccount.decode(text)


def test_an_error_does_not_carry_the_key(key):
    armored = key.private_armored()
    whole = json.dumps({"name": "ci", "pgp_key": armored})
    for text in (encoded(whole[:-3]), encoded(whole[:-1] + "!"), encoded(json.dumps({"pgp_key": armored[:200]}))):
        with pytest.raises(CredentialError) as caught:
            ServiceAccount.decode(text)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
        assert armored[60:120].splitlines()[-1] not in shown


def test_explicit_arguments_come_first(key, account, environ):
    environ |= {"OMNI_SERVICE_ACCOUNT_KEY": "not base64!", "OMNI_ENDPOINT": "https://env"}
    found = resolve(endpoint=URL, signer=key, environ=environ)
    assert (found.kind, found.signer, found.identity) == ("explicit", key, "me@example.com")
    assert found.endpoint.target == "omni.example.com:443"
    found = resolve(service_account_key=account, environ=environ)
    assert (found.kind, found.identity, found.endpoint.host) == ("service-account", "ci", "env")
    assert isinstance(found.require_signer(), Signer)
    assert found.require_signer().fingerprint == key.fingerprint
    assert not Path(environ["HOME"], ".talos").exists()


def test_the_first_variable_that_is_set_wins(key, account, environ):
    environ |= {"OMNI_SERVICE_ACCOUNT_KEY": account, "OMNI_ENDPOINT": URL}
    assert resolve(environ=environ, context="whatever").kind == "service-account"
    with pytest.raises(CredentialError, match="unexpected end of JSON input"):
        resolve(environ=environ | {"SIDERO_SERVICE_ACCOUNT_KEY": ""})
    with pytest.raises(CredentialError, match="does not contain any entity"):
        resolve(environ=environ | {"SIDERO_SERVICE_ACCOUNT_KEY": "e30="})
    environ["OMNI_SERVICE_ACCOUNT_KEY"] = "e30="
    with pytest.raises(CredentialError) as caught:
        resolve(environ=environ)
    assert caught.value.hint == "OMNI_SERVICE_ACCOUNT_KEY is not what a service account's key looks like"
    with pytest.raises(CredentialError) as caught:
        resolve(environ=environ, service_account_key="e30=")
    assert caught.value.hint is None
    assert resolve(environ=environ | {"SIDERO_SERVICE_ACCOUNT_KEY": account}).identity == "ci"


def test_the_process_environment_is_the_default(monkeypatch, account):
    monkeypatch.setenv("SIDERO_SERVICE_ACCOUNT_KEY", account)
    monkeypatch.setenv("OMNI_ENDPOINT", URL)
    assert resolve().identity == "ci"


def test_a_key_needs_an_endpoint(account, environ, key):
    for arguments in ({"service_account_key": account}, {"signer": key}):
        with pytest.raises(ConfigError, match="no server is given") as caught:
            resolve(environ=environ, **arguments)
        assert "OMNI_ENDPOINT" in caught.value.hint


def test_the_config_is_made_on_request_even_when_not_needed(account, environ, tmp_path):
    environ |= {"OMNI_SERVICE_ACCOUNT_KEY": account, "OMNI_ENDPOINT": URL}
    resolve(environ=environ, create_config=True)
    assert OmniConfig.load(tmp_path / ".talos/omni/config").context() == Context()


def test_a_missing_config(environ, tmp_path):
    with pytest.raises(ConfigError, match=r"^open .*/\.talos/omni/config: no such file or directory$"):
        resolve(environ=environ)
    found = resolve(environ=environ, create_config=True)
    assert (found.kind, found.endpoint.target, found.context) == ("anonymous", "127.0.0.1:8080", "default")
    assert found.require_signer() is None


def test_a_person_with_a_key(environ, tmp_path, key):
    save_config(tmp_path, lab=Context(URL, "me@example.com"), other=Context("http://other"))
    KeyStore.locate(environ=environ).save("lab", "me@example.com", key)
    found = resolve(environ=environ)
    assert (found.kind, found.context, found.identity, found.problem) == ("user", "lab", "me@example.com", None)
    assert found.require_signer().fingerprint == key.fingerprint
    assert "PRIVATE" not in repr(found)
    moved = resolve(environ=environ | {"OMNI_ENDPOINT": "https://elsewhere"})
    assert (moved.endpoint.host, moved.kind) == ("elsewhere", "user")
    assert resolve(environ=environ, context="other").endpoint.target == "other:80"
    with pytest.raises(ContextNotFound, match=r"^context not found: nope$"):
        resolve(environ=environ, context="nope")


def test_a_person_without_a_key(environ, tmp_path):
    save_config(tmp_path, lab=Context(URL, "me@example.com"))
    found = resolve(environ=environ)
    assert (found.signer, found.kind) == (None, "user")
    path = tmp_path / ".talos/keys/lab-me@example.com.pgp"
    with pytest.raises(CredentialError) as caught:
        found.require_signer()
    assert str(caught.value) == f"open {path}: no such file or directory"
    assert "log in" in caught.value.hint
    found.key_store.save("lab", "me@example.com", PGPKey.generate("", "", "me@example.com", 600))
    assert resolve(environ=environ).require_signer() is not None


def test_an_unfinished_context_with_basic_auth(environ, tmp_path):
    save_config(tmp_path, "p", p=Context("<placeholder_url>", basic="eA=="))
    with pytest.raises(ConfigError) as caught:
        resolve(environ=environ)
    assert str(caught.value) == 'context "p" has not been configured, you will need to set it manually'
    assert caught.value.details["notices"] == ("[WARN] basic auth is deprecated and has no effect",)
    found = resolve(environ=environ, endpoint=URL)
    assert found.notices == ("[WARN] basic auth is deprecated and has no effect",)


def test_places_of_keys(environ, tmp_path):
    talos, legacy = str(tmp_path / ".talos/keys"), str(tmp_path / ".local/share/omni/keys")
    assert repr(KeyStore.locate(environ=environ)) == f"KeyStore({talos!r}, legacy={legacy!r})"
    environ |= {"TALOS_HOME": "/th", "XDG_DATA_HOME": "/xdg"}
    assert KeyStore.locate(environ=environ).directory == "/th/keys"
    assert KeyStore.locate(environ=environ).legacy == "/xdg/omni/keys"
    assert KeyStore.locate("kd", environ).path("lab", "me@x") == "kd/lab-me@x.pgp"
    assert KeyStore.locate("kd", environ | {"SIDEROV1_KEYS_DIR": "kd3"}).directory == "kd3"
    assert KeyStore.locate("kd", environ).legacy is None
    assert KeyStore.locate(environ={}).directory == str(Path.home() / ".talos/keys")


def test_keys_are_saved_found_and_deleted(environ, tmp_path, key):
    store = KeyStore.locate(environ=environ)
    with pytest.raises(CredentialError, match=r"^open .*lab-me@x\.pgp: no such file or directory$"):
        store.load("lab", "me@x")
    assert store.delete("lab", "me@x") is False
    path = store.save("lab", "me@x", key)
    assert path == str(tmp_path / ".talos/keys/lab-me@x.pgp")
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(store.directory).stat().st_mode) == 0o700
    assert store.load("lab", "me@x").identity == "me@x"
    assert store.delete("lab", "me@x") is True
    assert not Path(path).exists()


def test_the_old_directory_is_read_and_deleted_from_but_not_written(environ, tmp_path, key):
    store = KeyStore.locate(environ=environ)
    old = Path(KeyStore(store.legacy).save("lab", "me@x", key))
    assert store.find("lab", "me@x") == str(old)
    assert store.load("lab", "me@x").fingerprint == key.fingerprint
    assert store.delete("lab", "me@x") is True
    assert not old.exists()
    KeyStore(store.legacy).save("lab", "me@x", key)
    new = store.save("lab", "me@x", PGPKey.generate("", "", "me@x", 60))
    assert store.find("lab", "me@x") == new
    assert store.load("lab", "me@x").fingerprint != key.fingerprint


def test_the_store_reports_what_the_system_says(tmp_path, key):
    (tmp_path / "file").touch()
    store = KeyStore(tmp_path / "file")
    with pytest.raises(CredentialError, match=r"^open .*: not a directory$"):
        store.load("lab", "me@x")
    with pytest.raises(CredentialError, match=r"^open .*: "):
        store.save("lab", "me@x", key)
    with pytest.raises(CredentialError, match=r"^remove .*: not a directory$"):
        store.delete("lab", "me@x")


@pytest.mark.parametrize("context", ["../x", "a/b", "a\0b"])
def test_names_do_not_lead_out_of_the_directory(tmp_path, context):
    with pytest.raises(CredentialError, match="no file can be named"):
        KeyStore(tmp_path).load(context, "me@x")


HOUR = 3600


@pytest.mark.parametrize(
    ("age", "options", "kind", "text"),
    [
        (60, {"lifetime": 4 * HOUR}, None, None),
        (60, {"lifetime": 8 * HOUR + 100}, None, None),
        (60, {"lifetime": 8 * HOUR + 130}, CredentialError, "lifetime is too long"),
        (4 * HOUR + 290, {"lifetime": 4 * HOUR}, None, None),
        (4 * HOUR + 310, {"lifetime": 4 * HOUR}, KeyExpired, "key expired"),
        (60, {"lifetime": None}, CredentialError, "does not contain a valid key lifetime"),
        (60, {"user_id": "nobody"}, CredentialError, "does not contain a valid email address"),
        (60, {"flags": 1}, CredentialError, "cannot sign"),
        (60, {"revoked": True}, CredentialError, "key is revoked"),
    ],
)
def test_which_keys_of_people_are_usable(age, options, kind, text):
    now = int(time.time())
    made = PGPKey.from_armored(ForgedKey(now - age, **options).private)
    if kind is None:
        check_user_key(made, now)
    else:
        with pytest.raises(kind, match=text):
            check_user_key(made, now)


def test_a_key_with_a_passphrase_is_not_usable():
    now = int(time.time())
    with pytest.raises(CredentialError, match="cannot sign"):
        check_user_key(PGPKey.from_armored(ForgedKey(now - 10).locked), now)


def test_the_store_refuses_a_used_up_key(tmp_path):
    store = KeyStore(tmp_path)
    (tmp_path / "lab-me@x.pgp").write_text(ForgedKey(1_700_000_000).private_armored)
    with pytest.raises(KeyExpired):
        store.load("lab", "me@x")
    assert store.load("lab", "me@x", now=1_700_000_100).identity == "me@x"


STEPS = [
    step
    for name in ("g13-connect-errors.json", "g40-user-login-flow.json")
    for step in json.loads((GOLDEN / name).read_text())["steps"]
]


@pytest.mark.parametrize("number", range(len(STEPS)))
def test_recorded_errors_before_anything_is_sent(tmp_path, monkeypatch, account, number):
    step = STEPS[number]
    written = next((other["write"] for other in STEPS[number::-1] if "write" in other), {})
    monkeypatch.chdir(tmp_path)
    for path, text in written.items():
        Path(path).write_text(text)
    environ = {"HOME": str(tmp_path / "home"), "OMNI_SERVICE_ACCOUNT_KEY": account, "OMNI_ENDPOINT": URL}
    for name, value in step.get("env", {}).items():
        environ.pop(name, None)
        if value is not None:
            environ[name] = value
    flags = {flag: step["args"][step["args"].index(flag) + 1] for flag in step["args"] if flag.startswith("--")}
    options = {
        "context": flags.get("--context"),
        "omniconfig": flags.get("--omniconfig"),
        "keys_dir": flags.get("--siderov1-keys-dir"),
    }
    stderr = step["expect"]["stderr"].replace("<CWD>", str(tmp_path))
    sent = "rpc error" in stderr or not stderr
    if "Could not authenticate: " in stderr:
        problem = resolve(create_config=True, environ=environ, **options).problem
        assert f"Could not authenticate: {problem}\n" in stderr
    elif sent and "missing address" not in stderr:
        assert resolve(create_config=True, environ=environ, **options).problem is None
    else:
        with pytest.raises(ConfigError) as caught:
            resolve(create_config=True, environ=environ, **options)
        notices = "".join(f"{line}\n" for line in caught.value.details.get("notices", ()))
        # Without an address omnictl fails in its connection; we say what is missing.
        assert "missing address" in stderr or f"{notices}Error: {caught.value}\n" == stderr
