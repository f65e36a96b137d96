"""An old client's console, whose lines come one by one: each that completes a piece of code runs as a cell."""

from __future__ import annotations

import re
from codeop import CommandCompiler
from collections.abc import Callable
from typing import Any

from Pyro4 import core

from flame_kernel import Flame
from flame_kernel.pyro4.shared_session import SharedSession
from flame_kernel.pyro4.values import outgoing_error

# An old client has no way to be told to leave, but by an exception that ends its program.
_EXIT = re.compile(r"\s*(exit|quit)\s*(\(.*\))?\s*;?\s*")
_HOW_TO_LEAVE = "Use Ctrl-D (Ctrl-Z and Return on Windows) to leave the remote console.\n"

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@core.expose
class Console:
    """What an old client's ``RemoteInteractiveConsole`` talks to.

    Args:
        session: The session.
        banner: What stands at the console's top.
        on_end: Called with the console when it's done with.
    """

    def __init__(self, session: SharedSession, banner: str, on_end: Callable[[Any], None]) -> None:
        self._session = session
        self._banner = banner
        self._on_end = on_end
        self._compile = CommandCompiler()
        self._lines: list[str] = []

    def get_banner(self) -> str:
        """Return what stands at its top."""
        return self._banner

    def push_and_get_output(self, line: str) -> tuple[str, bool]:
        """Take a line.

        Args:
            line: The line, without its end.

        Returns:
            What it printed, and whether more lines are needed before it can be run.
        """
        self._lines.append(line)
        source = "\n".join(self._lines)
        if not self._is_whole(source):
            return "", True
        self._lines.clear()
        if not source.strip():
            return "", False
        if _EXIT.fullmatch(source):
            return _HOW_TO_LEAVE, False
        try:
            return self._session.ask(lambda flame: _run(flame, source)), False
        except BaseException as error:  # noqa: BLE001  # it's the client's
            raise outgoing_error(error) from error.__cause__

    def terminate(self) -> None:
        """End it."""
        self._lines.clear()
        self._on_end(self)

    def _is_whole(self, source: str) -> bool:
        try:
            return self._compile(source, "<remoteconsole>", "single") is not None
        except (SyntaxError, ValueError, OverflowError):  # running it will tell, and IPython knows more than Python
            return True


def _run(flame: Flame, source: str) -> str:
    shown = flame.run(source, check=False, quiet=True, store_history=False)
    told = []
    for output in shown.outputs:
        if output["output_type"] == "stream":
            told.append(output["text"])
        elif output["output_type"] == "error":
            told.append(_COLOURS.sub("", "\n".join(output["traceback"])) + "\n")
        elif "text/plain" in output.get("data", {}):
            told.append(output["data"]["text/plain"] + "\n")
    return "".join(told)
