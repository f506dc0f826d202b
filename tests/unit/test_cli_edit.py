from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from omniherd.cli.edit import changed, document, editing, editor
from omniherd.errors import InputError, InvalidArgument, OmniError, YAMLError
from omniherd.resources import MachineClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from inner_shell import InnerShell

    from omniherd.resource import Resource


def machine_class(name: str, zone: str) -> MachineClass:
    made = MachineClass(name, labels={"rank": "10"}, spec={"match_labels": [f"zone = {zone}"]})
    made.metadata.version = 3
    return made


A, B = machine_class("a", "x"), machine_class("b", "y")


class Desk:
    """An editor that makes given changes, and a server that takes or refuses them."""

    def __init__(self, *hands: Callable[[str], str], refuse: tuple[str, ...] = ()) -> None:
        self.hands = list(hands)
        self.shown: list[str] = []
        self.sent: list[tuple[str, list[str]]] = []
        self.said: list[str] = []
        self.refuse = refuse

    def ask(self, text: str) -> str:
        self.shown.append(text)
        return self.hands.pop(0)(text)

    def send(self, _: Resource[Any], after: Resource[Any]) -> None:
        labels = list(after.spec.match_labels)
        if labels[0] in self.refuse:
            raise InvalidArgument(f"no {labels[0]}")
        self.sent.append((after.id, labels))

    def edit(self, *resources: Resource[Any], again: bool = False) -> None:
        editing(resources, self.ask, self.send, self.said.append, again=again)


def turn(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def same(text: str) -> str:
    return text


def test_the_text_names_what_is_edited() -> None:
    text = document([A, B])
    assert text.startswith(
        "# Editing:\n#   MachineClasses.omni.sidero.dev/a\n#   MachineClasses.omni.sidero.dev/b\nmetadata:\n"
    )
    assert text.count("\n---\n") == 1
    assert "#\n# Edit Failed:\n# one\n# two\nbody" in document([A], "body", "one\ntwo")


def test_only_changed_documents_are_sent() -> None:
    desk = Desk(turn("zone = y", "zone = z"))
    desk.edit(A, B)
    assert (desk.sent, desk.said) == ([("b", ["zone = z"])], [])


def test_nothing_changed_is_told() -> None:
    desk = Desk(same)
    desk.edit(A, B)
    assert (desk.sent, desk.said) == ([], ["Apply was skipped: no changes detected."])


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_an_empty_file_is_told(text: str) -> None:
    desk = Desk(lambda _: text)
    desk.edit(A)
    assert desk.said == ["Apply was skipped: empty file."]


def test_documents_that_are_not_edited_are_told() -> None:
    desk = Desk(turn("id: a\n", "id: c\n"))
    desk.edit(A)
    assert desk.sent == []
    assert desk.said[0].startswith("ignored MachineClasses.omni.sidero.dev 'c'")


def test_a_refused_edit_is_an_error() -> None:
    desk = Desk(turn("zone = x", "bad"), refuse=("bad",))
    with pytest.raises(InvalidArgument, match="no bad"):
        desk.edit(A)


def test_a_refused_edit_comes_back_with_the_reason() -> None:
    desk = Desk(turn("zone = x", "bad"), turn("- bad", "- zone = good"), refuse=("bad",))
    desk.edit(A, again=True)
    assert desk.sent == [("a", ["zone = good"])]
    assert "# Edit Failed:\n# rpc error: code = InvalidArgument desc = no bad\nmetadata:" in desk.shown[1]
    assert desk.shown[1].count("# Editing:") == 1


def test_what_was_sent_is_not_sent_again() -> None:
    desk = Desk(
        lambda text: text.replace("zone = x", "good").replace("zone = y", "bad"),
        turn("- bad", "- zone = better"),
        refuse=("bad",),
    )
    desk.edit(A, B, again=True)
    assert desk.sent == [("a", ["good"]), ("b", ["zone = better"])]


def test_leaving_the_failed_text_as_it_is_gives_up() -> None:
    desk = Desk(turn("zone = x", "bad"), same, refuse=("bad",))
    with pytest.raises(OmniError, match="no bad"):
        desk.edit(A, again=True)


def test_bad_yaml_is_an_error_with_its_place() -> None:
    with pytest.raises(YAMLError):
        changed([A], "metadata: [\n")


def test_labels_that_look_like_numbers_stay_text() -> None:
    assert changed([A], document([A])).updates == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, ["vi"]),
        ({"EDITOR": "code --wait"}, ["code", "--wait"]),
        ({"EDITOR": "a", "TALOS_EDITOR": "b"}, ["b"]),
        ({"EDITOR": "a", "TALOS_EDITOR": "b", "OMNI_EDITOR": "'my editor' -x"}, ["my editor", "-x"]),
        ({"EDITOR": "a", "OMNI_EDITOR": ""}, ["a"]),
    ],
)
def test_the_editor(environ: dict[str, str], words: list[str]) -> None:
    assert editor(environ) == words


def test_an_editor_with_an_open_quote() -> None:
    with pytest.raises(InputError, match="there was a problem with the editor"):
        editor({"EDITOR": "vi 'x"})


@pytest.mark.parametrize(
    ("how", "code", "told", "kept"),
    [
        ("sed -i s/gpu.=.true/gpu=false/", 0, "Updated MachineClasses.omni.sidero.dev 'gpu'\n", False),
        ("true", 0, "Apply was skipped: no changes detected.\n", False),
        ("false", 1, 'Error: there was a problem with the editor "false": it ended with exit code 1\n', False),
        (
            "/none",
            1,
            'Error: there was a problem with the editor "/none": no such file or directory '
            "(set EDITOR to one that is installed)\n",
            False,
        ),
        ("sed -i s/id:.gpu/id:[/", 1, "what was edited is kept in {}\nError: ", True),
        (
            r"sed -i 's/gpu/\xff/'",
            1,
            "what was edited is kept in {}\nError: the editor left a file that is no UTF-8",
            True,
        ),
    ],
    ids=["changed", "unchanged", "failed", "absent", "no YAML", "no text"],
)
def test_what_was_typed_is_kept_where_it_was_in_vain(
    inner: InnerShell, monkeypatch: pytest.MonkeyPatch, how: str, code: int, told: str, kept: bool
) -> None:
    drafts = inner.folder / "drafts"
    drafts.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(drafts))
    monkeypatch.setenv("EDITOR", how)
    monkeypatch.setenv("LC_ALL", "C")
    done, out, err = inner("edit", "machineclass", "gpu")
    left = list(drafts.iterdir())
    assert (done, out, len(left)) == (code, "", int(kept)), err
    told = told.format(*left)
    assert err.startswith(told)
    assert kept or err == told
