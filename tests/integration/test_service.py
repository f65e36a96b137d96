"""The server as a service manager sees it: readiness, and the unit file of the docs."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.servers import PATIENCE_S, Program, clean_environ

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to.md"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    """The unit file of the docs."""
    (text,) = re.findall(r"^```ini\n(\[Unit\].*?)^```", HOW_TO.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_the_unit_s_command_tells_when_it_listens_and_when_it_ends(
    folder: Path, unit: configparser.ConfigParser, abstract: bool
) -> None:
    name, *options = shlex.split(unit["Service"]["ExecStart"])
    assert Path(name).name == "flame-server"
    assert unit["Service"]["Type"] == "notify"
    address = f"@flame-test-{folder.name}" if abstract else str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        manager.settimeout(PATIENCE_S)
        command = [sys.executable, "-m", "flame_kernel", "serve", *options, "-p", "0"]
        told = dict([unit["Service"]["Environment"].split("=")])
        program = Program(command, clean_environ(folder, NOTIFY_SOCKET=address, **told))
        try:
            assert manager.recv(100) == b"READY=1"
            program.signal(signal.SIGTERM)
            assert manager.recv(100) == b"STOPPING=1"
            assert program.wait() == 0
        finally:
            program.kill()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this machine has no systemd to ask")
def test_systemd_takes_the_unit(folder: Path, unit: configparser.ConfigParser) -> None:
    unit["Service"]["ExecStart"] = "/bin/true"  # flame-server is not installed for this user
    with (folder / "flame.service").open("w") as file:
        unit.write(file, space_around_delimiters=False)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", str(folder / "flame.service")],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )

    assert "flame.service" not in done.stderr
    assert unit["Service"]["KillMode"] == "process"
