"""Wheels made of what is installed, and those fetched for another machine."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from flame_kernel.client.links.ssh.install import Answer, download
from flame_kernel.client.links.ssh.wheels import OWN, closure, repack
from flame_kernel.errors import ConfigurationError


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return set(archive.namelist())


def test_our_own_wheel_has_all_of_us_and_its_list(tmp_path: Path) -> None:
    wheel = repack(OWN, tmp_path)
    version = distribution(OWN).version
    assert wheel.name == f"remote_flame-{version}-py3-none-any.whl"
    inside = names(wheel)
    info = f"remote_flame-{version}.dist-info"
    assert {"flame_kernel/client/links/ssh/far_install.py", "flame_magics/__init__.py", f"{info}/METADATA"} <= inside
    assert f"{info}/entry_points.txt" in inside
    assert f"remote_flame-{version}.data/data/share/jupyter/kernels/flame/kernel.json" in inside
    assert not [name for name in inside if name.endswith((".pyc", ".pth", "direct_url.json", "INSTALLER"))]
    with zipfile.ZipFile(wheel) as archive:
        listed = {row[0] for row in csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode()))}
    assert listed == inside


def test_a_compiled_package_keeps_its_tags_and_installs(tmp_path: Path) -> None:
    wheel = repack("msgspec", tmp_path)
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in wheel.name
    target = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, timeout=60)
    code = "import msgspec; print(msgspec.__file__, msgspec.json.encode([1]))"
    environ = {"PYTHONPATH": str(target)}
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert said.startswith(str(target))


def test_what_it_needs_is_what_is_needed_here() -> None:
    needed = closure(OWN)
    assert {OWN, "pyzmq", "click", "traitlets", "packaging"} <= set(needed)
    assert "pytest" not in needed  # nothing that merely is installed
    assert len(needed) == len(set(needed))


def test_what_is_not_installed_can_not_be_carried(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such-package is not installed"):
        repack("no-such-package", tmp_path)


def fake_wheel(folder: Path, name: str, tag: str, *needs: str) -> Path:
    path = folder / f"{name}-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{name}-1.0.dist-info"
        required = "".join(f"Requires-Dist: {need}\n" for need in needs)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{required}")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_packages_for_another_machine_are_fetched_from_our_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, folder = tmp_path / "index", tmp_path / "needed"
    index.mkdir()
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    own = fake_wheel(tmp_path, "own", "py3-none-any", "compiled", "pure")
    fake_wheel(index, "pure", "py3-none-any")
    there = Answer(version=(3, 99), platform="linux-aarch64")
    fake_wheel(index, "compiled", f"cp{sys.version_info[0]}{sys.version_info[1]}-none-any")
    with pytest.raises(ConfigurationError, match=r"3\.99 on linux-aarch64 could not be fetched here: .*compi"):
        download(there, ["manylinux_2_17_aarch64"], own, folder)
    fake_wheel(index, "compiled", "cp399-cp399-manylinux_2_17_aarch64")
    fetched = download(there, ["manylinux_2_17_aarch64", "linux_aarch64"], own, folder)
    assert [path.name for path in fetched] == [
        "compiled-1.0-cp399-cp399-manylinux_2_17_aarch64.whl",
        "pure-1.0-py3-none-any.whl",
    ]
