"""Properties: what is rendered exports to the same, and no text makes the parser fail in a way of its own."""

import contextlib
import random
from datetime import timedelta

from hypothesis import HealthCheck as Slow
from hypothesis import given, settings
from hypothesis import strategies as st

from omniherd import template
from omniherd.errors import OmniError
from omniherd.template import (
    BackupConfiguration,
    BootstrapSpec,
    Cluster,
    ControlPlane,
    Features,
    FleetPlan,
    HealthCheck,
    Install,
    Kubernetes,
    Machine,
    MachineClass,
    Manifest,
    Patch,
    PlanPart,
    Rolling,
    Strategy,
    Talos,
    Template,
    TemplateError,
    Workers,
    load_plan,
    read_fleet,
    save_plan,
)
from omniherd.yamlform import load_all, resources_from_yaml

NAME = st.from_regex(r"[a-z][a-z0-9-]{0,6}", fullmatch=True)
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\x85\u2028\u2029\ufeff", min_codepoint=32), max_size=8
)
# Go writes text whose first line is empty and whose second begins with a blank in a way that reads back otherwise.
LINES = st.text(st.sampled_from("ab :#-'\"\n\té{}[]*&!|>%@`0.~"), max_size=12).filter(
    lambda text: not text.lstrip("\n").startswith(" ") or text[0] == " "
)
LABELS = st.dictionaries(
    NAME, st.one_of(TEXT, LINES, st.sampled_from(["5", "true", "", "~", "yes", "0x1"])), max_size=2
)
# Below a list Go names an indentation that does not hold there: see the test of it.
INNER_LINES = LINES.filter(lambda text: not (text.startswith(" ") and "\n" in text))
# Not all text is a config patch, so patches carry it where anything may stand.
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), TEXT, INNER_LINES),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)
CONFIG = st.dictionaries(NAME, VALUES, min_size=1, max_size=3).map(
    lambda values: {"machine": {"kubelet": {"extraConfig": values}}}
)
RAW = st.sampled_from(
    ["machine: {}\n", "# c\nmachine:\n  env: {a: b}\n---\napiVersion: v1alpha1\nkind: KubeSpanConfig\n"]
)
PATCHES = st.lists(
    st.builds(Patch, name=NAME, inline=st.one_of(CONFIG, CONFIG.map(lambda one: [one]), RAW), labels=LABELS), max_size=2
)
LISTS = st.one_of(st.none(), st.lists(TEXT.filter(bool), max_size=2))
STRATEGY = st.one_of(
    st.none(),
    st.builds(
        Strategy,
        type=st.sampled_from([None, "Rolling", "Unset"]),
        rolling=st.one_of(st.none(), st.builds(Rolling, st.integers(0, 9))),
    ),
)
COMMON = {"patches": PATCHES, "system_extensions": LISTS, "labels": LABELS, "annotations": LABELS}
SECONDS = st.integers(0, 10**6).map(lambda value: timedelta(milliseconds=value))


@st.composite
def templates(draw):
    kubernetes = Kubernetes(
        "v1.34.3",
        draw(st.lists(st.builds(Manifest, NAME, st.sampled_from(["full", "one-time"]), CONFIG), max_size=2)),
        draw(st.lists(st.builds(HealthCheck, NAME, RAW, interval=SECONDS, labels=LABELS), max_size=2)),
    )
    for group in (kubernetes.manifests, kubernetes.healthchecks):
        for index, one in enumerate(group):
            one.name = f"{one.name}-{index}"
    cluster = draw(
        st.builds(
            Cluster,
            name=NAME,
            kubernetes=st.just(kubernetes),
            talos=st.just(Talos("v1.12.7")),
            features=st.builds(
                Features,
                disk_encryption=st.booleans(),
                enable_workload_proxy=st.booleans(),
                use_embedded_discovery_service=st.booleans(),
                backup_configuration=st.builds(BackupConfiguration, SECONDS),
            ),
            **COMMON,
        )
    )
    pool = [f"{number:08d}-1111-4111-8111-111111111111" for number in range(6)]
    plane = draw(
        st.builds(
            ControlPlane,
            machines=st.just(pool[:2]),
            bootstrap_spec=st.one_of(st.none(), st.builds(BootstrapSpec, NAME, NAME)),
            upgrade_strategy=STRATEGY,
            **COMMON,
        )
    )
    workers = draw(
        st.lists(
            st.builds(
                Workers,
                name=NAME.filter(lambda name: name != "control-planes"),
                machine_class=st.one_of(
                    st.none(), st.builds(MachineClass, NAME, st.one_of(st.integers(0, 9), st.just("Unlimited")))
                ),
                update_strategy=STRATEGY,
                delete_strategy=STRATEGY,
                upgrade_strategy=STRATEGY,
                **COMMON,
            ),
            max_size=2,
            unique_by=lambda one: one.name,
        )
    )
    for index, one in enumerate(workers):
        if one.machine_class is None:
            one.machines = pool[2 + index : 3 + index]
    known = [*plane.machines, *(machine for one in workers for machine in one.machines)]
    machines = draw(
        st.lists(
            st.builds(
                Machine,
                name=st.sampled_from(known),
                install=st.builds(Install, st.sampled_from(["", "/dev/vda"])),
                kernel_args=LISTS,
                **COMMON,
            ),
            max_size=3,
            unique_by=lambda one: one.name,
        )
    )
    documents = [cluster, plane, *workers, *machines]
    return Template(draw(st.permutations(documents)))


SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[Slow.too_slow, Slow.data_too_large])


@SETTINGS
@given(templates())
def test_a_template_reads_back_as_it_was_written(found):
    again = template.loads(found.to_yaml())
    assert again.render() == found.render()
    # Once read it stays as it is: a list of one document has become the document.
    assert template.loads(again.to_yaml()).documents == again.documents


@SETTINGS
@given(templates())
def test_render_export_render(found):
    found.validate()
    resources = found.resources()
    # The way over text, as `render | apply` goes.
    world = list(resources_from_yaml(found.render()))
    assert [one.key for one in world] == [one.key for one in resources]
    assert [one.spec for one in world] == [one.spec for one in resources]
    args = any(one.type.startswith("KernelArgs") for one in resources)
    exported = template.export(resources, found.cluster.name, include_kernel_args=args)
    # Manifests get their ids from their order, everything else keeps its own.
    assert sorted(map(shown, exported.resources())) == sorted(
        [shown(one) for one in resources] + [shown(one) for one in empty_args(exported, resources)]
    )
    again = template.export(exported.resources(), found.cluster.name, include_kernel_args=args)
    assert again.documents == exported.documents
    assert again.render() == exported.render()


def test_text_that_go_writes_wrongly_is_refused_as_omnictl_refuses_it():
    text = (
        "kind: Cluster\nname: a\nkubernetes: {version: v1.34.3}\ntalos: {version: v1.12.7}\n"
        'patches: [{name: x, inline: {machine: {kubelet: {extraConfig: {a: [" 0\\n"]}}}}}]\n'
        "---\nkind: ControlPlane\nmachines: [00000000-1111-4111-8111-111111111111]\n"
    )
    problems = template.loads(text).problems()
    assert [one.text for one in problems] == [
        'cluster "a": patch "x": decode error: yaml: while parsing a block collection at line 4, column 17: '
        "line 5, column 20: did not find expected '-' indicator"
    ]


def empty_args(exported, resources):
    """Return the kernel arguments that an export writes for machines that had none."""
    had = {one.key for one in resources}
    return [one for one in exported.resources() if one.type.startswith("KernelArgs") and one.key not in had]


def shown(resource):
    data = getattr(resource.spec, "data", None)
    # A disk of its own patch is written anew; its meaning stays.
    spec = load_all(data) if data is not None else str(resource.spec)
    return (resource.key, sorted(resource.labels.items()), sorted(resource.annotations.items()), str(spec))


@SETTINGS
@given(templates())
def test_plans_reach_what_they_plan(found):
    world = []
    plan = found.plan(world)
    assert len(plan.creates) == len(found.resources())
    assert not plan.updates
    assert plan.destroys == ((), ())
    assert found.plan(plan.creates).empty
    gone = found.plan_delete(plan.creates)
    assert [one.id for one in gone.destroys[1]] == [found.cluster.name]
    assert found.plan_delete([]).empty


@SETTINGS
@given(templates(), templates())
def test_a_plan_is_the_same_out_of_its_file(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("plans") / "a.plan"
    world = [one for one in before.resources() if not one.owner]
    for number, one in enumerate(world):
        one.metadata.version = number + 1
    try:
        plan = after.plan(world)
    except TemplateError:
        # Both use the same ids for clusters of their own.
        plan = before.plan_delete(world)
    whole = FleetPlan((PlanPart("a", "", plan),), "https://omni.example.com")
    save_plan(whole, path)
    read = load_plan(path)
    assert read == whole
    assert read.parts[0].plan.basis == plan.basis
    assert [step.diff() for _, step in read.steps()] == [step.diff() for _, step in whole.steps()]
    assert read.parts[0].moved(world) == []


ATOMS = [
    "kind: Cluster\n",
    "kind: ControlPlane\n",
    "kind: Workers\n",
    "kind: Machine\n",
    "---\n",
    "...\n",
    "name: a\n",
    "name: [a]\n",
    "patches:\n",
    "- inline: {a: b}\n",
    "- inline: |\n    machine: {$patch: delete}\n",
    "- inline: '\x7f'\n",
    "  labels: {a: ~}\n",
    "kubernetes: {version: v1, manifests: [{}], healthchecks: [{interval: 5}]}\n",
    "talos: {version: &a v1.5}\n",
    "labels: {<<: {a: b}, c: *a}\n",
    "<<: [{a: b}, c]\n",
    "? [a]\n: b\n",
    "machines: [a, ~, {b: c}]\n",
    "machineClass: {name: x, size: ∞}\n",
    "features: {diskEncryption: yes}\n",
    "&x *x\n",
    "a: &x [*x]\n",
    "a: !!binary x\n",
    "a: !!int x\n",
    "\t",
    "{",
    "]",
    "# c\n",
    "\n",
    "key: |2\n",
    "\ufeff",
    "%YAML 1.2\n",
    "\x00",
    "é: 'x\n",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(ATOMS), max_size=9).map("".join), st.sampled_from(["1.9", "1.10", "auto"]))
def test_whatever_is_read_fails_in_our_words_only(text, dialect):
    check(text, dialect)


OTHERS = [
    "kind: Overlay\nbase: a.yaml\nname: c\n",
    "values: {b: c, d: [e]}\n",
    "name: ${cluster}\n",
    'labels: {a: "${b}$${c}"}\n',
    "metadata: {namespace: default, type: MachineClasses.omni.sidero.dev, id: a}\nspec: {}\n",
    "metadata: {}\nspec: []\n",
    "patches: [{file: b.yaml}]\n",
]


@settings(max_examples=200, deadline=None, suppress_health_check=[Slow.too_slow])
@given(st.lists(st.lists(st.sampled_from([*ATOMS, *OTHERS]), max_size=6).map("".join), min_size=1, max_size=3))
def test_any_files_are_a_fleet_or_an_error_of_ours(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("fleet")
    for name, text in zip("abc", texts, strict=False):
        (folder / f"{name}.yaml").write_text(text)
    try:
        fleet = read_fleet([folder], dialect="auto")
    except OmniError:
        return
    for problem in fleet.problems(strict=True):
        assert str(problem)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=30) | st.text(alphabet='{}[]":,omniherd plan format version parts1', max_size=60))
def test_any_file_is_a_plan_or_an_error_of_ours(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("plans") / "a.plan"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with contextlib.suppress(OmniError):
        load_plan(path)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=40), st.binary(max_size=40)), st.sampled_from(["1.9", "auto"]))
def test_any_text_or_bytes(text, dialect):
    check(text, dialect)


def check(text, dialect):
    problems = None
    try:
        found = template.loads(text, dialect=dialect, allowed_dir=None)
        found.validate(strict=True)
        found.resources()
    except TemplateError as error:
        problems = error.problems
    assert problems is None or (problems and all(problem.text for problem in problems))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.lists(st.sampled_from(ATOMS), max_size=6).map("".join), st.text(max_size=30), st.binary(max_size=30))
)
def test_any_config_patch(data):
    try:
        template.sanitize_config_patch(data)
    except OmniError:
        assert template.check_config_patch(data) is not None


def test_diffs_of_random_texts_apply():
    random_lines = random.Random(7)
    for _ in range(300):
        old = [random_lines.choice("abcdefgh") for _ in range(random_lines.randint(0, 60))]
        new = [line for line in old if random_lines.random() < 0.8] + random_lines.choices("xyz", k=2)
        for tidy in (False, True):
            text = template.text_diff(
                "".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new), tidy=tidy
            )
            assert apply(old, text) == new


def apply(old, diff):
    """Apply a unified diff."""
    result, at = [], 0
    for line in diff.splitlines():
        if line.startswith("@@"):
            start, count = map(int, line.split()[1].removeprefix("-").split(","))
            begin = start - 1 if count else start
            result += old[at:begin]
            at = begin
        elif line[0] == "+":
            result.append(line[1:])
        else:
            assert old[at] == line[1:]
            if line[0] == " ":
                result.append(old[at])
            at += 1
    return result + old[at:]
