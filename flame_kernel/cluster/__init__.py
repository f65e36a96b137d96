"""A Dask cluster on Flame servers: ``pip install remote-flame[dask]``, then ``FlameCluster(["gpu1", "gpu2"])``.

This package is no part of the core, which never imports it. ``node`` is loaded in sessions on the cluster's hosts, the
rest where the user is; so nothing is imported here before it's asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame_kernel.cluster.cluster import FlameCluster as FlameCluster

__all__ = ["FlameCluster"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("flame_kernel.cluster.cluster"), name)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("dask", "distributed"):
            raise
        raise ModuleNotFoundError(
            f"a cluster needs {package}, which is not installed here: pip install 'remote-flame[dask]'", name=error.name
        ) from None
