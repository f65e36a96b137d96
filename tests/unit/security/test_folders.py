from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from flame_kernel.errors import KeyFileError
from flame_kernel.security.folders import Folders, private

posix = pytest.mark.skipif(os.name != "posix", reason="modes exist on POSIX only")


def test_flame_home_takes_the_place_of_all_three_and_nothing_is_created() -> None:
    with tempfile.TemporaryDirectory(prefix="f", dir="/tmp" if os.name == "posix" else None) as home:
        found = Folders.find({"FLAME_HOME": home})
        assert (found.config, found.state) == (Path(home, "config"), Path(home, "state"))
        if os.name == "posix":
            assert found.runtime == Path(home, "run")
        assert os.listdir(home) == []


def test_flame_home_may_be_relative_or_start_with_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Folders.find({"FLAME_HOME": "here"}).config == tmp_path / "here" / "config"
    assert Folders.find({"FLAME_HOME": "~/f"}).config == Path.home() / "f" / "config"


@pytest.mark.parametrize("environ", [{}, {"FLAME_HOME": ""}])
def test_without_flame_home_the_platform_decides(environ: dict[str, str]) -> None:
    found = Folders.find(environ)
    assert "remote-flame" in str(found.config)
    assert found.config.is_absolute()
    assert "remote-flame" in str(found.state)


@pytest.mark.skipif(sys.platform != "linux", reason="only there XDG_RUNTIME_DIR decides")
@pytest.mark.parametrize("value", [None, "/nonexistent/run"])
def test_a_runtime_folder_is_found_silently_where_the_session_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert Folders.find({}).runtime == Folders.find({}).runtime


@posix
def test_a_long_runtime_path_is_replaced_by_a_short_stable_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    one, two = ({"FLAME_HOME": "/" + letter * 70} for letter in "ab")
    short = Folders.find(one).runtime
    assert short.parent == Path("/tmp")
    assert short.name.startswith(f"flame-{os.getuid()}-")
    assert len(short.name.rpartition("-")[2]) == 12
    assert Folders.find(one).runtime == short
    assert Folders.find(two).runtime != short


@posix
def test_the_limit_is_sixty_bytes_not_characters() -> None:
    fits = "/" + "a" * (60 - len("/" + "/run"))
    assert Folders.find({"FLAME_HOME": fits}).runtime == Path(fits, "run")
    assert Folders.find({"FLAME_HOME": fits + "a"}).runtime != Path(fits + "a", "run")
    assert Folders.find({"FLAME_HOME": "/" + "é" * 40}).runtime != Path("/" + "é" * 40, "run")


@posix
def test_a_long_temporary_folder_does_not_make_the_short_path_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/" + "t" * 80)
    assert len(os.fsencode(Folders.find({"FLAME_HOME": "/" + "a" * 80}).runtime)) <= 60


def test_private_creates_the_folder_and_its_parents(tmp_path: Path) -> None:
    leaf = tmp_path / "a" / "b"
    assert private(leaf) == leaf
    assert leaf.is_dir()
    assert private(leaf) == leaf
    if os.name == "posix":
        assert leaf.stat().st_mode & 0o777 == 0o700


@posix
@pytest.mark.parametrize("mode", [0o750, 0o705, 0o720, 0o701])
def test_a_folder_open_to_others_is_refused_with_the_mending_command(tmp_path: Path, mode: int) -> None:
    leaf = tmp_path / "a b"
    leaf.mkdir()
    leaf.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        private(leaf)
    assert f"chmod 700 '{leaf}'" in str(caught.value)
    assert "\n" not in str(caught.value)


@posix
def test_a_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "run")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(KeyFileError, match=rf"another user \(uid {os.getuid()}\).*chmod 700"):
        private(tmp_path / "run")


@posix
def test_a_planted_link_to_a_folder_of_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private(tmp_path / "ours")
    link = tmp_path / "run"
    link.symlink_to(tmp_path / "ours")
    assert private(link) == link
    true_lstat = Path.lstat

    def planted(path: Path) -> os.stat_result:
        fields = list(true_lstat(path))
        fields[4] += 1
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", planted)
    with pytest.raises(KeyFileError, match="another user"):
        private(link)


def test_a_file_in_the_way_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(KeyFileError, match=r"can't create .*run"):
        private(tmp_path / "run")
