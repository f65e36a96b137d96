"""The way into a session: a piece of code that its kernel runs silently, before anything else.

The code loads this very copy of the package by its path, without touching ``sys.path``: so a session in another
environment gets nothing but ``flame_kernel`` itself, and cloudpickle where the environment has none.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_CODE = """
import sys
if sys.version_info < (3, 9):
    raise RuntimeError("this is Python %d.%d, and a session needs Python 3.9 or newer" % sys.version_info[:2])

def load(name, folder):
    import importlib.util, sys
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

load("flame_kernel", {package!r})
try:
    import cloudpickle
except ImportError:
    if {cloudpickle!r}:
        load("cloudpickle", {cloudpickle!r})
from flame_kernel.worker.leash import tie
from flame_kernel.worker.main import start
tie({server!r}, {host!r}, {record!r}, {leavings!r})
start({address!r}, {transfers!r})
"""

# What tells the versions there, once the worker is loaded.
VERSIONS = "__import__('flame_kernel.versions', fromlist=['report']).report()"

_MOVE = """
import os
os.chdir({folder!r})
os.environ["PWD"] = {folder!r}
"""


def load(address: str, record: Path, leavings: str = "", transfers: int = 32) -> str:
    """Return the code that a Python kernel runs to load the worker.

    Args:
        address: Where the worker shall wait for calls, ``ipc://path``.
        record: If this process ends and the file isn't there, the kernel ends too.
        leavings: The files to remove with it, as a pattern.
        transfers: How many may copy files in it at a time.

    Returns:
        One statement that leaves no name behind in the user's namespace.
    """
    package = str(Path(__file__).resolve().parent.parent)
    spec = importlib.util.find_spec("cloudpickle")
    cloudpickle = str(Path(spec.origin).parent) if spec is not None and spec.origin is not None else ""
    code = _CODE.format(
        package=package,
        cloudpickle=cloudpickle,
        address=address,
        server=os.getpid(),
        host=socket.gethostname(),
        record=str(record),
        leavings=leavings,
        transfers=transfers,
    )
    return f"exec({code!r}, {{}})"


def endings(msg_ids: Sequence[str]) -> str:
    """Return the expression that tells how cells ended, as in :class:`~flame_kernel.worker.endings.Endings`."""
    return f"__import__('IPython').get_ipython().flame_endings.report({list(msg_ids)!r})"


def told(value: Mapping[str, Any]) -> Any:
    """Return the plain data in the value of an expression that gives JSON; ``None`` when there was none."""
    return json.loads(ast.literal_eval(value["data"]["text/plain"])) if value.get("status") == "ok" else None


def move(folder: Path) -> str:
    """Return the code that makes a Python kernel work in another folder."""
    return f"exec({_MOVE.format(folder=str(folder))!r}, {{}})"
