"""What all classes of magics share: the shell, its names, and the notebook's connections."""

from __future__ import annotations

from typing import Any, Protocol

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics

from flame_magics.connections import Connections


class Loaded(Protocol):
    """The extension, as its magics see it."""

    @property
    def connections(self) -> Connections:
        """The notebook's connections."""

    def unload(self) -> None:
        """Take everything out of the shell again."""


class FlameMagic(Magics):
    """Magics of this extension.

    Args:
        shell: The running IPython.
        extension: What they belong to.

    Attributes:
        ipython: The running IPython.
        connections: The notebook's connections.
        names: The notebook's namespace.
    """

    def __init__(self, shell: InteractiveShell, extension: Loaded) -> None:
        super().__init__(shell)
        self.ipython = shell  # as `shell`, which IPython allows to be missing
        self.extension = extension
        self.connections: Connections = extension.connections
        self.names: dict[str, Any] = shell.user_ns

    def load(self) -> None:
        """Put into the shell what is more than a magic."""

    def unload(self) -> None:
        """Take it out again."""
