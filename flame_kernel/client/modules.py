"""Remote modules as attributes: ``flame.modules.os.path``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from flame_kernel.client.calls.proxies import RemoteObject
from flame_kernel.errors import FlameError

# All top-level modules that can be imported, and those that were. It takes no name of the session's on the way.
_TOP_LEVEL = (
    "[*{*__import__('sys').builtin_module_names, *__import__('sys').modules, "
    "*[found.name for found in __import__('pkgutil').iter_modules()]}]"
)

# How long a key that the user presses may wait for them, in seconds.
_PATIENCE_S = 5.0


class Evaluate(Protocol):
    """Evaluates an expression in the session."""

    def __call__(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return its value."""


class Modules:
    """All modules of a session.

    Args:
        module: Returns a module by its name.
        evaluate: Evaluates an expression in the session.
    """

    def __init__(self, module: Callable[[str], RemoteObject], evaluate: Evaluate) -> None:
        self._module = module
        self._evaluate = evaluate
        self._known: list[str] = []

    def __getattr__(self, name: str) -> RemoteObject:
        if name.startswith(("__", "_repr_", "_ipython_")):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return self._module(name)

    def __getitem__(self, name: str) -> RemoteObject:
        """Return a module by its dotted name."""
        return self._module(name)

    def __dir__(self) -> list[str]:
        """Return the top-level modules that can be imported over there; they are asked for once."""
        return [name for name in self._names() if name.isidentifier()]

    def _ipython_key_completions_(self) -> list[str]:
        return self._names()

    def _names(self) -> list[str]:
        try:
            if not self._known:
                self._known = sorted(self._evaluate(_TOP_LEVEL, timeout=_PATIENCE_S))
            return self._known
        except FlameError:  # a key that the user presses must not end in a traceback
            return []
