"""`tests/node`, a client in another language written from docs/protocol.md: its vectors, and a real server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.servers import FlameServer

FOLDER = Path(__file__).resolve().parents[1] / "node"

# Node's own test runner, whose words are the same wherever they go.
TEST = ("--test", "--test-reporter=tap")

# npm's own words come last in what it prints; more of it helps nobody.
_LAST_LINES = 15


def run(command: list[str], timeout: float, **more: str) -> subprocess.CompletedProcess[str]:
    # npm tells Node tests of a node that runs it; what runs here is a test runner of its own.
    environ = {name: value for name, value in os.environ.items() if name != "NODE_TEST_CONTEXT"}
    return subprocess.run(
        command, cwd=FOLDER, env={**environ, **more}, capture_output=True, text=True, timeout=timeout, check=False
    )


def require_passed(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE), "no test was run"


@pytest.fixture(scope="module")
def node() -> str:
    """The `node` program, with the packages of the lock file; the machine has both, and reaches the registry."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.fail("node and npm are missing; on Debian: apt-get install nodejs npm")
    lock, installed = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # ZeroMQ is in the package, built; no script has to run for it.
        done = run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], timeout=100)
        told = "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
        assert done.returncode == 0, f"npm ci failed in tests/node (is npm's registry reached from here?):\n{told}"
        installed.touch()
    return node


def test_the_vectors_mean_the_same_to_another_implementation(node: str) -> None:
    require_passed(run([node, *TEST, "vectors.test.js"], timeout=60))


def test_a_client_in_node_works_with_a_real_server(node: str, client: FlameServer) -> None:
    environ = {"FLAME_INVITE": client.fresh_invite(), "FLAME_USED_INVITE": client.invite}
    require_passed(run([node, *TEST, "client.test.js"], timeout=100, **environ))
