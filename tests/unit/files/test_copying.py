"""Copies between two ends on this machine."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from flame_kernel.errors import TransferError
from flame_kernel.files import chunks, landing
from flame_kernel.files.chunks import CHUNK, digest
from flame_kernel.files.ends import Reply
from flame_kernel.files.names import PARTIAL
from flame_kernel.protocol.calls import Operation
from tests.unit.files.copies import Spy, go, tree_of

# ---------------------------------------------------------------- what is copied


def test_a_tree_arrives_as_it_is(tree: Path, tmp_path: Path) -> None:
    done = go(tree, tmp_path / "copy")
    assert tree_of(tmp_path / "copy") == tree_of(tree)
    assert (done.files, done.found, done.skipped) == (6, 0, ())


def test_a_second_time_large_files_are_found_to_be_there(tree: Path, tmp_path: Path) -> None:
    go(tree, tmp_path / "copy")
    spy = Spy()
    done = go(tree, tmp_path / "copy", sink=spy)
    assert done.found == 3 * CHUNK + 17
    assert Operation.WRITE not in spy.asked
    assert tree_of(tmp_path / "copy") == tree_of(tree)


def test_a_large_file_that_only_looks_the_same_is_sent(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.write_bytes(bytes(2 * CHUNK))
    target.write_bytes(b"\1" + bytes(2 * CHUNK - 1))
    os.utime(target, ns=(1, source.stat().st_mtime_ns))
    assert go(source, target).found == 0
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("named", "destination", "stands"),
    [
        ("d", "new", "new/f"),
        ("d/", "new", "new/f"),
        ("d", "new/", "new/d/f"),
        ("d/", "new/", "new/f"),
        ("d", "old", "old/f"),
        ("d", "old/", "old/d/f"),
        ("d/f", "new", "new"),
        ("d/f", "new/", "new/f"),
        ("d/f", "old", "old/f"),
        ("d/*", "new", "new/f"),
        ("?/f", "new", "new/f"),
        ("**/f", "new", "new/f"),
        ("d/f", ".", "f"),
        ("d", "", "d/f"),
        ("d[1]", "new/", "new/d[1]/g"),
    ],
)
def test_where_things_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str, destination: str, stands: str
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in ("d", "d[1]"):
        (here / folder).mkdir(parents=True)
    (here / "d" / "f").write_text("f")
    (here / "d[1]" / "g").write_text("g")
    (there / "old").mkdir(parents=True)
    monkeypatch.chdir(there)
    monkeypatch.setenv("HOME", str(there))
    go(f"{here}/{named}", destination)
    assert (there / stands).is_file()


def test_home_is_expanded_and_several_go_into_the_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    go(["~/a", "~/b"], "~/new")
    assert sorted(os.listdir(tmp_path / "new")) == ["a", "b"]
    go("~/a", "~")
    assert (tmp_path / "a").read_text() == "a"


def test_a_destination_that_was_there_keeps_its_mode_and_files_replace_links(tmp_path: Path) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir(mode=0o777)
    (source / "f").write_text("new")
    target.mkdir(mode=0o700)
    precious = tmp_path / "precious"
    precious.write_text("old")
    (target / "f").symlink_to(precious)
    go(source, target)
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    assert precious.read_text() == "old"
    assert (target / "f").read_text() == "new"


# ---------------------------------------------------------------- links and what is no file


def test_links_that_lead_out_are_refused_followed_or_skipped(tmp_path: Path) -> None:
    source = tmp_path / "s"
    (source / "in").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (source / "in" / "link").symlink_to("../../secret")
    with pytest.raises(TransferError, match="links='follow'"):
        go(source, tmp_path / "t")
    assert not (tmp_path / "t").exists()
    assert go(source, tmp_path / "t", "skip").skipped == (f"{source}/in/link",)
    go(source, tmp_path / "t2", "follow")
    assert (tmp_path / "t2" / "in" / "link").read_text() == "s"
    assert not (tmp_path / "t2" / "in" / "link").is_symlink()
    with pytest.raises(ValueError, match="links must be"):
        go(source, tmp_path / "t", "nonsense")


def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    (source / "again").symlink_to(".")
    with pytest.raises(OSError, match="links lead in a circle"):
        go(source, tmp_path / "t", "follow")
    go(source, tmp_path / "t")
    assert os.readlink(tmp_path / "t" / "again") == "."


def test_a_pipe_is_left_out_of_a_tree_and_refused_alone(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    os.mkfifo(source / "pipe")
    assert go(source, tmp_path / "t").skipped == (f"{source}/pipe",)
    with pytest.raises(TransferError, match="neither a file nor a folder"):
        go(source / "pipe", tmp_path / "t")


# ---------------------------------------------------------------- errors


def test_errors_are_those_of_the_file_system(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("f")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").mkdir()
    with pytest.raises(FileNotFoundError, match="nope"):
        go(tmp_path / "nope", tmp_path / "t")
    with pytest.raises(FileNotFoundError, match="nothing matches"):
        go(tmp_path / "*.csv", tmp_path / "t")
    with pytest.raises(FileNotFoundError, match="end the destination with /"):
        go(tmp_path / "f", tmp_path / "no" / "t")
    with pytest.raises(NotADirectoryError):
        go(f"{tmp_path}/f/", tmp_path / "t")
    with pytest.raises(IsADirectoryError):
        go(tmp_path / "f", tmp_path / "d")
    with pytest.raises(NotADirectoryError):
        go(tmp_path / "d", tmp_path / "f")
    assert os.listdir(tmp_path / "d") == ["f"]


def test_no_space_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").write_bytes(bytes(2 * CHUNK))
    monkeypatch.setattr(landing.shutil, "disk_usage", lambda path: _Usage(free=CHUNK))
    with pytest.raises(OSError, match=r"2,097,152 bytes are to come, and 1,048,576 are free") as caught:
        go(tmp_path / "s", tmp_path / "t")
    assert caught.value.filename == str(tmp_path / "t")
    assert os.listdir(tmp_path) == ["s"]


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_a_file_that_changes_meanwhile_is_an_error_and_does_not_arrive(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_bytes(bytes(3 * CHUNK))

    def touch(operation: Operation, operands: Any) -> None:
        if operation is Operation.READ and operands[2]:
            os.utime(source, ns=(1, 1))

    with pytest.raises(TransferError, match="changed while it was copied"):
        go(source, tmp_path / "t", source=Spy(touch))
    assert not (tmp_path / "t").exists()


def test_a_file_that_grows_meanwhile_arrives_as_it_was(tmp_path: Path) -> None:
    for name, size in (("small", 10), ("large", 3 * CHUNK + 5)):
        source = tmp_path / name
        source.write_bytes(os.urandom(size))
        was = source.read_bytes()

        def grow(operation: Operation, operands: Any, source: Path = source) -> None:
            if operation is Operation.READ:
                with open(source, "ab") as file:
                    file.write(b"one more line")

        go(source, tmp_path / "t", source=Spy(grow))
        assert (tmp_path / "t").read_bytes() == was


def test_a_file_that_is_written_anew_and_becomes_larger_does_not_arrive(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_bytes(bytes(3 * CHUNK))

    def write(operation: Operation, operands: Any) -> None:
        if operation is Operation.READ and operands[2] == CHUNK:
            source.write_bytes(os.urandom(4 * CHUNK))

    with pytest.raises(TransferError, match="changed while it was copied"):
        go(source, tmp_path / "t", source=Spy(write))
    assert not (tmp_path / "t").exists()


def test_a_damaged_piece_is_noticed(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_bytes(os.urandom(3 * CHUNK))

    def damage(operation: Operation, operands: Any) -> Reply | None:
        if operation is Operation.READ and operands[2] == CHUNK:
            return Reply(digest(b"what was read"), bytes(CHUNK))
        return None

    with pytest.raises(TransferError, match="checksum"):
        go(source, tmp_path / "t", source=Spy(damage))
    assert not (tmp_path / "t").exists()


# ---------------------------------------------------------------- going on


def test_an_interrupted_copy_is_continued_where_it_stood(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_bytes(os.urandom(70 * CHUNK + 5))

    def stop(operation: Operation, operands: Any) -> None:
        if operation is Operation.READ and operands[2] == 50 * CHUNK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(source, tmp_path / "t", source=Spy(stop))
    (partial,) = (name for name in os.listdir(tmp_path) if name.endswith(PARTIAL))
    assert stat.S_IMODE((tmp_path / partial).stat().st_mode) == 0o600
    assert not (tmp_path / "t").exists()
    # What stands there is checked, not trusted.
    with open(tmp_path / partial, "r+b") as file:
        file.seek(40 * CHUNK)
        file.write(b"damaged")
    spy = Spy()
    assert go(source, tmp_path / "t", sink=spy).found == 49 * CHUNK
    assert spy.asked.count(Operation.WRITE) == 22
    assert (tmp_path / "t").read_bytes() == source.read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["s", "t"]


def test_a_copy_of_another_state_begins_anew_and_old_remains_go_in_time(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.write_bytes(os.urandom(3 * CHUNK))

    def stop(operation: Operation, operands: Any) -> None:
        if operation is Operation.FINISH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(source, tmp_path / "t", sink=Spy(stop))
    source.write_bytes(os.urandom(2 * CHUNK))
    assert go(source, tmp_path / "t").found == 0
    (left,) = (name for name in os.listdir(tmp_path) if name.endswith(PARTIAL))
    long_ago = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / left, (long_ago, long_ago))
    source.write_bytes(os.urandom(2 * CHUNK))
    go(source, tmp_path / "t")
    assert sorted(os.listdir(tmp_path)) == ["s", "t"]


# ---------------------------------------------------------------- pieces


def test_writing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "link").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic links"):
        chunks.write(str(tmp_path / "link"), 0, b"x", digest(b"x"))
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_without_a_size_is_read_to_its_end() -> None:
    assert b"Linux" in chunks.read("/proc/version", 0, CHUNK, None)
