"""``%%flame`` and ``%flame``: code and expressions that run over there."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import (
    line_cell_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import CellResult
from flame_magics.base import FlameMagic
from flame_magics.usage import names, parse, short_errors, shorten, target_argument


class RemoteResult:
    """The value of a remote cell that stayed over there: shown as it is shown there.

    Args:
        result: What the cell gave.
    """

    def __init__(self, result: CellResult) -> None:
        self._data = result.result or {}
        self.note = result.note

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self._data

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", "<remote value>"))


@magics_class
class CellMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @target_argument
    @argument("-i", "--input", action="append", default=[], help="local variables to push first: x,y")
    @argument(
        "-o", "--output", action="append", default=[], help="remote variables to pull afterwards: df or local=remote"
    )
    @argument("expression", nargs="*", help="as a line magic: an expression, whose value is returned")
    @needs_local_scope
    @no_var_expand
    @output_can_be_silenced
    @line_cell_magic
    def flame(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Run a cell in the remote session, or return the value of a remote expression."""
        if cell is None:
            return self._evaluate(line)
        arguments = parse(self.flame, line)
        local_names = local_ns if local_ns is not None else self.names
        with short_errors():
            flame = self.connections.get(arguments.target)
            for name in names(arguments.input):
                if name not in local_names and name not in self.names:
                    raise shorten(NameError(f"name {name!r} is not defined here, so it can't be pushed"))
                flame[name] = local_names.get(name, self.names.get(name))
        result = flame.run(cell, show_result=False)
        for pair in names(arguments.output):
            local, _, remote = pair.partition("=")
            self.names[local] = flame[remote or local]
        if result.result is None:
            return None
        return RemoteResult(result) if result.note else result.value

    def _evaluate(self, line: str) -> Any:
        if not line.strip():
            self.ipython.run_line_magic("flame_status", "")
            return None
        with short_errors():
            flame = self.connections.get()
        return flame.evaluate(line.strip())
