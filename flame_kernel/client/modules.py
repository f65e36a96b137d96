"""Remote modules as attributes: ``flame.modules.os.path``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flame_kernel.client.proxies import RemoteObject
from flame_kernel.errors import FlameError


class Modules:
    """All modules of a session.

    Args:
        module: Returns a module by its name.
    """

    def __init__(self, module: Callable[[str], RemoteObject]) -> None:
        self._module = module

    def __getattr__(self, name: str) -> RemoteObject:
        if name.startswith(("__", "_repr_", "_ipython_")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return self._module(name)

    def __getitem__(self, name: str) -> RemoteObject:
        """Return a module by its dotted name."""
        return self._module(name)

    def __dir__(self) -> list[str]:
        """Return those that the session has imported."""
        return [name for name in self._names() if name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return self._names()

    def _names(self) -> list[str]:
        try:
            loaded: Any = self._module("sys").modules
            return sorted(loaded.keys() if isinstance(loaded, dict) else loaded._ipython_key_completions_())
        except FlameError:  # a key that the user presses must not end in a traceback
            return []
