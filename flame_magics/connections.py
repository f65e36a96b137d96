"""The connections of a notebook, by name; one of them is the default."""

from __future__ import annotations

from flame_kernel import Flame
from flame_kernel.errors import ConnectError


class Connections:
    """Keeps a notebook's connections."""

    def __init__(self) -> None:
        self._by_name: dict[str, Flame] = {}
        self.default = ""

    def add(self, name: str, flame: Flame) -> None:
        """Take a connection; it becomes the default, and one of the same name is closed."""
        previous = self._by_name.pop(name, None)
        if previous is not None:
            previous.close()
        self._by_name[name] = flame
        self.default = name

    def get(self, name: str | None) -> Flame:
        """Return a connection.

        Args:
            name: Its name; ``None`` for the default.

        Raises:
            ConnectError: There's none of that name, or it has ended; the message says what to type.
        """
        wanted = name or self.default
        flame = self._by_name.get(wanted)
        if flame is None:
            if not self._by_name:
                raise ConnectError("not connected: %flame_connect HOST first")
            raise ConnectError(f"there is no connection named {wanted!r}; there are: {', '.join(self._by_name)}")
        if flame.closed:
            raise ConnectError(f"the connection {wanted!r} has ended: %flame_connect again")
        return flame

    def remove(self, name: str | None) -> str:
        """Close a connection and return its name.

        Raises:
            ConnectError: There's none of that name.
        """
        wanted = name or self.default
        flame = self._by_name.pop(wanted, None)
        if flame is None:
            raise ConnectError(f"there is no connection named {wanted!r}" if wanted else "not connected")
        flame.close()
        if wanted == self.default:
            self.default = next(reversed(self._by_name), "")
        return wanted

    def items(self) -> list[tuple[str, Flame]]:
        """Return all of them."""
        return list(self._by_name.items())

    def close(self) -> None:
        """Close all of them."""
        for flame in self._by_name.values():
            flame.close()
        self._by_name.clear()
        self.default = ""
