from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import KeyFileError
from flame_kernel.security import text_files

posix = pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")


def test_what_is_missing_is_none_and_stays_missing(tmp_path: Path) -> None:
    assert text_files.read(tmp_path / "a" / "b") is None
    assert text_files.stamp(tmp_path / "a" / "b") is None
    assert os.listdir(tmp_path) == []


def test_bytes_that_are_not_utf8_survive_a_rewrite(config: Path) -> None:
    path = config / "file"
    path.touch(0o600)
    path.write_bytes(b"caf\xe9\r\n")
    snapshot = text_files.read(path)
    assert snapshot is not None
    text_files.write(path, snapshot.text)
    assert path.read_bytes() == b"caf\xe9\r\n"


def test_the_stamp_changes_with_the_file(config: Path) -> None:
    path = config / "file"
    text_files.write(path, "one")
    before = text_files.stamp(path)
    snapshot = text_files.read(path)
    assert snapshot is not None
    assert snapshot.stamp == before
    text_files.write(path, "two")
    assert text_files.stamp(path) != before


@posix
def test_the_file_is_closed_to_others_before_anything_is_in_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []
    true_open = os.open

    def watched(path: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = true_open(path, flags, mode)
        assert flags & os.O_EXCL
        modes.append(os.fstat(descriptor).st_mode & 0o777)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    old = os.umask(0)
    try:
        text_files.write(config / "file", "secret")
    finally:
        os.umask(old)
    assert modes == [0o600]
    assert (config / "file").stat().st_mode & 0o777 == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config / "file"
    text_files.write(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match=r"can't write .*file: No space left"):
        text_files.write(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(config) == ["file"]


@posix
def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    (config / "file").symlink_to(tmp_path / "dotfile")
    text_files.write(config / "file", "text")
    assert (config / "file").is_symlink()
    assert (tmp_path / "dotfile").read_text() == "text"


@posix
def test_read_and_stamp_refuse_what_others_can_reach(config: Path) -> None:
    path = config / "it's"
    text_files.write(path, "text")
    path.chmod(0o640)
    for look in (text_files.read, text_files.stamp):
        with pytest.raises(KeyFileError, match="chmod 600 "):
            look(path)


@posix
def test_read_refuses_what_another_user_owns(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_files.write(config / "file", "text")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(KeyFileError, match="another user"):
        text_files.read(config / "file")


def test_a_folder_in_the_place_of_a_file_is_one_clear_line(config: Path) -> None:
    with pytest.raises(KeyFileError, match="can't read"):
        text_files.read(config)


@given(st.text())
def test_one_line_is_one_printable_line(text: str) -> None:
    line = text_files.one_line(text)
    assert line.isprintable()
    assert len(line) <= 200
    assert line == line.strip()
    assert text_files.one_line(line) == line
