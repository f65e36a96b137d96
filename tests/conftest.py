"""What holds for all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes, or to make one, says what else the machine does. What hangs is ended by its own means.
settings.register_profile("flame", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("flame")

# Hundreds of servers, kernels and commands are started: what they load is compiled once, also where an image says that
# Python shall not write down what it has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Files that take half a minute and more, the longest first. Workers are given whole files, and one that begins late is
# what all the others wait for in the end.
LONGEST = (
    "conformance/test_notebooks.py",
    "integration/test_console.py",
    "integration/test_cluster.py",
    "integration/test_server.py",
    "conformance/test_magics_notebooks.py",
    "integration/test_keys.py",
    "browser/test_lab_first_class.py",
    "integration/test_environments.py",
    "integration/test_ssh_install.py",
    "conformance/test_slow_starts.py",
    "integration/test_troubled_networks.py",
    "integration/test_server_restart.py",
    "integration/test_leases.py",
    "integration/test_host.py",
    "integration/test_ssh.py",
    "integration/test_warm.py",
    "integration/test_cuts.py",
    "conformance/test_server_away.py",
    "integration/test_bench.py",
    "integration/test_cli_troubles.py",
    "integration/test_sessions.py",
    "integration/test_missed.py",
    "browser/test_lab.py",
    "conformance/test_moves.py",
    "integration/test_futures.py",
    "integration/test_files.py",
)
_TESTS = Path(__file__).parent
_RANK = {_TESTS / name: rank for rank, name in enumerate(LONGEST)}


def pytest_configure() -> None:
    """Have the list of the longest follow when a file is renamed."""
    if gone := [name for name in LONGEST if not (_TESTS / name).exists()]:
        raise pytest.UsageError(f"tests/conftest.py lists what is not there: {', '.join(gone)}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the other files stay in their order, of which the quick ones in unit are last."""
    items.sort(key=lambda item: _RANK.get(item.path, len(_RANK)))


@pytest.fixture(scope="session", autouse=True)
def own_ipython(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep IPython's profile and its database of history out of the user's home, and apart from other workers'."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.delenv("VIRTUAL_ENV", raising=False)  # an IPython in another environment than that warns of it
        yield
