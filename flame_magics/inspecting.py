"""Shift-Tab in ``%%flame`` cells and ``%flame`` lines: what remote names mean.

IPython has no place for others to answer that, so the kernel's own method is wrapped, of this one kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from flame_kernel.errors import FlameError
from flame_magics.completing import PATIENCE_S, available
from flame_magics.connections import Connections
from flame_magics.places import Code, find, offset

_NAME = "do_inspect"


class Inspecting:
    """Tells what names mean.

    Args:
        shell: The running IPython.
        connections: The notebook's connections.
    """

    def __init__(self, shell: InteractiveShell, connections: Connections) -> None:
        self._kernel: Any = getattr(shell, "kernel", None)  # none in a terminal, which has no Shift-Tab
        self._connections = connections
        self._local: Callable[..., Any] | None = None

    def load(self) -> None:
        """Begin."""
        if self._kernel is not None:
            self._local = getattr(self._kernel, _NAME)
            setattr(self._kernel, _NAME, self._inspect)

    def unload(self) -> None:
        """End."""
        if self._kernel is not None and vars(self._kernel).get(_NAME) == self._inspect:
            delattr(self._kernel, _NAME)

    def _inspect(self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()) -> Any:
        found = self._remote(code, cursor_pos, detail_level)
        if found is not None:
            return found
        assert self._local is not None
        return self._local(code, cursor_pos, detail_level, omit_sections)

    def _remote(self, code: str, cursor: int, detail: int) -> dict[str, Any] | None:
        """Return the reply, ``None`` where names are local ones or nobody answers in time."""
        place = find(code.split("\n"), *offset(code, cursor))
        if not isinstance(place, Code):
            return None
        flame = available(self._connections, place.target)
        if flame is None:
            return None
        try:
            told = flame.inspect(place.code, place.cursor, detail=detail, timeout=PATIENCE_S)
        except FlameError:
            return None
        return {"status": "ok", "found": told is not None, "data": told or {}, "metadata": {}}
