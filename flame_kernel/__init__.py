"""Remote Flame: another machine's Python from a notebook or a script.

The names below are the whole public interface; they are loaded on first use, so that ``import flame_kernel`` costs
next to nothing, inside a session as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame_kernel.client.cells import CellResult as CellResult
    from flame_kernel.client.completing import Completion as Completion
    from flame_kernel.client.completing import Completions as Completions
    from flame_kernel.client.connect import connect as connect
    from flame_kernel.client.flame import Flame as Flame
    from flame_kernel.client.handles import Handle as Handle
    from flame_kernel.client.host import Host as Host
    from flame_kernel.client.known import known_hosts as known_hosts
    from flame_kernel.client.missed import Missed as Missed

__version__ = "0.1.0"

_HOMES = {
    "connect": "flame_kernel.client.connect",
    "Completion": "flame_kernel.client.completing",
    "Completions": "flame_kernel.client.completing",
    "Flame": "flame_kernel.client.flame",
    "Handle": "flame_kernel.client.handles",
    "Host": "flame_kernel.client.host",
    "Missed": "flame_kernel.client.missed",
    "CellResult": "flame_kernel.client.cells",
    "errors": "flame_kernel",
    "known_hosts": "flame_kernel.client.known",
}

__all__ = [
    "CellResult",
    "Completion",
    "Completions",
    "Flame",
    "Handle",
    "Host",
    "Missed",
    "__version__",
    "connect",
    "errors",
    "known_hosts",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home == __name__:
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
