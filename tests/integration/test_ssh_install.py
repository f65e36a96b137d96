"""`flame ssh-install` on a host that has a Python, and no index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flame_kernel
from flame_kernel import connect
from tests.integration.servers import short_folder
from tests.integration.sshd import Sshd

# pip unpacks some thirty packages over there.
_INSTALL_S = 280.0
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def sshd(module_environ: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """An sshd whose far side has no remote-flame."""
    with short_folder() as folder, Sshd(folder) as sshd:
        (sshd.bin / "flame").unlink()
        module_environ.setenv("FLAME_HOME", str(sshd.client_home))
        module_environ.setenv("FLAME_SSH", sshd.ssh)
        yield sshd


def ssh_install(sshd: Sshd, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flame_kernel", "ssh-install", *arguments]
    return subprocess.run(
        command, env=sshd.environ(), capture_output=True, text=True, timeout=_INSTALL_S, check=False, input=""
    )


def installed(sshd: Sshd) -> list[str]:
    return sorted(path.name for path in (sshd.home / "ssh").iterdir())


def test_no_python_there_that_would_do(sshd: Sshd) -> None:
    done = ssh_install(sshd, "ssh://far/usr/bin/env")
    assert done.returncode == 1
    assert done.stderr.startswith("flame: far has no Python 3.11 or newer at /usr/bin/env; ")
    assert done.stderr.count("\n") == 1


def test_what_can_not_be_installed_leaves_nothing(sshd: Sshd, tmp_path: Path) -> None:
    done = ssh_install(sshd, "far", "--wheels", str(tmp_path))  # an empty folder
    assert done.returncode == 1
    assert "flame: remote-flame could not be installed on far: No matching distribution" in done.stderr
    assert installed(sshd) == []


def test_what_its_own_index_has_is_not_carried(sshd: Sshd) -> None:
    no_index = sshd.pip_config.read_text()
    sshd.pip_config.write_text("[install]\nno-deps = yes\n")  # as if it had all that is needed
    try:
        done = ssh_install(sshd, "far")
    finally:
        sshd.pip_config.write_text(no_index)
    assert done.returncode == 0, done.stderr
    assert "its own index" in done.stderr
    assert "carrying" not in done.stderr
    assert installed(sshd) == [f"{flame_kernel.__version__}-1", "current"]


def test_without_an_index_it_is_carried_and_used(sshd: Sshd) -> None:
    done = ssh_install(sshd, "far")
    assert done.returncode == 0, done.stderr
    assert "carrying" in done.stderr
    version = flame_kernel.__version__
    folder = sshd.home / "ssh" / f"{version}-2"
    assert done.stdout == f"ssh://far has remote-flame {version} in {folder}; connect to it with ssh://far\n"
    with connect("ssh://far") as flame:
        assert flame.module("sys").prefix == str(folder)
        assert flame.module("flame_kernel").__version__ == version
        assert flame.run("%pip --version", quiet=True).outputs[0]["text"].startswith("pip ")
