"""Sessions in environments that know nothing of Flame: another Python where there's one, and an old ipykernel."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flame_kernel import Flame, Host, connect
from flame_kernel.errors import KernelStartFailed, UnknownKernel
from flame_kernel.versions import PYTHON, installed
from tests.integration.servers import FlameServer, flame_command, pair, short_folder
from tests.ports import free_port

# pip may take its time to make the old environment, once in a checkout.
pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).resolve().parents[2]

# The oldest that still starts on these Pythons, and one for those that came later.
OLD, LESS_OLD = "ipykernel==6.17.1", "ipykernel==6.29.5"


def oldest_python() -> tuple[str, str]:
    """Return the oldest Python on this machine that a session can run on, and its version."""
    places = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.*/bin/python"))
    found = []
    for python in (*map(str, places), *filter(None, map(shutil.which, ("python3.9", "python3.10")))):
        code = "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"
        told = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=20, check=False)
        if told.returncode == 0:
            found.append((tuple(map(int, told.stdout.split("."))), python))
    (major, minor), python = min(
        [one for one in found if one[0] >= (3, 9)], default=(sys.version_info[:2], sys.executable)
    )
    return python, f"{major}.{minor}"


@pytest.fixture(scope="module")
def old() -> Path:
    """An environment with an old ipykernel; it takes a quarter of a minute to make, so it's kept."""
    python, version = oldest_python()
    prefix = ROOT / "build" / "environments" / f"old-{version}"
    if not (prefix / "complete").exists():
        shutil.rmtree(prefix, ignore_errors=True)
        subprocess.run([python, "-m", "venv", str(prefix)], check=True)
        package = OLD if tuple(map(int, version.split("."))) < (3, 12) else LESS_OLD
        # Not compiled: sessions load a small part of it.
        install = [str(prefix / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-compile", package]
        subprocess.run(install, check=True, timeout=100)
        (prefix / "complete").touch()
    return prefix


@pytest.fixture(scope="module")
def server(old: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlameServer]:
    with short_folder() as folder:
        home = folder / "home"
        (home / "venvs").mkdir(parents=True)
        (home / "venvs" / "old").symlink_to(old)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home / "venvs" / "bare")], check=True)
        with FlameServer(folder, HOME=str(home), PYENV_ROOT=str(folder / "none")) as server:
            yield server


@pytest.fixture(scope="module")
def flame(client: FlameServer) -> Iterator[Flame]:
    with connect(client.address, kernel="old", report=False) as flame:
        yield flame


def test_the_hosts_environments_are_listed(client: FlameServer, old: Path) -> None:
    with Host(client.address) as host:
        kernels = {kernel.name: kernel for kernel in host.kernels()}
    assert (kernels["old"].kind, kernels["old"].ready) == ("venv", True)
    assert kernels["bare"].ready is False
    listed = flame_command(client.client_environ(), "kernels", client.address).stdout
    (line,) = (line for line in listed.splitlines() if line.startswith("old "))
    assert line.split()[1] == "venv"
    assert line.split()[-1] == kernels["old"].path
    assert "no ipykernel" in next(line for line in listed.splitlines() if line.startswith("bare "))


def test_the_environment_is_active_for_everything_in_the_session(flame: Flame) -> None:
    prefix = flame.evaluate("__import__('os').environ['VIRTUAL_ENV']")
    assert prefix.endswith("/home/venvs/old")
    assert flame.evaluate("__import__('sys').executable") == f"{prefix}/bin/python"
    cell = flame.run("!python -c 'import sys; print(sys.executable)'\n!pip --version", quiet=True)
    told = "".join(output.get("text", "") for output in cell.outputs).split("\n")
    assert told[0].strip() == f"{prefix}/bin/python"
    real = str(Path(prefix, "lib").resolve())
    assert f"{prefix}/lib" in told[1] or real in told[1]


def test_all_that_a_session_does_works_there(flame: Flame, tmp_path: Path) -> None:
    assert flame.evaluate("__import__('ipykernel').__version__") in (OLD.split("==")[1], LESS_OLD.split("==")[1])
    flame["x"] = {"a": [1, 2.5, None]}
    assert flame["x"] == {"a": [1, 2.5, None]}
    assert flame.module("math").sqrt(25) == 5.0
    assert list(flame.evaluate("(n * n for n in range(3))")) == [0, 1, 4]
    with pytest.raises(ZeroDivisionError):
        flame.evaluate("1 // 0")
    assert flame.run("print('printed'); 6 * 7", quiet=True).value == 42
    (tmp_path / "local").write_bytes(b"content")
    flame.put(tmp_path / "local", f"{tmp_path}/there", progress=False)
    assert flame.getfile(f"{tmp_path}/there") == b"content"
    flame.sendmodule("sent", "def twice(x): return 2 * x")
    assert flame.module("sent").twice(4) == 8
    flame.execute("import socket\nlistening = socket.create_server(('127.0.0.1', 0))")
    with (
        flame.forward(flame.evaluate("listening.getsockname()[1]")) as forward,
        socket.create_connection(("127.0.0.1", forward.local_port), timeout=30) as own,
    ):
        flame.execute("came, _ = listening.accept(); came.sendall(b'hello')")
        assert own.recv(5) == b"hello"


def test_what_the_environment_has_not_stays_there(flame: Flame) -> None:
    flame.execute("import decimal\nclass Own: pass\nown = Own()")
    assert "Own object" in repr(flame["own"])
    with pytest.raises(Exception, match="can't be loaded here: ModuleNotFoundError: No module named 'numpy'"):
        flame["array"] = np.arange(3)
    assert flame.evaluate("1 + 1") == 2


def test_nothing_is_installed_there(flame: Flame, old: Path) -> None:
    names = {path.name.lower() for path in old.glob("lib/python3*/site-packages/*")}
    assert not {name for name in names if "flame" in name or "cloudpickle" in name}
    assert flame.evaluate("[p for p in __import__('sys').path if 'flame' in p]") == []


@pytest.mark.parametrize("path", ["home/venvs/old", "home/venvs/old/bin/python"])
def test_it_may_be_named_by_its_path(client: FlameServer, path: str) -> None:
    with connect(client.address, kernel=str(client.home.parent / path), report=False) as flame:
        assert flame.evaluate("__import__('sys').prefix") == str(client.home.parent / "home/venvs/old")


def test_a_command_runs_in_it_and_only_says_what_it_was_asked(client: FlameServer, flame: Flame) -> None:
    version = flame.evaluate("'%d.%d' % __import__('sys').version_info[:2]")
    code = "print('%d.%d' % __import__('sys').version_info[:2])"
    done = flame_command(client.client_environ(), "eval", "-H", client.address, "-k", "old", code)
    assert (done.stdout, done.stderr, done.returncode) == (f"{version}\n", "", 0)


def test_what_differs_is_told_in_a_line_at_connect(
    client: FlameServer, flame: Flame, capfd: pytest.CaptureFixture[str]
) -> None:
    there = flame.evaluate("'%d.%d.%d' % __import__('sys').version_info[:3]")
    here = installed()[PYTHON]
    differs = there.split(".")[:2] != here.split(".")[:2]
    assert flame.differences() == ({PYTHON: (here, there)} if differs else {})
    assert capfd.readouterr().err == ""
    with connect(client.address, kernel="old"):
        told = capfd.readouterr().err
    assert told == (
        f"[flame] other versions on {flame.session.host}: Python {there} (here {here})\n" if differs else ""
    )


def test_nothing_differs_from_the_same_environment(client: FlameServer, capfd: pytest.CaptureFixture[str]) -> None:
    with connect(client.address) as same:
        assert same.differences() == {}
    assert capfd.readouterr().err == ""


def test_an_environment_without_ipykernel_is_refused_with_what_to_do(client: FlameServer) -> None:
    python = f"{client.home.parent}/home/venvs/bare/bin/python"
    with pytest.raises(KernelStartFailed) as caught:
        connect(client.address, kernel="bare")
    assert str(caught.value) == (
        f"kernel 'bare' did not come up: {python} has no ipykernel; install it there: "
        f"uv pip install --python {python} ipykernel"
    )


def test_a_path_that_leads_nowhere_is_refused(client: FlameServer) -> None:
    with pytest.raises(UnknownKernel, match="there is no environment and no Python at /nowhere on this host"):
        connect(client.address, kernel="/nowhere")


def test_the_next_server_goes_on_with_it(old: Path, lone_server) -> None:
    server = lone_server("-p", str(free_port()))
    pair(server.invite)
    with connect(server.address, session="kept", kernel=str(old), report=False) as flame:
        flame["x"] = 1
        server.terminate()
        server.start()
        assert flame["x"] == 1
        assert flame.evaluate("__import__('sys').prefix") == str(old)
        with connect(server.address, session="kept", report=False) as again:
            assert again.differences() == flame.differences()
        flame.session.restart()
        assert flame.evaluate("__import__('sys').prefix") == str(old)
        flame.session.close()
