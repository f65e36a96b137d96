"""Remote Flame: another machine's Python from a notebook or a script.

The names below are the whole public interface; they are loaded on first use, so that ``import flame_kernel`` costs
next to nothing, inside a session as well.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flame_kernel.client.about import About as About
    from flame_kernel.client.calls.proxies import is_remote as is_remote
    from flame_kernel.client.cells.cells import CellLeft as CellLeft
    from flame_kernel.client.cells.cells import CellResult as CellResult
    from flame_kernel.client.cells.missed import Missed as Missed
    from flame_kernel.client.completing import Completion as Completion
    from flame_kernel.client.completing import Completions as Completions
    from flame_kernel.client.connect import connect as connect
    from flame_kernel.client.flame import Flame as Flame
    from flame_kernel.client.group import CellsFailed as CellsFailed
    from flame_kernel.client.group import Group as Group
    from flame_kernel.client.group import GroupResult as GroupResult
    from flame_kernel.client.host import Host as Host
    from flame_kernel.client.known import known_hosts as known_hosts
    from flame_kernel.client.running import CellFuture as CellFuture
    from flame_kernel.client.running import CellGoesOn as CellGoesOn

__version__ = "0.1.0"

_HOMES = {
    "connect": "flame_kernel.client.connect",
    "Completion": "flame_kernel.client.completing",
    "Completions": "flame_kernel.client.completing",
    "Flame": "flame_kernel.client.flame",
    "Host": "flame_kernel.client.host",
    "Missed": "flame_kernel.client.cells.missed",
    "About": "flame_kernel.client.about",
    "CellFuture": "flame_kernel.client.running",
    "CellGoesOn": "flame_kernel.client.running",
    "CellLeft": "flame_kernel.client.cells.cells",
    "CellsFailed": "flame_kernel.client.group",
    "is_remote": "flame_kernel.client.calls.proxies",
    "CellResult": "flame_kernel.client.cells.cells",
    "Group": "flame_kernel.client.group",
    "GroupResult": "flame_kernel.client.group",
    "errors": "flame_kernel",
    "known_hosts": "flame_kernel.client.known",
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if home == __name__:
        return import_module(f"{home}.{name}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
