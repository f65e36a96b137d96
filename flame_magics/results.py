"""Values of remote cells as ``Out[n]``: what they are here, and how they look over there."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from flame_kernel import CellResult, Flame


class RemoteResult:
    """The value of a remote cell that stayed over there: shown as it is shown there.

    Args:
        flame: The connection to its session.
        result: What the cell gave.

    Attributes:
        note: Why the value stayed there.
    """

    def __init__(self, flame: Flame, result: CellResult) -> None:
        self._flame = flame
        self._result = result
        self.note = result.note

    @property
    def remote(self) -> Any:
        """A handle of the value: calls, attributes and items of it happen over there."""
        return self._flame.ref(f"Out[{self._result.execution_count}]")

    def fetch(self) -> Any:
        """Return a copy of the value, however large it is."""
        return self._flame.evaluate(f"Out[{self._result.execution_count}]")

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self._result.result or {}

    def __repr__(self) -> str:
        return str((self._result.result or {}).get("text/plain", "<remote value>"))


class ShownAsThere:
    """Lets the value of a remote cell look as it looked there, while ``Out[n]`` is the value itself.

    Args:
        shell: The running IPython.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._hook: Any = shell.displayhook
        self._compute = self._hook.compute_format_data
        self._value: Any = None
        self._shown: tuple[dict[str, Any], dict[str, Any]] | None = None

    def load(self) -> None:
        """Look at what is displayed from now on."""
        self._hook.compute_format_data = self._compute_format_data

    def unload(self) -> None:
        """Leave the display hook as it was."""
        self._hook.compute_format_data = self._compute

    def expect(self, value: Any, result: CellResult) -> None:
        """Note how a value looks that is about to be displayed as the cell's result."""
        for output in result.outputs:
            if output["output_type"] == "execute_result":
                self._value, self._shown = value, (output["data"], output.get("metadata", {}))

    def _compute_format_data(self, value: Any) -> Any:
        shown, self._shown = self._shown, None
        expected, self._value = self._value, None
        if shown is not None and value is expected:
            return shown
        return self._compute(value)
