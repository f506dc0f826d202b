"""Logins of Kubernetes clients at the emulator: the page, who gets which groups, and what no recording shows."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from login_page import fetch, form_of
from omniherd.emulator import Emulator
from omniherd.emulator.rsa import RSAKey
from omniherd.emulator.tokens import TokenSigner

VERIFIER = "a-secret-of-the-clients-own-that-is-long-enough"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
CLIENT = "http://localhost:8000"
OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"


@pytest.fixture(scope="module")
def emulator():
    with Emulator() as running, running.connect() as omni:
        for name, role in (("reader", "Reader"), ("operator", "Operator"), ("nobody", "None")):
            omni.management.create_user(f"{name}@example.com", role)
        yield running


def ask(emulator, method, path, form=None, **headers):
    """Make a request without following where it leads."""
    connection = http.client.HTTPConnection(urlsplit(emulator.web_endpoint).netloc, timeout=10)
    connection.request(method, path, None if form is None else urlencode(form), headers)
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    return response.status, response.headers.get("location", ""), text


def begin(emulator, **changes):
    """Begin a login as kubectl does; return the path of the page."""
    asked = {
        "client_id": "native",
        "response_type": "code",
        "scope": "openid cluster:prod",
        "redirect_uri": CLIENT,
        "state": "mine",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        **changes,
    }
    status, location, text = ask(emulator, "GET", f"/oidc/authorize?{urlencode(asked)}")
    assert status == 302, text
    return location


def give(emulator, code, **changes):
    form = {"grant_type": "authorization_code", "code": code, "client_id": "native", "redirect_uri": CLIENT}
    return ask(emulator, "POST", "/oidc/oauth/token", {**form, "code_verifier": VERIFIER, **changes})


def log_in(emulator, identity, **changes):
    """Go through the page as a person does; return the claims of the token."""
    page = begin(emulator, **changes)
    status, location, _ = ask(emulator, "POST", page, {"identity": identity})
    assert status == 303
    status, location, _ = ask(emulator, "GET", location.removeprefix(emulator.web_endpoint))
    answer = dict(parse_qsl(urlsplit(location).query))
    assert (status, answer["state"], location.startswith(f"{CLIENT}?")) == (302, "mine", True)
    status, _, text = give(emulator, answer["code"])
    assert status == 200, text
    found = json.loads(text)
    return claims_of(found["id_token"]), found["access_token"]


def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_the_page_asks_who_it_is(emulator):
    url = emulator.web_endpoint + begin(emulator)
    status, text = fetch(url)
    assert status == 200
    assert '<label for="identity">Log in as</label>' in text
    assert "<option>reader@example.com</option>" in text
    assert "openid cluster:prod" in text
    action, fields = form_of(url, text)
    assert (action, fields) == (url, [])
    assert fetch(action, {"identity": "svc-nobody@example.com"})[0] == 403
    assert fetch(action, {"identity": "reader@example.com"}, Origin="https://evil.example.com")[0] == 403
    assert fetch(emulator.web_endpoint + "/omni/oidc-login/nope")[0] == 404


@pytest.mark.parametrize(
    ("identity", "groups"),
    [("reader@example.com", None), ("operator@example.com", ["system:masters"]), ("nobody@example.com", None)],
)
def test_groups_follow_the_role(emulator, identity, groups):
    claims, access = log_in(emulator, identity)
    assert (claims["sub"], claims["cluster"], claims["groups"]) == (identity, "prod", groups)
    status, _, text = ask(emulator, "GET", "/oidc/userinfo", Authorization=f"Bearer {access}")
    assert (status, json.loads(text)) == (200, {"cluster": "prod", "groups": groups, "sub": identity})


def test_an_access_policy_adds_groups_and_roles():
    rule = {"users": ["reader@example.com"], "clusters": ["prod"], "role": "Operator"}
    rule["kubernetes"] = {"impersonate": {"groups": ["viewers"]}}
    with Emulator() as emulator, emulator.connect() as omni:
        omni.management.create_user("reader@example.com", "Reader")
        emulator.store.put("AccessPolicies.omni.sidero.dev", "access-policy", {"rules": [rule]})
        assert log_in(emulator, "reader@example.com")[0]["groups"] == ["viewers", "system:masters"]
        other, _ = log_in(emulator, "reader@example.com", scope="openid cluster:staging")
        assert other["groups"] is None


def test_a_code_to_type_in(emulator):
    url = emulator.web_endpoint + begin(emulator, redirect_uri=OUT_OF_BAND)
    status, text = fetch(url, {"identity": "operator@example.com"})
    code = re.search(r"<dd>([0-9a-f]{6})</dd>", text)[1]
    assert status == 200
    assert give(emulator, code, redirect_uri=OUT_OF_BAND)[0] == 200
    assert give(emulator, code, redirect_uri=OUT_OF_BAND)[0] == 400


def test_a_client_of_the_api_logs_in(emulator):
    id_ = begin(emulator).rpartition("/")[2]
    with emulator.connect() as omni:
        told = omni.oidc.authenticate(id_)
    assert told.redirect_url == f"{emulator.web_endpoint}/oidc/authorize/callback?id={id_}"


def test_a_challenge_in_plain_text(emulator):
    claims, _ = log_in(emulator, "reader@example.com", code_challenge=VERIFIER, code_challenge_method="plain")
    assert claims["sub"] == "reader@example.com"


def test_a_kubeconfig_leads_here(emulator):
    with emulator.connect() as omni:
        text = omni.management.kubeconfig("prod")
    issuer = re.search(r"--oidc-issuer-url=(\S+)", text)[1]
    assert json.loads(fetch(f"{issuer}/.well-known/openid-configuration")[1])["issuer"] == issuer


@pytest.mark.parametrize("path", ["/oidc/revoke", "/oidc/oauth/introspect", "/oidc/device_authorization"])
def test_what_is_missing_says_so(emulator, path):
    assert ask(emulator, "POST", path, {"token": "x"})[::2] == (501, f"{path} is not emulated\n")


@pytest.mark.parametrize(
    "redirect", ["http://10.0.0.1:8000", "https://localhost:8000", "http://localhost:8000/x", "x", "http://["]
)
def test_clients_elsewhere_get_nothing(emulator, redirect):
    asked = {"client_id": "native", "response_type": "code", "scope": "openid", "redirect_uri": redirect}
    status, location, text = ask(emulator, "GET", f"/oidc/authorize?{urlencode(asked)}")
    assert (status, location, text.startswith("The requested redirect_uri is missing")) == (400, "", True)


def test_tokens_expire():
    now = [1_800_000_000]
    with Emulator(seed_fleet=False, clock=lambda: now[0] * 10**9) as emulator:
        _, access = log_in(emulator, "automation@serviceaccount.omni.sidero.dev")
        token = emulator.identity_token("me@example.com")
        tokens = emulator._keyring.tokens
        assert tokens.verified_email(token, now[0]) == "me@example.com"
        now[0] += 3600
        assert tokens.verified_email(token, now[0]) is None
        assert ask(emulator, "GET", "/oidc/userinfo", Authorization=f"Bearer {access}")[0] == 401


def test_tokens_of_others_are_none():
    mine, other = TokenSigner(), TokenSigner()
    token = other.identity_token("me@example.com", 0)
    assert mine.verified_email(token, 0) is None
    mine.public()
    assert mine.verified_email(token, 0) is None
    assert other.verified_email(token, 0) == "me@example.com"
    assert other.verified_email(other.sign({"iss": "somebody", "exp": 9}), 0) is None
    for broken in ("", "a", "a.b.c", token + "x", token.replace(".", "", 1), "ä.ö.ü"):
        assert other.verified_email(broken, 0) is None


def test_signatures_are_the_keys_own():
    key = RSAKey.generate()
    signature = key.sign(b"data")
    assert key.verify(b"data", signature)
    assert not key.verify(b"other", signature)
    assert not key.verify(b"data", signature[:-1])
    assert not key.verify(b"data", b"\xff" * 256)
