"""What ``flame --help`` loads: whoever asks, or presses Tab, waits for every module."""

from __future__ import annotations

import pytest

from tests.loading import loaded_by

HELP = """
import sys, flame_kernel.cli
try:
    flame_kernel.cli.main(["--help"])
except SystemExit:
    print(*sys.modules, sep="\\n")
"""

# Slow, and needed by commands that do something.
HEAVY = (
    "IPython",
    "asyncio",
    "concurrent",
    "email",
    "flame_kernel.cli.serving",
    "flame_kernel.client",
    "flame_kernel.protocol",
    "flame_kernel.security",
    "flame_kernel.server",
    "flame_kernel.transport",
    "http",
    "importlib.metadata",
    "jupyter_client",
    "json",
    "logging",
    "msgspec",
    "platformdirs",
    "psutil",
    "socket",
    "ssl",
    "subprocess",
    "tqdm",
    "zmq",
)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return loaded_by(HELP)


@pytest.mark.parametrize("name", HEAVY)
def test_help_does_not_load(loaded: set[str], name: str) -> None:
    assert "flame_kernel.cli.sessions" in loaded
    assert not {module for module in loaded if module == name or module.startswith(name + ".")}
