"""The `flame` command."""

from __future__ import annotations

from pathlib import Path

import pytest

import flame_kernel
from flame_kernel import connect
from tests.integration.servers import FlameServer, clean_environ, flame_command


def test_version(folder: Path) -> None:
    done = flame_command(clean_environ(folder), "--version")
    assert done.returncode == 0
    assert flame_kernel.__version__ in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["serve", "-h"], ["serve", "--help"], ["invite", "-h"]])
def test_help(folder: Path, arguments: list[str]) -> None:
    done = flame_command(clean_environ(folder), *arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    assert "--help" in done.stdout


def test_options_of_the_server_are_explained(folder: Path) -> None:
    text = flame_command(clean_environ(folder), "serve", "-h").stdout
    for option in ("-H", "-p", "-u", "-q", "-v", "-k", "-h", "--enable"):
        assert f"{option}" in text
    assert "--embedded" not in text


def test_unknown_command_and_option(folder: Path) -> None:
    for arguments in (["frobnicate"], ["serve", "--frobnicate"], ["serve", "-p", "70000"]):
        done = flame_command(clean_environ(folder), *arguments)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_invite_pairs_a_second_client(client: FlameServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = client.fresh_invite()
    assert text.startswith(f"flame://127.0.0.1:{client.port}/#")
    monkeypatch.setenv("FLAME_HOME", str(folder / "second"))
    with connect(text) as flame:
        assert flame.evaluate("1") == 1
        assert len(flame.sessions()) == 1  # another key sees its own sessions only
    with connect(client.address) as flame:
        assert flame.evaluate("1") == 1


def test_invite_names_the_host_it_is_told(client: FlameServer) -> None:
    done = client.command("invite", "-H", "gpu1", "-p", "4321")
    assert done.stdout.startswith("flame://gpu1:4321/#")
