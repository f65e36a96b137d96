"""Editing of lines in a terminal: history and completion, where this Python has readline.

Windows' Pythons have none; there the terminal itself edits lines, and its own history counts.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

# Lines that the history keeps.
_HISTORY = 5_000

# Given the line and the cursor's place in it: what may stand there, and from which place on.
Complete = Callable[[str, int], tuple[list[str], int]]


@contextmanager
def editing(history: Path, complete: Complete) -> Iterator[None]:
    """Have ``input`` edit lines with a history and completion of its own; what was set before comes back afterwards.

    Args:
        history: The file that keeps the history.
        complete: Finds what may stand at the cursor.
    """
    try:
        readline = importlib.import_module("readline")
    except ImportError:
        yield
        return
    before = [readline.get_history_item(index + 1) for index in range(readline.get_current_history_length())]
    completer, delimiters = readline.get_completer(), readline.get_completer_delims()
    readline.clear_history()
    with suppress(OSError):  # the first time there's none
        readline.read_history_file(history)
    readline.set_completer(_completer(readline, complete))
    # Everything after a blank or a bracket is one word: what is replaced is up to the session.
    readline.set_completer_delims(" \t\n()[]{},;")
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_history_length(_HISTORY)
        with suppress(OSError):  # a full disk must not cost the session its end
            readline.write_history_file(history)
        readline.clear_history()
        for line in before:
            readline.add_history(line)
        readline.set_completer(completer)
        readline.set_completer_delims(delimiters)


def _completer(readline: ModuleType, complete: Complete) -> Callable[[str, int], str | None]:
    found: list[str] = []

    def completer(text: str, state: int) -> str | None:
        if state == 0:
            line, begin, end = readline.get_line_buffer(), readline.get_begidx(), readline.get_endidx()
            matches, start = complete(line, end)
            found[:] = [_fit(line, begin, start, match) for match in matches]
        return found[state] if state < len(found) else None

    return completer


def _fit(line: str, begin: int, start: int, match: str) -> str:
    """Return what takes the place of readline's word, which need not begin where the session's match does."""
    return line[begin:start] + match if start >= begin else match[begin - start :]
