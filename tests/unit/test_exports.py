"""The public interface, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import flame_kernel
from flame_kernel import errors

HEAVY = ("IPython", "ipykernel", "tornado", "zmq", "msgspec", "jupyter_client", "cloudpickle", "asyncio")


def test_the_public_names_are_these() -> None:
    assert flame_kernel.__all__ == [
        "About",
        "CellFuture",
        "CellGoesOn",
        "CellLeft",
        "CellResult",
        "CellsFailed",
        "Completion",
        "Completions",
        "Flame",
        "Group",
        "GroupResult",
        "Host",
        "Missed",
        "__version__",
        "connect",
        "errors",
        "is_remote",
        "known_hosts",
    ]
    assert dir(flame_kernel) == flame_kernel.__all__


def test_every_public_name_is_there_when_asked_for() -> None:
    for name in flame_kernel.__all__:
        assert getattr(flame_kernel, name) is not None
    assert flame_kernel.errors is errors


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'flame_kernel' has no attribute 'nonsense'"):
        flame_kernel.nonsense  # noqa: B018  # asking is what's tested


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert run(f"import flame_kernel, sys; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_the_client_loads_no_ipython_ipykernel_or_tornado_and_none_of_pyzmqs_slow_halves() -> None:
    slow = {"IPython", "ipykernel", "tornado", "zmq.asyncio", "zmq.auth"}

    assert run(f"import sys; from flame_kernel import connect; connect; print({slow} & set(sys.modules))") == "set()"


def test_the_worker_loads_nothing_but_the_standard_library_pyzmq_and_itself() -> None:
    code = """
import sys
before = set(sys.modules)
import flame_kernel.worker.main
import sysconfig
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)
print(sorted(name for name in loaded - {"cython_runtime"} if not name.startswith("_")))
"""

    assert run(code) == "['flame_kernel', 'zmq']"
