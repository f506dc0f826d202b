import contextlib
import os
import stat
import threading

import pytest

from omniherd._core.files import is_special, make_private_directory, write_atomic, yaml_files


def test_a_new_file_gets_contents_and_mode_whatever_the_umask(tmp_path):
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "a", "zażółć\n", 0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == "zażółć\n".encode()
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_the_default_mode_is_for_the_owner_alone(tmp_path):
    write_atomic(str(tmp_path / "key"), b"\0\xff")
    assert (tmp_path / "key").read_bytes() == b"\0\xff"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_an_open_reader_keeps_the_old_contents(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with path.open() as reader:
        write_atomic(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "config"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert target.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir() if entry.name not in {"real", "link"}] == []


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "a", "x")


def test_a_directory_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest, **named):
        if flags == os.O_RDONLY:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    write_atomic(tmp_path / "a", "x")
    monkeypatch.undo()
    assert (tmp_path / "a").read_text() == "x"


def test_private_directories(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    make_private_directory(tmp_path / "open" / "a" / "b")
    make_private_directory(str(tmp_path / "open" / "a"))
    modes = [stat.S_IMODE((tmp_path / part).stat().st_mode) for part in ("open", "open/a", "open/a/b")]
    assert modes[0] & 0o055
    assert modes[1:] == [0o700, 0o700]
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        make_private_directory(tmp_path / "file" / "a")


def test_yaml_files_come_in_the_order_of_their_names(tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()
    for name in ("d.yaml", "a.yml", "B.YAML", "b.txt", "c/z.yaml"):
        (tmp_path / name).touch()
    scan = os.scandir

    @contextlib.contextmanager
    def backwards(path):
        with scan(path) as entries:
            yield sorted(entries, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr(os, "scandir", backwards)
    found = [os.path.relpath(path, tmp_path) for path in yaml_files(tmp_path)]
    assert found == ["B.YAML", "a.yml", "c/z.yaml", "d.yaml"]


def test_what_is_no_file_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomic(pipe, "new")
    reader.join()
    assert read == [b"new"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_files_and_directories_and_what_is_not_there_are_not_special(tmp_path):
    (tmp_path / "file").touch()
    assert [is_special(path) for path in (tmp_path, tmp_path / "file", tmp_path / "none")] == [False] * 3
    assert is_special(os.devnull)


@pytest.mark.parametrize("name", ["none/a", "folder", "file/a"])
def test_errors_name_the_file_that_was_asked_for(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory") as caught:
        write_atomic(tmp_path / name, "x")
    assert caught.value.filename == str(tmp_path / name)


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "a", "x")
    assert caught.value.filename == str(tmp_path / "a")


@pytest.mark.skipif(not is_special("/dev/full"), reason="this system has no device that is always full")
def test_a_full_device_is_named():
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic("/dev/full", "x")
    assert caught.value.filename == "/dev/full"
    assert is_special("/dev/full")
