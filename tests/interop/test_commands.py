"""What else omnictl does, done to the emulator: its words beside ours, and what its commands leave in the state."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from omniherd import Omni
from omniherd.errors import InvalidArgument, PermissionDenied, Unauthenticated, Unavailable
from omniherd.resources import (
    Cluster,
    InfraProviderStatus,
    JoinTokenStatus,
    MachineClass,
    MachineStatus,
)

OURS = Path(sys.executable).parent / "omniherd"
MACHINE = "0deaf1a1-6f2b-5074-a9df-3276704e579c"
CLUSTER_SPEC = {"kubernetes_version": "1.36.0", "talos_version": "1.13.5"}
# What differs between two calls of the same words: when, and which token was made for whom.
OF_THE_CALL = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|\bNever\b|(?<=token: )\S+")
# What omniherd says besides: which resource an error is about.
BESIDES = re.compile(r" \(it was \S+ that the template does not apply to\)")
SAME = [
    "user list",
    "serviceaccount list",
    "jointoken list",
    "jointoken kernel-args",
    "jointoken machine-config",
    "jointoken omni-endpoint",
    "jointoken revoke nope",
    "jointoken delete nope",
    "infraprovider list",
    "infraprovider delete nope",
    "serviceaccount destroy nope",
    "user delete nope@example.org",
    f"machine-logs {MACHINE}",
    f"machine-logs {MACHINE} --tail 1",
    "machine-logs nope",
    "audit-log",
    "audit-log --event-type teardown",
    "audit-log --order-by-dir desc",
    "audit-log --resource-type Clusters.omni.sidero.dev",
    "audit-log 2020-01-01 2020-01-02",
    "audit-log yesterday",
    "cluster status prod --quiet",
    "cluster status nope --wait 300ms",
    "cluster lock prod",
    "cluster unlock prod",
    f"cluster machine lock {MACHINE}; get msn {MACHINE} -o jsonpath={{.metadata.annotations}}",
    f"cluster machine unlock {MACHINE}; get msn {MACHINE} -o jsonpath={{.metadata.annotations}}",
    "cluster kubernetes upgrade-pre-checks prod --to 1.36.0",
    "cluster kubernetes upgrade-pre-checks prod --to 1.39.0",
    "cluster kubernetes manifest-sync prod",
    "cluster kubernetes manifest-sync nope",
    f"machine power-on {MACHINE}",
    f"machine install {MACHINE}",
    "kubeconfig file",
    "kubeconfig --cluster nope file",
    "kubeconfig --cluster prod --break-glass file",
    "kubeconfig --cluster prod file; kubeconfig --cluster staging file; kubeconfig --cluster prod file --force",
    "kubeconfig --cluster prod --force-context-name mine --grant-type authcode file",
    "kubeconfig -c prod file --force-context-name a; kubeconfig -c staging file --force-context-name a; "
    "kubeconfig -c staging file --force-context-name a --force",
    "kubeconfig -c prod --merge=false --force-context-name a file; kubeconfig -c prod --merge=false file",
    "kubeconfig -c prod --merge=false; kubeconfig -c staging --merge=false; "
    "kubeconfig -c staging --merge=false --force",
    "talosconfig --merge=false; talosconfig --merge=false; talosconfig -c prod --merge=false --force",
    "config new c; config new d; "
    "--omniconfig c config add a --url https://a --identity me@x; "
    "--omniconfig c config contexts; "
    "--omniconfig c config info; "
    "--omniconfig c config merge d; "
    "--omniconfig c config merge d; "
    "--omniconfig c config context a; "
    "--omniconfig c config url https://c; "
    "--omniconfig c config identity you@x; "
    "--omniconfig c config contexts; "
    "--omniconfig c config info",
    "kubeconfig --cluster prod --service-account --user bob --merge=false file",
    "talosconfig file; talosconfig --cluster prod file",
    "talosconfig --cluster nope file",
    "cluster status prod",
    f"machine-logs {MACHINE} --log-format dmesg",
    "jointoken r nope",
    "jt kernel-args --token-id nope",
    "jt kernel-args --token-name nope",
    "jt kernel-args --token-name a --token-id b",
    "jt make-default nope",
    "jt unrevoke nope",
    "jt renew nope -t 1h",
    "jt renew nope -t 0",
    "ip renewkey nope",
    "ip create",
    "sa renew nope",
    "sa create x --role Nope --use-user-role=false",
    "user create notanemail --role Reader",
    "user create a@example.com",
    "user set-role nope@example.com --role Reader",
    "kubeconfig",
    "kubeconfig -c prod --service-account",
    "kubeconfig -c prod --grant-type nope file",
    "machine shutdown nope",
    "machine install nope",
    "machine upgrade nope",
    "machine-logs",
    "cluster delete nope",
    "cluster delete prod -d",
    "cluster lock nope",
    "get cluster nope",
    "get cluster prod -n other",
    "audit-log --event-type x",
    "delete cluster",
    "delete cluster --all -l a=b",
    "delete",
    "edit cluster nope",
    "apply -f nope",
    "apply",
    "user list extra",
    "serviceaccount create a b",
    "media preset create p --initial-labels b=,a=c --extra-kernel-args quiet; "
    "media download p --format pxe; media preset delete p",
    "media preset list",
    "media preset create p --extensions iscsi --initial-labels a=b; "
    "get installationmediaconfig p -o yaml; media preset list -o wide; media preset delete p",
    "media preset create q --platform nope",
    "media preset create q --overlay rpi_5 --talos-version 1.12.0",
    "media preset create q --arch riscv",
    "media preset create q --platform aws --secureboot",
    "media download nope",
    "download nope --pxe",
    "download iso --pxe --extensions nope",
    "download iso --pxe --extensions qemu --talos-version 9.9.9",
    "download rpi_5 --pxe --arch arm64 --talos-version 1.12.0",
    "download rpi_generic --pxe --arch arm64 --secureboot",
    "download rpi_generic --pxe --arch arm64 --initial-labels a=b,c",
    "download aws --pxe --arch arm64 --use-siderolink-grpc-tunnel",
    "download iso --pxe --extensions qemu,iscsi --extra-kernel-args quiet --talos-version 1.12.7",
    "configure machine",
    f"configure machine {MACHINE} --siderolink-connection http-tunnel; "
    f"configure machine {MACHINE} --siderolink-connection auto",
    "configure machine nope --siderolink-connection udp",
    "cluster secret -n prod rotate status",
    "cluster secret -n nope rotate status",
    "cluster secret -n prod rotate talos-ca --wait=false",
    "cluster secret -n nope rotate kubernetes-ca",
    "cluster import abort nope",
    "cluster import abort prod",
]


@pytest.fixture
def omni(emulator):
    with emulator.connect() as omni:
        yield omni


@pytest.fixture
def do(omnictl, run):
    """Run omnictl and expect that it does what it is told; return its output."""

    def call(*arguments, **options):
        code, stdout, stderr = run(omnictl, *arguments, **options)
        assert code == 0, stderr
        return stdout

    return call


def printed_key(text):
    """Return the key that a command prints, which is the only time that it is seen."""
    return re.search(r"OMNI_SERVICE_ACCOUNT_KEY=(\S+)", text)[1]


@pytest.fixture(scope="module")
def lived():
    """An emulator in which something has happened, for commands that only look and those that undo each other."""
    from omniherd.emulator import Emulator

    with Emulator() as emulator, emulator.connect() as omni:
        omni.management.create_join_token("second")
        omni.create(Cluster("short", spec=CLUSTER_SPEC))
        omni.delete(Cluster, "short")
        yield emulator


class TestWords:
    @pytest.fixture
    def emulator(self, lived):
        return lived

    @pytest.mark.parametrize("lines", SAME)
    def test_the_same_words_give_the_same(self, omnictl, run, tmp_path, lines):
        outcomes = []
        for program in (omnictl, OURS):
            # The same path for both, since messages name it.
            directory = tmp_path / "here"
            directory.mkdir()
            said = [run(program, *line.split(), cwd=directory) for line in lines.split("; ")]
            files = {path.name: path.read_text() for path in directory.iterdir()}
            directory.rename(tmp_path / Path(program).name)
            outcomes.append(BESIDES.sub("", OF_THE_CALL.sub("<>", repr((said, files)))).replace("omnictl", "omniherd"))
        assert outcomes[1] == outcomes[0]


def test_a_service_account_of_omnictl_can_what_its_role_can(do, emulator, environment, omnictl, run):
    reader = printed_key(do("serviceaccount", "create", "watcher", "--role", "Reader", "--use-user-role=false"))
    as_reader = {**environment, "OMNI_SERVICE_ACCOUNT_KEY": reader}
    with Omni.connect(emulator.endpoint, service_account_key=reader) as omni:
        assert [cluster.id for cluster in omni.list(Cluster)] == ["edge-lab", "prod", "staging"]
        with pytest.raises(PermissionDenied):
            omni.create(MachineClass("mine", spec={"match_labels": ["a = b"]}))
    assert do("get", "clusters", env=as_reader) == do("get", "clusters")
    code, _, stderr = run(omnictl, "delete", "cluster", "prod", env=as_reader)
    assert (code, 'insufficient role: "Reader"' in stderr) == (1, True)
    do("serviceaccount", "destroy", "watcher")
    with Omni.connect(emulator.endpoint, service_account_key=reader) as omni, pytest.raises(Unauthenticated):
        omni.list(Cluster)


def test_a_provider_of_omnictl_can_connect(do, emulator, omnictl, run):
    printed = do("infraprovider", "create", "racks")
    assert do("infraprovider", "list").split()[5] == "racks"
    renewed = do("infraprovider", "renewkey", "racks")
    for key in map(printed_key, (printed, renewed)):
        with Omni.connect(emulator.endpoint, service_account_key=key) as omni:
            # Its own status is what a provider may write, under its own name.
            assert omni.list(InfraProviderStatus) == []
            with pytest.raises(InvalidArgument):
                omni.create(InfraProviderStatus("shelves", spec={"name": "Shelves"}))
    # The server's own clean-up may be first, which omnictl takes for a failure; a real server does the same.
    code, _, stderr = run(omnictl, "infraprovider", "delete", "racks")
    assert code == 0 or "doesn't exist" in stderr
    assert do("infraprovider", "list").splitlines()[1:] == []
    assert "racks" not in do("serviceaccount", "list")


def test_join_tokens_live_as_omnictl_says(do, omni):
    token = do("jointoken", "create", "lab").strip()

    def state():
        (status,) = [one for one in omni.list(JoinTokenStatus) if one.id == token]
        return status.spec.name, status.spec.state, status.spec.is_default

    assert state() == ("lab", 1, False)
    do("jointoken", "revoke", token)
    assert state() == ("lab", 2, False)
    do("jointoken", "unrevoke", token)
    do("jointoken", "make-default", token)
    assert state() == ("lab", 1, True)
    assert f"jointoken={token}" in do("jointoken", "kernel-args")


def test_files_of_omnictl_lead_to_the_cluster(do, emulator, tmp_path):
    do("kubeconfig", "--cluster", "prod", "kube")
    do("talosconfig", "--cluster", "prod", "talos")
    kube, talos = (yaml.safe_load((tmp_path / name).read_text()) for name in ("kube", "talos"))
    assert kube["current-context"] == talos["context"] == "emulator-prod"
    assert f"--oidc-issuer-url={emulator.web_endpoint}/oidc" in kube["users"][0]["user"]["exec"]["args"]
    assert talos["contexts"]["emulator-prod"]["cluster"] == "prod"
    assert talos["contexts"]["emulator-prod"]["endpoints"] == [emulator.endpoint + "/"]


def test_omnictl_follows_a_machines_log(omnictl, emulator, environment, tmp_path):
    with subprocess.Popen(
        [omnictl, "machine-logs", MACHINE, "--follow", "--tail", "1"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            first = json.loads(process.stdout.readline())
            assert process.poll() is None
            emulator.log(MACHINE, "disk nvme0n1 is slow")
            assert json.loads(process.stdout.readline())["msg"] == "disk nvme0n1 is slow\n"
        finally:
            process.terminate()
    assert set(first) >= {"msg", "talos-level", "talos-time"}


def test_omnictl_sees_who_called_talos(do, omni):
    omni.talos("prod", nodes=MACHINE).call("Version")
    (line,) = do("audit-log", "--event-type", "talos_access", "--cluster-id", "prod").splitlines()
    assert json.loads(line)["event_data"]["talos_access"] == {
        "full_method_name": "machine.MachineService/Version",
        "cluster_name": "prod",
        "machine_ip": MACHINE,
    }


def test_omnictl_installs_and_shuts_down_a_machine_in_maintenance(omnictl, run, omni):
    free = omni.machines.find("spare-1").id
    code, _, told = run(omnictl, "machine", "install", free, "--disk", "/dev/nvme0n1", "--version", "1.13.4")
    assert (code, told.splitlines()[0].startswith("[omni] pulling installer image")) == (0, True)
    assert told.strip().endswith("Talos installed to /dev/nvme0n1")
    assert omni.get(MachineStatus, free).spec.talos_version == "v1.13.4"
    other = omni.machines.find("spare-2").id
    assert run(omnictl, "machine", "shutdown", other)[0] == 0
    with pytest.raises(Unavailable):
        omni.talos(nodes=other).call("Version")


@pytest.fixture
def logged(do, tmp_path):
    """What the audit log tells of a machine class that omnictl made and deleted."""
    (tmp_path / "class.yaml").write_text(
        "metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: small}\n"
        "spec: {matchlabels: [a = b]}\n"
    )
    do("apply", "-f", "class.yaml")
    do("delete", "machineclass", "small")
    return [json.loads(line) for line in do("audit-log", "--resource-id", "small").splitlines()]


def test_the_audit_log_tells_who_made_what(logged):
    assert logged[0]["event_type"] == "create"
    assert logged[0]["event_data"]["session"]["email"] == "automation@serviceaccount.omni.sidero.dev"


def test_the_audit_log_tells_what_was_deleted(logged):
    assert [event["event_type"] for event in logged] == ["create", "teardown", "destroy"]


def test_a_support_bundle_can_be_opened(omnictl, run, tmp_path):
    code, _, stderr = run(omnictl, "support", "--cluster", "prod", "--output", "bundle.zip")
    # What machines do not have omnictl passes on.
    assert (code, "unknown service inspect.InspectService" in stderr) == (0, True)
    with zipfile.ZipFile(tmp_path / "bundle.zip") as bundle:
        assert bundle.testzip() is None
        cluster = yaml.safe_load(bundle.read("omni/resources/Clusters.omni.sidero.dev-prod.yaml"))
        members = list(yaml.safe_load_all(bundle.read(f"{MACHINE}/resources/members.cluster.talos.dev.yaml")))
        names = set(bundle.namelist())
    assert cluster["metadata"]["id"] == "prod"
    assert len(members) == 5
    assert names >= {
        "kubernetesResources/nodes.yaml",
        f"omni/machine-logs/{MACHINE}.log",
        f"{MACHINE}/dmesg.log",
        f"{MACHINE}/service-logs/kubelet.log",
    }
