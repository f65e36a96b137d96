"""Where a cell's outputs are shown while they arrive: in a notebook if there's one, else on the terminal."""

from __future__ import annotations

import getpass
import sys
from typing import Any, Protocol

# What kernels take for the end of the input.
END_OF_INPUT = "\x04"


class Display(Protocol):
    """Shows outputs."""

    def stream(self, name: str, text: str) -> None:
        """Show text of stdout or stderr."""

    def data(self, content: dict[str, Any], update: bool) -> None:
        """Show rich output, or what takes its place."""

    def clear(self, wait: bool) -> None:
        """Clear what was shown."""

    def notice(self, text: str, display_id: str, update: bool) -> None:
        """Show a line of our own, or what takes its place."""

    def page(self, data: dict[str, Any], start: int) -> None:
        """Show help, or what else a frontend shows in its pager: MIME types to data, from a line on."""

    def set_next_input(self, text: str, replace: bool) -> None:
        """Offer code as the next cell, or in place of this one."""

    def ask(self, prompt: str, password: bool) -> str:
        """Ask the user."""


class Terminal:
    """Shows text on stdout and stderr."""

    def stream(self, name: str, text: str) -> None:
        """Show text of stdout or stderr."""
        out = sys.stderr if name == "stderr" else sys.stdout
        out.write(text)
        out.flush()

    def data(self, content: dict[str, Any], update: bool) -> None:
        """Show the plain text that rich output comes with."""
        text = content.get("data", {}).get("text/plain")
        if text is not None:
            self.stream("stdout", f"{text}\n")

    def clear(self, wait: bool) -> None:
        """Leave what was printed: a terminal has no outputs to clear."""

    def notice(self, text: str, display_id: str, update: bool) -> None:
        """Show a line of our own."""
        self.stream("stderr", f"{text}\n")

    def page(self, data: dict[str, Any], start: int) -> None:
        """Show the plain text of what a frontend shows in its pager; without a notebook there's room for all of it."""
        self.data({"data": data}, update=False)

    def set_next_input(self, text: str, replace: bool) -> None:
        """Show code that a frontend would offer as a cell."""
        self.stream("stdout", f"{text}\n")

    def ask(self, prompt: str, password: bool) -> str:
        """Ask the user; the end of the input (Ctrl-D) is the end of the session's as well."""
        try:
            return getpass.getpass(prompt) if password else input(prompt)
        except EOFError:
            return END_OF_INPUT


class Notebook(Terminal):
    """Shows rich output through the IPython that this process runs in.

    Args:
        display: The module ``IPython.display``.
    """

    def __init__(self, display: Any) -> None:
        self._display = display

    def data(self, content: dict[str, Any], update: bool) -> None:
        """Show rich output, or what takes its place."""
        self._display.publish_display_data(
            data=content.get("data", {}),
            metadata=content.get("metadata", {}),
            transient=content.get("transient", {}),
            update=update,
        )

    def clear(self, wait: bool) -> None:
        """Clear what was shown."""
        self._display.clear_output(wait)

    def notice(self, text: str, display_id: str, update: bool) -> None:
        """Show a line of our own, or what takes its place."""
        content = {"data": {"text/plain": text}, "transient": {"display_id": display_id}}
        self.data(content, update)

    def page(self, data: dict[str, Any], start: int) -> None:
        """Show it as IPython's own help is shown here: in the frontend's pager, or the terminal's."""
        sys.modules["IPython.core.page"].page(data, start)

    def set_next_input(self, text: str, replace: bool) -> None:
        """Offer code as the next cell, or in place of this one."""
        self._ipython().set_next_input(text, replace)

    def cell_id(self) -> str:
        """Return the id of the message that runs this notebook's cell; empty where there's no kernel."""
        kernel = getattr(self._ipython(), "kernel", None)
        parent = {} if kernel is None else kernel.get_parent()
        return str((parent.get("header") or {}).get("msg_id", ""))

    def _ipython(self) -> Any:
        return sys.modules["IPython"].get_ipython()


class Silent(Terminal):
    """Shows nothing; it still asks."""

    def stream(self, name: str, text: str) -> None:
        """Show nothing."""

    def data(self, content: dict[str, Any], update: bool) -> None:
        """Show nothing."""

    def page(self, data: dict[str, Any], start: int) -> None:
        """Show nothing."""

    def set_next_input(self, text: str, replace: bool) -> None:
        """Offer nothing."""


def here() -> Display:
    """Return what shows outputs where this process runs."""
    # IPython is not imported for this: where it runs it's there already.
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None and "IPython.display" in sys.modules:
        return Notebook(sys.modules["IPython.display"])
    return Terminal()
