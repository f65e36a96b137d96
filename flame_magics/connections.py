"""The connections of a notebook, by name; one of them is the default."""

from __future__ import annotations

from dataclasses import dataclass

from flame_kernel import Flame, connect
from flame_kernel.errors import ConnectError
from flame_magics.settings import FlameMagics

# What a connection to this machine's own server is called.
EMBEDDED = "local"

ALL = "all"


@dataclass(frozen=True)
class Connected:
    """A connection, and how it came to be.

    Attributes:
        name: What the notebook calls it.
        flame: The connection.
        target: What the user named; ``None`` for this machine, or what FLAME_HOST says.
        again: The line that connects once more.
    """

    name: str
    flame: Flame
    target: str | None
    again: str


class Connections:
    """Keeps a notebook's connections.

    Args:
        settings: What is configured.
    """

    def __init__(self, settings: FlameMagics) -> None:
        self.settings = settings
        self._by_name: dict[str, Connected] = {}
        self.default = ""

    def add(self, connected: Connected, default: bool = True) -> None:
        """Take a connection; one of the same name is closed.

        Args:
            connected: The connection.
            default: Whether it becomes the default; the first does anyhow.
        """
        previous = self._by_name.pop(connected.name, None)
        if previous is not None:
            previous.flame.close()
        self._by_name[connected.name] = connected
        if default or not self.default:
            self.default = connected.name

    def get(self, name: str | None = None) -> Flame:
        """Return a connection that can be used.

        Args:
            name: Its name; ``None`` for the default.

        Raises:
            ConnectError: There's none of that name, or it has ended; the message says what to type.
        """
        return self.find(name).flame

    def find(self, name: str | None = None) -> Connected:
        """Return a connection that can be used, and how it came to be; as ``get`` does."""
        wanted = name or self.default
        if not wanted and self.settings.embedded:
            self.add(Connected(EMBEDDED, connect(), None, f"%flame_connect -n {EMBEDDED}"))
            wanted = EMBEDDED
        connected = self._by_name.get(wanted)
        if connected is None:
            raise ConnectError(self._missing(wanted))
        if connected.flame.closed:
            raise ConnectError(f"the connection {wanted!r} has ended; {connected.again} connects again")
        return connected

    def several(self, wanted: str | None) -> list[Connected]:
        """Return the connections that ``-t`` names: one, several (``a,b``), or ``all``; the default for ``None``.

        Raises:
            ConnectError: As for ``get``.
        """
        if wanted == ALL and ALL not in self._by_name:
            return [self.find(name) for name in self._by_name or {self.default: None}]
        listed = [name.strip() for name in (wanted or "").split(",") if name.strip()]
        return [self.find(name) for name in dict.fromkeys(listed)] if listed else [self.find()]

    def set_default(self, name: str) -> None:
        """Make a connection the default."""
        self.default = self.find(name).name

    def remove(self, name: str | None) -> Connected:
        """Forget a connection, which the caller closes.

        Raises:
            ConnectError: There's none of that name.
        """
        wanted = name or self.default
        connected = self._by_name.pop(wanted, None)
        if connected is None:
            raise ConnectError(self._missing(wanted))
        if wanted == self.default:
            self.default = next(reversed(self._by_name), "")
        return connected

    def target(self) -> str | None:
        """Return the server that the default connection leads to, as the user named it."""
        connected = self._by_name.get(self.default)
        return connected.target if connected is not None else None

    def items(self) -> list[Connected]:
        """Return all of them, also those that have ended."""
        return list(self._by_name.values())

    def close(self) -> None:
        """Close all of them."""
        for connected in self.items():
            connected.flame.close()
        self._by_name.clear()
        self.default = ""

    def _missing(self, wanted: str) -> str:
        if not self._by_name:
            return "not connected: %flame_connect HOST first"
        return f"there is no connection named {wanted!r}; there are: {', '.join(self._by_name)}"
