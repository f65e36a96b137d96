"""A console: lines typed here run in the session, as cells on its main thread.

So it shares the namespace and the interrupts of everything else that runs there; whether a line is whole and what may
complete it the session's kernel says, whatever its language.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any

from flame_kernel.client.cells import display as displays
from flame_kernel.client.cells.cells import request_for
from flame_kernel.client.connection import Connection
from flame_kernel.client.editing import editing
from flame_kernel.errors import FlameError, LinkLost, SessionDied
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.security.folders import Folders, private

# What Python says of itself when it's started.
_VERSION = "(__import__('sys').version, __import__('sys').platform)"

_PROMPT, _GOES_ON = ">>> ", "... "
_ENDED = "(Remote session ended)"

# A session whose main thread is busy completes nothing; the user should not wait for it, in seconds.
_COMPLETE_S = 5.0

# Leaves the console, not the session: a kernel that is told to exit ends.
_EXIT = re.compile(r"\s*(exit|quit)\s*(\(.*\))?\s*;?\s*")

_Hear = Callable[[Channel, Envelope], None]

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Console:
    """A console on a session. ``Flame.console`` makes it; it's a context manager.

    Args:
        connection: The session.

    Example:
        >>> with flame.console() as console:
        ...     console.interact()
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closed = False
        self._error: FlameError | None = None
        # The lines of the block that is being typed.
        self._lines: list[str] = []

    @property
    def banner(self) -> str:
        """What stands at its top."""
        welcome, where = self._connection.welcome, self._connection.endpoint.name
        if welcome.calls and welcome.language == "python":
            version, platform = self._connection.calls.call(Operation.EVALUATE, _VERSION)
            first = f"Python {version} on {platform}"
        else:
            told = (self._connection.ask_kernel("kernel_info_request", {}, _COMPLETE_S) or {}).get("language_info", {})
            first = f"{told.get('name', welcome.language)} {told.get('version', '')}".strip()
        return f"{first}\n(Remote console on {where})"

    @property
    def error(self) -> FlameError | None:
        """What ended it, if that was neither its user nor the end of the input: the session's end, the link's."""
        return self._error

    def interact(self, banner: str | None = None) -> None:
        """Read lines and run them until ``exit()`` or the end of the input; Ctrl-C interrupts what runs over there.

        It may be repeated: what was defined is still there.

        Args:
            banner: What to show first instead of the usual.

        Raises:
            LinkLost: The console was closed.
        """
        if self._closed:
            raise LinkLost("this console was closed; make another one with flame.console()")
        display, surface = displays.here(), _Surface.find()
        _say(self.banner if banner is None else banner)
        late = partial(_show_late, display)
        try:
            with self._editing(surface):
                self._read_and_run(display, surface, late)
        finally:
            self._connection.cells.ignore(late)
        _say(_ENDED)

    def close(self) -> None:
        """End it; the session goes on."""
        self._closed = True

    def __enter__(self) -> Console:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _read_and_run(self, display: displays.Display, surface: _Surface, late: _Hear) -> None:
        while True:
            try:
                code = self._read(surface)
            except KeyboardInterrupt:
                if surface.is_notebook:  # its stop button means the cell that reads these lines
                    return
                _say("\nKeyboardInterrupt")
                continue
            if code is None or (code.strip() and not self._run(code, display, late)):
                return

    def _read(self, surface: _Surface) -> str | None:
        """Return the next piece of code that is whole, ``None`` at the end."""
        self._lines = []
        while True:
            try:
                line = input(surface.prompt(_GOES_ON if self._lines else _PROMPT))
            except EOFError:
                if surface.is_terminal:
                    _say("")
                # What a pipe ends with may lack the empty line that ends a block.
                return "\n".join(self._lines) if self._lines and surface.is_pipe else None
            if not self._lines and _EXIT.fullmatch(line):
                return None
            self._lines.append(line)
            code = "\n".join(self._lines)
            if not code.strip() or self._is_whole(code):
                return code

    def _is_whole(self, code: str) -> bool:
        try:
            told = self._connection.ask_kernel("is_complete_request", {"code": code}, None) or {}
        except FlameError:  # running it will tell
            return True
        return told.get("status") != "incomplete"

    def _run(self, code: str, display: displays.Display, late: _Hear) -> bool:
        """Run code and show what comes of it; false when there's no going on."""
        try:
            cell = self._connection.cells.follow(
                request_for(code, silent=False, store_history=True, keep=False), display
            )
        except KeyboardInterrupt:
            _say("\nKeyboardInterrupt: it still runs over there; a line typed now waits for it")
            return True
        except FlameError as error:
            display.stream("stderr", f"{type(error).__name__}: {error}\n")
            if self._connection.closed or isinstance(error, SessionDied):
                self._error = error
                return False
            return True
        self._connection.cells.listen(cell, late)
        reply = cell.reply or {}
        if reply.get("status") == "error" and reply.get("ename") == "SystemExit":
            return False
        for output in cell.outputs:
            if output["output_type"] == "error":
                display.stream("stderr", _coloured("\n".join(output.get("traceback", ()))) + "\n")
        payloads = reply.get("payload", ())
        for payload in payloads:
            if payload.get("source") == "page":  # help, as of len?
                display.data(payload, update=False)
        return not any(payload.get("source") == "ask_exit" for payload in payloads)

    def _complete(self, line: str, cursor: int) -> tuple[list[str], int]:
        before = "".join(f"{one}\n" for one in self._lines)
        content = {"code": before + line, "cursor_pos": len(before) + cursor}
        try:
            told = self._connection.ask_kernel("complete_request", content, _COMPLETE_S)
        except FlameError:  # the next line that is run will tell
            told = None
        if told is None:
            return [], cursor
        start = max(0, int(told.get("cursor_start", cursor)) - len(before))
        typed = line[start:cursor]
        # IPython offers magics as well, which begin with a % that nobody has typed.
        return [match for match in told.get("matches", ()) if match.startswith(typed)], start

    def _editing(self, surface: _Surface) -> AbstractContextManager[None]:
        if not surface.is_terminal:
            return nullcontext()
        folder = private(Folders.find(os.environ).state)
        return editing(folder / "console_history", self._complete)


class _Surface:
    """Where the lines come from: a terminal, a notebook, or a pipe, which wants to see no prompts."""

    def __init__(self, is_terminal: bool, is_notebook: bool) -> None:
        self.is_terminal = is_terminal
        self.is_notebook = is_notebook

    @classmethod
    def find(cls) -> _Surface:
        """Look where this process runs."""
        terminal = sys.stdin is not None and sys.stdin.isatty()
        ipython = sys.modules.get("IPython")
        shell: Any = None if ipython is None else ipython.get_ipython()
        return cls(terminal, not terminal and hasattr(shell, "kernel"))

    @property
    def is_pipe(self) -> bool:
        """Whether nobody sits there."""
        return not (self.is_terminal or self.is_notebook)

    def prompt(self, text: str) -> str:
        """Return the prompt to show."""
        return "" if self.is_pipe else text


def _show_late(display: displays.Display, channel: Channel, envelope: Envelope) -> None:
    """Show what a thread prints that outlives the line that started it."""
    if channel is Channel.IOPUB and envelope.header().msg_type == "stream":
        content = envelope.content()
        display.stream(str(content.get("name")), str(content.get("text")))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _coloured(text: str) -> str:
    ipython = sys.modules.get("IPython")
    if sys.stderr.isatty() or (ipython is not None and ipython.get_ipython() is not None):
        return text
    return _COLOURS.sub("", text)
