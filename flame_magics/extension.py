"""What loading the extension puts into a shell, and unloading takes out of it again."""

from __future__ import annotations

from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell

from flame_magics.base import FlameMagic
from flame_magics.cells import CellMagics
from flame_magics.clusters import ClusterMagics
from flame_magics.completing import Completing
from flame_magics.connecting import ConnectingMagics
from flame_magics.connections import Connections
from flame_magics.console import ConsoleMagics
from flame_magics.expressions import ExpressionMagics
from flame_magics.inspecting import Inspecting
from flame_magics.modules import ModuleMagics, Resending
from flame_magics.moving import MovingMagics
from flame_magics.ports import PortMagics
from flame_magics.sessions import SessionMagics
from flame_magics.settings import FlameMagics

# Every magic is a method of one of these.
MAGICS: tuple[type[FlameMagic], ...] = (
    ConnectingMagics,
    SessionMagics,
    CellMagics,
    ExpressionMagics,
    ClusterMagics,
    PortMagics,
    MovingMagics,
    ModuleMagics,
    ConsoleMagics,
)


class Addition(Protocol):
    """Something else that the extension puts into a shell, such as a completer."""

    def __init__(self, shell: InteractiveShell, connections: Connections) -> None: ...

    def load(self) -> None:
        """Put it in."""

    def unload(self) -> None:
        """Take it out."""


ADDITIONS: tuple[type[Addition], ...] = (
    Resending,
    Completing,
    Inspecting,
)


class Extension:
    """The extension in one shell.

    Args:
        shell: The running IPython.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell
        self._configurables: list[Any] = shell.configurables  # what %config finds
        self._settings = FlameMagics(parent=shell)
        self._connections = Connections(self._settings)
        self._magics = [kind(shell, self) for kind in MAGICS]
        self._additions = [kind(shell, self._connections) for kind in ADDITIONS]

    @property
    def connections(self) -> Connections:
        """The notebook's connections."""
        return self._connections

    def load(self) -> None:
        """Register everything."""
        self._configurables.append(self._settings)
        for magics in self._magics:
            self._shell.register_magics(magics)
            magics.load()
        for addition in self._additions:
            addition.load()

    def unload(self) -> None:
        """Take it out again, and close the connections."""
        for addition in reversed(self._additions):
            addition.unload()
        self._configurables.remove(self._settings)
        manager = self._shell.magics_manager
        for magics in self._magics:
            magics.unload()
            for kind, names in magics.magics.items():
                for name in names:
                    manager.magics[kind].pop(name, None)
            manager.registry.pop(type(magics).__name__, None)
        self.connections.close()


def load(shell: InteractiveShell) -> None:
    """Load the extension into a shell, once."""
    if _loaded(shell) is None:
        Extension(shell).load()


def unload(shell: InteractiveShell) -> None:
    """Unload it, if it is there."""
    magics = _loaded(shell)
    if magics is not None:
        magics.extension.unload()


def _loaded(shell: InteractiveShell) -> FlameMagic | None:
    found: FlameMagic | None = shell.magics_manager.registry.get(ConnectingMagics.__name__)
    return found
