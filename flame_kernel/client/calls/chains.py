"""Chains of names that ask nothing on the way: only the call at the end does something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# The same for all calls: a pickle of many names it instead of making it again.
_NO_KWARGS: dict[str, Any] = {}


class Chain:
    """A path into a remote module, to be called.

    Args:
        call: Makes the call, given the module, the path, and the arguments as a tuple and a dict; returns what stands
            for its value.
        root: The module.
        path: The attribute path so far.
    """

    __slots__ = ("_call", "_path", "_root")

    def __init__(self, call: Callable[..., Any], root: str, path: str = "") -> None:
        self._call = call
        self._root = root
        self._path = path

    def __getattr__(self, name: str) -> Chain:
        if name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return Chain(self._call, self._root, f"{self._path}.{name}" if self._path else name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it."""
        return self._call(self._root, self._path, args, kwargs or _NO_KWARGS)

    def __repr__(self) -> str:
        return f"<remote {self._root}.{self._path}, to be called>" if self._path else f"<remote {self._root}>"
