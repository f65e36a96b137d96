"""A cell waits until what it has printed has left, and not when it has printed nothing.

ipykernel flushes stdout and stderr before a cell's reply, and both again before it says that it's idle. Each time it
hands the thread that publishes something to do and waits for it, whether there is anything or not: four waits of up to
half a millisecond each, which is a third of what a cell takes that does nothing.

This module is loaded inside sessions: standard library and Python 3.9.
"""

from __future__ import annotations

from typing import Any

# What an ipykernel's stream says of text that has not left yet: here, and in a fork.
_WAITS = ("_flush_pending", "_subprocess_flush_pending")


def spare(stream: Any) -> None:
    """Let a stream's ``flush`` return at once while nothing waits to leave.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``; one that does not say whether something waits is left as it is.
    """
    if not all(hasattr(stream, name) for name in _WAITS):
        return
    flush = stream.flush

    def spared() -> None:
        if any(getattr(stream, name) for name in _WAITS):
            flush()

    stream.flush = spared
