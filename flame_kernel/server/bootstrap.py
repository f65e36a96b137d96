"""The way into a session: a piece of code that its kernel runs silently, before anything else.

The code loads this very copy of the package by its path, without touching ``sys.path``: so a session in another
environment gets nothing but ``flame_kernel`` itself, and cloudpickle where the environment has none.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_CODE = """
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
from flame_kernel.worker.main import start
start({address!r})
"""


def code(address: str) -> str:
    """Return the code that a Python kernel runs to load the worker.

    Args:
        address: Where the worker shall wait for calls, ``ipc://path``.

    Returns:
        One statement that leaves no name behind in the user's namespace.
    """
    package = str(Path(__file__).resolve().parent.parent)
    spec = importlib.util.find_spec("cloudpickle")
    cloudpickle = str(Path(spec.origin).parent) if spec is not None and spec.origin is not None else ""
    return f"exec({_CODE.format(package=package, cloudpickle=cloudpickle, address=address)!r}, {{}})"
