"""What the bridge's process loads: a notebook's start waits for every module."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.loading import loaded_by

LIST = "import sys, flame_kernel.kernel.__main__; print(*sys.modules, sep='\\n')"

# Slow, and needed by a server, by a first pairing, or by nobody.
HEAVY = (
    "IPython",
    "argparse",
    "email",
    "flame_kernel.client.links.diagnose",
    "flame_kernel.client.links.enrol",
    "flame_kernel.security.admission",
    "flame_kernel.security.invite_book",
    "flame_kernel.server",
    "flame_kernel.worker",
    "http",
    "ipykernel",
    "jupyter_client",
    "logging.handlers",
    "multiprocessing",
    "numpy",
    "platformdirs",
    "psutil",
    "tempfile",
    "tornado",
    "traitlets",
    "typing_extensions",
    "zmq.asyncio",
    "zmq.auth",
)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    return loaded_by(LIST)


@pytest.mark.parametrize("name", HEAVY)
def test_the_bridge_does_not_load(loaded: set[str], name: str) -> None:
    assert "flame_kernel.kernel.bridge" in loaded
    assert not {module for module in loaded if module == name or module.startswith(name + ".")}


def test_what_was_hidden_during_the_start_can_be_imported_after_it() -> None:
    pytest.importorskip("typing_extensions")
    code = "import flame_kernel.kernel.__main__; import gc, typing_extensions; assert gc.isenabled()"
    subprocess.run([sys.executable, "-c", code], check=True)
