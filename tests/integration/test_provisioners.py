"""Sessions are placed by the kernel provisioner that their kernelspec names."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flame_kernel import Host, connect
from flame_kernel.errors import CallsUnavailable, SessionDied, UnknownKernel
from tests.integration import elsewhere
from tests.integration.servers import FlameServer, short_folder, until
from tests.integration.work import in_thread, wait_until_set

IPYKERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

# As if this machine's files were not those of the kernel's.
BLIND = "--IPKernelApp.exec_lines=import importlib.util; importlib.util.spec_from_file_location = None"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a provisioner as pip installs one, and kernelspecs that name it."""
    root = tmp_path_factory.mktemp("site")
    shutil.copy(elsewhere.__file__, root / "elsewhere.py")
    installed = root / "elsewhere-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(
        "[jupyter_client.kernel_provisioners]\nelsewhere = elsewhere:Elsewhere\n"
    )
    for name, argv, provisioner in (
        ("queued", IPYKERNEL, "elsewhere"),
        ("blind", [*IPYKERNEL, BLIND], "elsewhere"),
        ("astray", IPYKERNEL, "not-installed"),
    ):
        spec = {
            "argv": argv,
            "display_name": name,
            "language": "python",
            "metadata": {"kernel_provisioner": {"provisioner_name": provisioner}},
        }
        if provisioner == "elsewhere":
            spec["metadata"]["kernel_provisioner"]["config"] = {"queue": "long"}
        folder = root / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "kernel.json").write_text(json.dumps(spec))
    return root


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[FlameServer]:
    home = {"JUPYTER_PATH": str(site), "PYTHONPATH": str(site), "HOME": str(site)}
    with short_folder() as folder, FlameServer(folder, **home) as server:
        yield server


def job(flame) -> int:
    return flame.evaluate("__import__('os').getpid()")


def test_a_session_runs_where_the_provisioner_placed_it(client: FlameServer) -> None:
    with connect(client.address, kernel="queued") as flame:
        assert flame.evaluate("__import__('os').environ['QUEUE']") == "long"
        assert flame.run("6 * 7", quiet=True).value == 42
        cell = in_thread(flame.run, "import time\nbegun = True\nwhile True: time.sleep(0.01)", quiet=True)
        wait_until_set(flame, "begun")
        flame.session.interrupt()
        with pytest.raises(KeyboardInterrupt):
            cell.result(20)
        first = job(flame)
        flame.session.restart()
        second = job(flame)
        assert first != second
        until(lambda: not psutil.pid_exists(first))
    until(lambda: not psutil.pid_exists(second))


def test_its_death_is_told(client: FlameServer) -> None:
    with connect(client.address, kernel="queued") as flame:
        pid = job(flame)
        cell = in_thread(flame.run, "import time\nwhile True: time.sleep(0.01)", quiet=True)
        os.kill(pid, 9)
        with pytest.raises(SessionDied):
            cell.result(20)


def test_it_outlives_the_server(client: FlameServer) -> None:
    with connect(client.address, kernel="queued", session="kept") as flame:
        flame["x"] = 41
        pid = job(flame)
    client.kill()
    client.start()
    Host(client.invite).close()
    with connect(client.address, session="kept") as flame:
        assert (flame.evaluate("x + 1"), job(flame)) == (42, pid)
        flame.session.restart()
        assert job(flame) != pid
        flame.session.close()


def test_one_that_shares_no_files_with_its_server_runs_cells(client: FlameServer) -> None:
    with connect(client.address, kernel="blind") as flame:
        assert flame.run("print(6 * 7)", quiet=True).outputs[0]["text"] == "42\n"
        with pytest.raises(CallsUnavailable, match="runs cells, but answers no calls"):
            flame.evaluate("1")


def test_a_provisioner_that_is_not_there_is_told_in_a_line(client: FlameServer) -> None:
    with pytest.raises(
        UnknownKernel, match=r"'astray' can't be started: the server lacks the kernel provisioner"
    ) as caught:
        connect(client.address, kernel="astray")
    assert "\n" not in str(caught.value)
