"""The small parts of the emulator's validators, and the gate of the licence."""

import pytest

from login_page import fetch
from omniherd._core.pool import message
from omniherd.emulator import Emulator
from omniherd.emulator.eula import EULA
from omniherd.emulator.globs import BadPattern, glob_matches
from omniherd.emulator.gotext import limited, limited_list, quote, quote_all
from omniherd.emulator.machine_set_rules import _is_local
from omniherd.emulator.policies import evaluate
from omniherd.errors import FailedPrecondition, InvalidArgument, OmniError
from omniherd.resources import Cluster, InfraProvider, InstallationMediaConfig, MachineSet


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*", "prod", True),
        ("*", "a/b", False),
        ("p?od", "prod", True),
        ("p?od", "p/od", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("[c-a]x", "bx", False),
        ("[^c-a]x", "bx", True),
        ("[\\]]", "]", True),
        ("\\*", "*", True),
        ("\\*", "a", False),
        ("a.c", "abc", False),
        ("****************b", "a" * 200, False),
    ],
)
def test_globs_match_as_in_go(pattern, text, fits):
    assert glob_matches(pattern, text) is fits


@pytest.mark.parametrize("pattern", ["[", "[a", "[]", "[]a]", "[-a]", "[a-]", "a\\", "[\\"])
def test_bad_globs_are_told(pattern):
    with pytest.raises(BadPattern):
        glob_matches(pattern, "a")


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('"\\', '"\\"\\\\"'),
        ("\a\b\f\n\r\t\v", '"\\a\\b\\f\\n\\r\\t\\v"'),
        ("\0\x1f\x7f", '"\\x00\\x1f\\x7f"'),
        ("é\u00a0\u200b\u2028", '"é\\u00a0\\u200b\\u2028"'),
        ("\U0001f600\U000e0001", '"\U0001f600\\U000e0001"'),
    ],
)
def test_quotes_are_those_of_go(text, quoted):
    assert quote(text) == quoted


def test_lists_are_those_of_go():
    assert quote_all(["a", '"']) == '["a" "\\""]'
    assert quote_all([]) == "[]"


def test_limits_count_bytes():
    assert limited("x", "é" * 2, 4) is None
    assert limited("x", "é" * 2, 3) == "x is too long: 4 bytes (max 3)"
    assert limited_list("x", ["a", "\u0085"], 2, 9) == "x[1] contains a control character"
    assert limited_list("x", ["a"] * 3, 2, 9) == "x has too many entries: 3 (max 2)"


@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("a", True),
        (".", True),
        ("a/b", True),
        ("./a", False),
        ("a/../b", False),
        ("a//b", False),
        ("/a", False),
        ("../a", False),
        ("a/../../b", False),
    ],
)
def test_paths_have_real_names_only(path, local):
    assert _is_local(path) is local


@pytest.mark.parametrize(("version", "taken"), [("1.11.5", False), ("1.12.0", True), ("", True)])
def test_since_when_images_embed_a_configuration(version, taken):
    spec = {"architecture": "AMD64", "cloud": {"platform": "aws"}, "embedded_machine_config": "machine: {}\n"}
    with Emulator(seed_fleet=False) as emulator, emulator.connect() as omni:
        media = InstallationMediaConfig("x", spec={**spec, "talos_version": version})
        if taken:
            assert omni.create(media).version == 1
        else:
            with pytest.raises(InvalidArgument, match=r'not supported by Talos version "1\.11\.5"'):
                omni.create(media)


def test_a_backup_is_looked_for_by_the_uuid_of_its_cluster():
    with Emulator() as emulator, emulator.connect() as omni:
        names = {"omni.sidero.dev/cluster": "lab", "omni.sidero.dev/role-controlplane": ""}
        omni.create(Cluster("lab", spec={"talos_version": "1.13.5", "kubernetes_version": "1.36.0"}))

        def refusal(uuid):
            spec = {"bootstrap_spec": {"cluster_uuid": uuid, "snapshot": "a"}}
            with pytest.raises(InvalidArgument) as refused:
                omni.create(MachineSet("lab-control-planes", labels=names, spec=spec))
            return str(refused.value)

        assert 'invalid cluster UUID "none"' in refusal("none")
        emulator.store.put("ClusterUUIDs.omni.sidero.dev", "old", {"uuid": "u"})
        assert "error getting backup data: resource BackupDatas.omni.sidero.dev(default/old@undefined)" in refusal("u")
        emulator.store.put("ClusterUUIDs.omni.sidero.dev", "older", {"uuid": "u"})
        assert 'inconsistent state on cluster UUID "u"' in refusal("u")


def test_a_provider_stays_while_machines_of_its_own_run():
    with Emulator() as emulator, emulator.connect() as omni:
        machine, other = (one for one in omni.list("machines")[:2])
        for provider in ("lab", "idle"):
            omni.create(InfraProvider(provider))
        labels = {**machine.labels, "omni.sidero.dev/infra-provider-id": "lab"}
        emulator.store.modify("default", machine.type, machine.id, labels=labels)
        omni.teardown(InfraProvider, "idle")
        with pytest.raises(InvalidArgument, match=rf"there are 1 running machines managed by it: \[{machine.id}\]"):
            omni.teardown(InfraProvider, "lab")
        emulator.store.modify("default", machine.type, machine.id, phase="tearingDown")
        omni.teardown(InfraProvider, "lab")
        assert other.phase == "running"


def test_the_highest_rule_of_a_policy_wins_and_groups_add_up():
    policy = message("specs.AccessPolicySpec")()
    policy.user_groups["team"].users.add(label_selectors=["team = a", "site"])
    policy.cluster_groups["all"].clusters.add(match="*")
    for role, clusters, group in (("Reader", ["group/all"], "view"), ("Operator", ["prod"], "edit")):
        rule = policy.rules.add(role=role, users=["group/team", "group/none"], clusters=clusters)
        rule.kubernetes.impersonate.groups.append(group)
    member = {"team": "a", "site": "x"}
    found = evaluate(policy, "me", member, "prod")
    assert (found.role, found.groups, found.everywhere) == ("Operator", ["view", "edit"], True)
    assert evaluate(policy, "me", member, "lab").role == "Reader"
    assert evaluate(policy, "me", {"team": "a"}, "prod").role == "None"


def test_nothing_is_served_before_the_licence_is_accepted():
    with Emulator(eula_accepted=False) as emulator, emulator.connect() as omni:
        for attempt in (lambda: omni.get("clusters", "prod"), lambda: omni.list("clusters")):
            with pytest.raises(FailedPrecondition, match="EULA has not been accepted; please accept") as refused:
                attempt()
            assert str(refused.value).endswith(f"{emulator.web_endpoint}/eula")
        emulator.store.put(EULA, "eula", {"accepted_by_name": "a", "accepted_by_email": "b"})
        assert omni.get("clusters", "prod").id == "prod"


def test_the_licence_is_accepted_on_its_page():
    with Emulator(seed_fleet=False, eula_accepted=False) as emulator, emulator.connect() as omni:
        url = f"{emulator.web_endpoint}/eula"
        status, text = fetch(url)
        assert status == 200
        assert '<label for="name">Your name</label>' in text
        for form, fault in (({}, "name is required"), ({"name": "Me"}, "email is required")):
            status, text = fetch(url, {"email": "", **form})
            assert (status, fault in text) == (400, True)
        assert fetch(url, {"name": "Me", "email": "me@example.com"}, Origin="https://evil.example.com")[0] == 403
        with pytest.raises(FailedPrecondition):
            omni.list("clusters")
        assert fetch(url, {"name": "Me", "email": "me@example.com"})[0] == 200
        assert omni.list("clusters") == []
        assert omni.get("eulaacceptances", "eula").spec.accepted_by_name == "Me"
        assert "is accepted" in fetch(url)[1]


def test_the_gate_stands_before_signatures():
    with Emulator(eula_accepted=False) as emulator, Emulator() as other:
        from omniherd import Omni

        with Omni.connect(emulator.endpoint, service_account_key=other.service_account_key) as omni:
            with pytest.raises(OmniError) as refused:
                omni.get("clusters", "prod")
            assert refused.value.code == "FAILED_PRECONDITION"
