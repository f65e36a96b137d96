"""Ctrl-C while something runs over there that does not end at once: whoever pressed it learns what becomes of it."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import click

# How long an interrupt may take to have an effect before a word is due, in seconds.
_A_MOMENT_S = 0.5


@contextmanager
def told_if_slow(line: str) -> Iterator[None]:
    """Print a line if an interrupt has not ended what is done meanwhile within a moment.

    Args:
        line: What to print.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # a shell that runs this in the background has it ignore interrupts
        return
    # Whether it was an interrupt; else it's the end. Of all queues this one can be put into by a signal's handler,
    # which may come while the same thread is in the middle of doing so, or of starting a thread.
    happened: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def watch() -> None:
        if not happened.get():
            return
        try:
            happened.get(timeout=_A_MOMENT_S)
        except queue.Empty:
            with suppress(OSError):  # nobody reads it
                click.echo(line, err=True)

    def interrupted(number: int, frame: FrameType | None) -> NoReturn:
        happened.put(True)
        raise KeyboardInterrupt

    threading.Thread(target=watch, name="flame-interrupts", daemon=True).start()
    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        happened.put(False)
