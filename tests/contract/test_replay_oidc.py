"""The recorded logins of Kubernetes clients at a real Omni v1.9.3 server, replayed against the emulator."""

import base64
import hashlib
import html
import http.client
import json
import re
import ssl
import time
from urllib.parse import parse_qsl, urlsplit

import pytest
from recording_player import judge, load, new_emulator

from omniherd.credentials import ServiceAccount
from omniherd.signing import sign_headers

RECORDED = "https://localhost:8099"
COMPARED = ("content-type", "location", "x-content-type-options")
NAME = re.compile(r"<(?:request|code|access) \w+>")


@pytest.mark.parametrize("tls", [False, True])
def test_steps_agree(tls):
    with new_emulator(tls=tls) as emulator:
        session = Session(emulator)
        results = [(number, step["name"], session.play(step)) for number, step in enumerate(load("oidc")["steps"])]
    judge("oidc", results)


class Session:
    """One client: it learns the names that the record gives to ids, codes and tokens."""

    def __init__(self, emulator):
        self.emulator = emulator
        self.names = {}
        self.key = ServiceAccount.decode(emulator.service_account_key).key

    def fill(self, text):
        return NAME.sub(lambda found: self.names[found[0]], text)

    def request(self, method, path, body, headers):
        address = urlsplit(self.emulator.web_endpoint)
        if address.scheme == "https":
            context = ssl.create_default_context(cadata=self.emulator.certificate.decode())
            connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        data = response.read().decode()
        connection.close()
        return response, data

    def play(self, step):
        """Return what differs between the emulator and the record, as texts."""
        asked, wanted = step["http"], step["response"]
        headers = {name: self.fill(value) for name, value in asked["headers"]}
        if "signed_for" in step:
            made = sign_headers(self.key, step["signed_for"], [], int(time.time()))
            headers |= {f"Grpc-Metadata-{name}": value for name, value in made}
        body = asked["body"]
        response, data = self.request(asked["method"], self.fill(asked["path"]), body and self.fill(body), headers)
        location = response.headers.get("location")
        self.learn(wanted, location, data)
        faults = [] if response.status == wanted["status"] else [f"status {response.status}, not {wanted['status']}"]
        for name in COMPARED:
            ours, theirs = response.headers.get(name), wanted["headers"].get(name)
            if self.plain(ours or "") != (theirs or ""):
                faults.append(f"{name}: {ours!r}, recorded {theirs!r}")
        if "claims" in step:
            return faults + self.tokens(step, json.loads(data), asked)
        ours, theirs = self.plain(data), wanted["body"]
        if step["name"] == "keys":
            ours = re.sub(r'"(kid|n)":"[^"]+"', r'"\1":"<>"', ours)
            theirs = json.dumps(json.loads(theirs), separators=(",", ":")) + "\n"
        if ours != theirs:
            faults.append(f"\n  ours   {ours}\n  record {theirs}")
        return faults

    def learn(self, wanted, location, data):
        """Remember what stands where the record has a name."""
        recorded = wanted["headers"].get("location", "")
        pairs = [(recorded, location or "")]
        if wanted["body"].startswith("{") and data.startswith("{"):
            pairs += [
                (value, json.loads(data).get(name))
                for name, value in json.loads(wanted["body"]).items()
                if isinstance(value, str)
            ]
        for theirs, ours in pairs:
            for name in NAME.findall(theirs):
                if name not in self.names:
                    before, _, after = theirs.partition(name)
                    found = re.fullmatch(re.escape(before) + "([^&]+)" + re.escape(after), ours)
                    if found:
                        self.names[name] = found[1]

    def plain(self, text):
        for name, value in self.names.items():
            text = text.replace(value, name).replace(html.escape(value), name)
        return text.replace(self.emulator.web_endpoint, RECORDED)

    def tokens(self, step, found, asked):
        """Compare the tokens' content, and check their signature as clients do."""
        faults = []
        head, body, signature = found["id_token"].split(".")
        keys = json.loads(self.request("GET", "/oidc/keys", None, {})[1])["keys"]
        key = next(one for one in keys if one["kid"] == json.loads(decoded(head))["kid"])
        modulus, exponent = (int.from_bytes(decoded(key[name]), "big") for name in "ne")
        opened = pow(int.from_bytes(decoded(signature), "big"), exponent, modulus).to_bytes(256, "big")
        if not opened.endswith(hashlib.sha256(f"{head}.{body}".encode()).digest()):
            faults.append("the signature is not good")
        claims = json.loads(decoded(body))
        shown = {name: "<>" if step["claims"][name] == "<>" else claims.get(name) for name in step["claims"]}
        if self.plain(json.dumps(shown)) != json.dumps(step["claims"]) or shown.keys() != claims.keys():
            faults.append(f"claims {claims}, recorded {step['claims']}")
        if claims["exp"] - claims["iat"] != step["lifetime"]:
            faults.append(f"lifetime {claims['exp'] - claims['iat']}")
        code = dict(parse_qsl(self.fill(asked["body"])))["code"]
        for name, text in (("c_hash", code), ("at_hash", found["access_token"])):
            if decoded(claims[name]) != hashlib.sha256(text.encode()).digest()[:16]:
                faults.append(f"{name} is not that of {text}")
        wanted = json.loads(step["response"]["body"])
        self.names.update({f"<access {step['name'].split()[1]}>": found["access_token"]})
        return faults + [
            f"{name}: {found.get(name)}, recorded {value}"
            for name, value in wanted.items()
            if value != "<>" and found.get(name) != value
        ]


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
