"""The connections of a notebook, by name; one of them is the default."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

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
        again: The line that connects once more.
    """

    name: str
    flame: Flame
    again: str

    @property
    def target(self) -> str:
        """Its server, as ``%flame_connect`` takes it."""
        return self.flame.session.address

    @classmethod
    def by(cls, magic: str, flame: Flame, name: str, *options: str | None) -> Connected:
        """Return a connection that a magic has made.

        Args:
            magic: What connects once more.
            flame: The connection.
            name: What the notebook calls it.
            options: What the magic has to be given; those that are ``None`` are left out.
        """
        line = [magic, *(option for option in options if option is not None), "-n", name]
        return cls(name, flame, shlex.join(line))

    def left(self) -> Connected:
        """Return it as it is when the notebook has left its session, which goes on."""
        session = self.flame.session
        return replace(self, again=shlex.join(["%flame_attach", session.name, session.address, "-n", self.name]))


class Connections:
    """Keeps a notebook's connections.

    Args:
        settings: What is configured.
    """

    def __init__(self, settings: FlameMagics) -> None:
        self.settings = settings
        self._by_name: dict[str, Connected] = {}
        self.default = ""

    def add(self, connected: Connected, default: bool = False) -> None:
        """Take a connection; one of the same name is closed.

        Args:
            connected: The connection.
            default: Whether it becomes the default; it does anyhow where there's none that can be used.
        """
        previous = self._by_name.get(connected.name)
        if previous is not None and previous.flame is not connected.flame:
            previous.flame.close()
        self._by_name[connected.name] = connected
        current = self._by_name.get(self.default)
        if default or current is None or current.flame.closed:
            self.default = connected.name

    def name_for(self, flame: Flame, wanted: str | None) -> str:
        """Return what to call a new connection: the host, or more than that where that is another's name.

        Args:
            flame: The connection.
            wanted: What the user wants it to be called; ``None`` for anything.
        """
        if wanted is not None:
            return wanted
        session = flame.session
        for name in (session.host, session.address):
            taken = self._by_name.get(name)
            if taken is None or taken.flame.closed or _place(taken.flame) == _place(flame):
                return name
        return f"{session.host}/{session.name}"

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
            self.add(Connected.by("%flame_connect", connect("embedded"), EMBEDDED, "embedded"))
            wanted = EMBEDDED
        connected = self._by_name.get(wanted)
        if connected is None:
            raise ConnectError(self._missing(wanted))
        if connected.flame.closed:
            raise ConnectError(f"the connection {wanted!r} has ended: {connected.again} connects again")
        return connected

    def several(self, wanted: str | None) -> list[Connected]:
        """Return the connections that ``-t`` names: one, several (``a,b``), or ``all``; the default for ``None``.

        Raises:
            ConnectError: As for ``get``.
        """
        if wanted == ALL and ALL not in self._by_name:
            return [self.find(name) for name in self._by_name] or [self.find()]
        listed = [name.strip() for name in (wanted or "").split(",") if name.strip()]
        return [self.find(name) for name in dict.fromkeys(listed)] if listed else [self.find()]

    def set_default(self, name: str) -> Flame:
        """Make a connection the default, and return it."""
        connected = self.find(name)
        self.default = connected.name
        return connected.flame

    def leave(self, connected: Connected) -> None:
        """Note that the notebook has left the session of a connection, which goes on."""
        self._by_name[connected.name] = connected.left()

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
        """Return the server that the default connection leads to; ``None`` where there is none."""
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


def _place(flame: Flame) -> tuple[str, str]:
    """Return where a connection leads; private sessions of one server are the same place."""
    session = flame.session
    return session.address, "" if session.private else session.name
