"""Remote modules and builtins as if they were here."""

from __future__ import annotations

from typing import Any

from flame_kernel.client.connection import Connection
from flame_kernel.protocol.calls import Operation

# Names that IPython and others look for on every object they meet; asking the remote side would cost a round trip each.
_ASKED_OF_EVERYTHING = ("_repr_", "_ipython_", "__")


class RemoteObject:
    """Something in a remote module, by its path: calls and attribute look-ups happen there.

    Args:
        connection: The session.
        module: The module's name.
        path: The attribute path within it; empty for the module itself.
        preview: What it looks like over there.
    """

    __slots__ = ("_connection", "_known", "_module", "_path", "_preview")

    def __init__(self, connection: Connection, module: str, path: str, preview: str) -> None:
        self._connection = connection
        self._module = module
        self._path = path
        self._preview = preview
        self._known: dict[str, RemoteObject] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_ASKED_OF_EVERYTHING):
            raise AttributeError(name)
        known = self._known.get(name)
        if known is not None:
            return known
        path = f"{self._path}.{name}" if self._path else name
        kind, value = self._connection.call(Operation.GET, self._module, path)
        if kind == "value":
            return value
        found = RemoteObject(self._connection, value, "", "") if kind == "module" else self._at(path, value)
        if kind != "object":  # what a name is bound to may change; a module's functions and submodules hardly do
            self._known[name] = found
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it over there."""
        return self._connection.call(Operation.CALL, self._module, self._path, args, kwargs)

    def __repr__(self) -> str:
        name = f"{self._module}.{self._path}" if self._path else self._module
        preview = f": {self._preview}" if self._preview else ""
        return f"<remote {name} on {self._connection.where}{preview}>"

    def _at(self, path: str, preview: str) -> RemoteObject:
        return RemoteObject(self._connection, self._module, path, preview)
