"""Whatever text or bytes come in, what comes out is a result or an error of ours."""

from __future__ import annotations

import base64
import contextlib
import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniherd import jsonpath
from omniherd.credentials import Endpoint, ServiceAccount
from omniherd.errors import OmniError
from omniherd.omniconfig import OmniConfig
from omniherd.resource import Resource
from omniherd.selectors import Selector
from omniherd.signing import PGPKey, PublicKey, SignatureRefused, verify_headers
from omniherd.yamlform import load, load_spec_mapping

ROUNDS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = PGPKey.generate("", "", "test@example.com", 3600)
PRIVATE = KEY.private_armored().encode()
PUBLIC = KEY.public_armored.encode()
SIGNATURE = KEY.sign(b"data")
NOW = time.time()


def mangled(good):
    """Good input with bytes changed, left out, doubled, or cut off."""

    @st.composite
    def draw(draw):
        data = bytearray(good)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, max(0, len(data) - 1)))
            what = draw(st.integers(0, 3))
            if what == 0 and data:
                data[at] = draw(st.integers(0, 255))
            elif what == 1:
                del data[at : at + draw(st.integers(1, 20))]
            elif what == 2:
                data[at:at] = draw(st.binary(max_size=10))
            else:
                del data[draw(st.integers(0, len(data))) :]
        return bytes(data)

    return draw()


def survives(function, *arguments):
    with contextlib.suppress(OmniError):
        function(*arguments)


@ROUNDS
@given(st.binary(max_size=300) | mangled(PUBLIC) | mangled(PRIVATE))
def test_keys(data):
    survives(PublicKey.from_bytes, data)
    survives(PGPKey.from_armored, data)
    survives(PublicKey.from_bytes, data.decode("utf-8", "replace"))


@ROUNDS
@given(st.binary(max_size=200) | mangled(SIGNATURE))
def test_signatures(data):
    survives(KEY.public.verify, b"data", data, NOW)


HEADER = st.sampled_from(["x-sidero-timestamp", "x-sidero-payload", "x-sidero-signature", "cluster", "node", "x"])
VALUE = st.text(max_size=60) | st.sampled_from(
    [
        str(int(NOW)),
        f"siderov1 test@example.com {KEY.fingerprint} {base64.b64encode(SIGNATURE).decode()}",
        json.dumps({"headers": {"x-sidero-timestamp": [str(int(NOW))]}, "method": "/a/B"}),
    ]
)


@ROUNDS
@given(st.lists(st.tuples(HEADER, VALUE), max_size=5))
def test_signed_headers(metadata):
    with contextlib.suppress(SignatureRefused):
        verify_headers("/a/B", metadata, int(NOW), lambda fingerprint: KEY.public)


@ROUNDS
@given(
    st.text(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.dictionaries(st.sampled_from(["name", "pgp_key", "x"]), inner, max_size=3) | st.lists(inner, max_size=3)
        ),
    ).map(lambda value: base64.b64encode(json.dumps(value).encode()).decode())
)
def test_service_account_keys(text):
    survives(ServiceAccount.decode, text)


CONFIG = b"""context: default
contexts:
    default:
        url: https://omni.example.com
        auth:
            siderov1:
                identity: me@example.com
"""


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "config"


@ROUNDS
@given(data=st.binary(max_size=200) | mangled(CONFIG))
def test_omniconfig(config_file, data):
    config_file.write_bytes(data)

    def work():
        config = OmniConfig.load(config_file)
        config.context().require_url("default")
        config.to_yaml()

    survives(work)


YAML = b"""metadata:
    namespace: default
    type: Clusters.omni.sidero.dev
    id: a
    version: 1
    phase: running
    created: 2026-11-24T00:00:00Z
    labels:
        x: y
    finalizers:
        - a
spec:
    kubernetesversion: 1.35.5
    features:
        enableworkloadproxy: false
    backupconfiguration: null
"""
NASTY = st.sampled_from(
    [
        *("*a", "&a [*a]", "{a: {a", "- - - -", "!!python/object:os.system x", "<<: *x", "? a", "%YAML 9", "---\n---"),
        *("1e999999", "!!binary x", "2026-99-99", "a: &a {b: *a}", "\ud800", "!!float x", ".inf"),
        *("[" * 3000, "0x" + "f" * 300),
    ]
)


@ROUNDS
@given(st.text(max_size=200) | mangled(YAML).map(lambda data: data.decode("utf-8", "surrogateescape")) | NASTY)
def test_yaml(text):
    survives(Resource.from_yaml, text)
    survives(load, text)
    survives(load_spec_mapping, text)


SELECTOR = st.text(alphabet="ab!=<>(),. in't\"-_/\u00e4\0\n", max_size=40)


@ROUNDS
@given(st.text(max_size=60) | SELECTOR)
def test_selectors(text):
    def work():
        Selector.of(text).matches({"a": "b"})

    survives(work)


PATH = st.text(alphabet="{}.[]()*?@$'\"ab01,:-+!=<>&|\\~/ rangeend\n", max_size=40)
OBJECT = {"a": [{"b": 1}, {"b": "x"}], "b": {"a": None}, "ab": "text", "r": True}


@ROUNDS
@given(st.text(max_size=60) | PATH | PATH.map(lambda text: "{" + text + "}"))
def test_jsonpath(text):
    def work():
        template = jsonpath.compile(text)
        template.results(OBJECT)
        template.render_lines(OBJECT)

    survives(work)


@ROUNDS
@given(st.text(max_size=80) | st.text(alphabet="htps:/[]@.%#?0123456789abc", max_size=40))
def test_endpoints(text):
    survives(Endpoint.parse, text)
