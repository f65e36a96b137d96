"""What a call prints goes to its caller: the session's own stdout and stderr stay in place and only look who writes.

Swapping ``sys.stdout`` would swap it for the whole process, cells included. Here the write method of the stream object
that the kernel installed looks first whether the writing thread serves a call.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Callable

from flame_kernel.protocol.calls import Outcome
from flame_kernel.worker.running import Call

# Text is sent line by line, or when this many characters have come without one.
_AT_LEAST = 4096


class Sink:
    """Collects what one call prints.

    Args:
        emit: Called with the stream (STDOUT or STDERR) and the text, or with DISPLAY and what is displayed.
        call: The call; no interrupt of it tears apart what is done with its text.
        rich: Whether its caller takes rich output.

    Attributes:
        used: Whether anything has been said.
        ended: Whether the call has: what threads that carry its context say then has no caller.
    """

    # Most calls say nothing, and leave these as they are.
    used = False
    ended = False
    _closed = False  # whether what its processes print has ended as well

    def __init__(self, emit: Callable[[Outcome, str], None], call: Call | None = None, rich: bool = False) -> None:
        self.call = call
        self._rich = rich
        self._lock = threading.Lock()
        self._emit = emit
        self._pending: dict[Outcome, str] = {}

    @property
    def shield(self) -> AbstractContextManager[Any]:
        """What no interrupt tears apart."""
        return nullcontext() if self.call is None else self.call

    def write(self, stream: Outcome, text: str) -> bool:
        """Take text; whole lines are sent on at once. False when the call has ended."""
        self.used = True  # before the other is looked at
        with self._lock:
            if self.ended:
                return False
            self._write(stream, text)
            return True

    def take(self, stream: Outcome, text: str) -> bool:
        """Take text from another thread; false when the call has ended."""
        self.used = True
        with self._lock:
            if not self._closed:
                self._write(stream, text)
            return not self._closed

    def end(self) -> None:
        """Let another thread finish what it says, and send what is left."""
        with self._lock:
            self.flush()

    def display(self, told: str, plain: str) -> bool:
        """Send rich output on, behind what was printed before it. False when the call has ended.

        Args:
            told: The output, as a DISPLAY answer has it.
            plain: What a caller sees of it who takes text alone.
        """
        self.used = True
        with self._lock:
            if self.ended:
                return False
            self.flush()
            if self._rich:
                self._emit(Outcome.DISPLAY, told)
            elif plain:
                self._emit(Outcome.STDOUT, plain)
            return True

    def close(self) -> None:
        """Send what is left; the call has ended."""
        with self._lock:
            self._closed = True
        self.flush()

    def _write(self, stream: Outcome, text: str) -> None:
        pending = self._pending.pop(stream, "") + text
        if "\n" in text or "\r" in text or len(pending) >= _AT_LEAST:
            self._emit(stream, pending)
        else:
            self._pending[stream] = pending

    def flush(self) -> None:
        """Send what is left."""
        pending, self._pending = self._pending, {}
        for stream, text in pending.items():
            self._emit(stream, text)


_sink: contextvars.ContextVar[Sink | None] = contextvars.ContextVar("flame_sink", default=None)


def current() -> Sink | None:
    """Return where what this thread prints goes; ``None`` for the session's own output."""
    return _sink.get()


class printing_to:  # used as a function is; one made of a generator takes three times as long
    """Let what this thread prints go to a sink.

    Args:
        sink: Where to; ``None`` for the session's own output.
    """

    __slots__ = ("_sink", "_token")

    def __init__(self, sink: Sink | None) -> None:
        self._sink = sink

    def __enter__(self) -> None:
        if not (hasattr(sys.stdout.write, "flame_outcome") and hasattr(sys.stderr.write, "flame_outcome")):
            _listen()
        self._token = _sink.set(self._sink)

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        sink = self._sink
        _sink.reset(self._token)
        if sink is not None:
            sink.ended = True
            if sink.used:  # most calls say nothing
                with sink.shield:
                    sink.end()


def _listen() -> None:
    """Make the process's stdout and stderr look who writes.

    Looked after before each call: IPython puts a write method of its own there while a cell runs, and afterwards the
    one it found.
    """
    for stream, outcome in ((sys.stdout, Outcome.STDOUT), (sys.stderr, Outcome.STDERR)):
        if not hasattr(stream.write, "flame_outcome"):
            with suppress(AttributeError):  # the user put something there that can't be taught, such as a StringIO
                stream.write = _routed(stream.write, outcome)  # type: ignore[method-assign]


def _routed(write: Callable[[str], int], outcome: Outcome) -> Callable[[str], int]:
    def routed(text: str) -> int:
        sink = _sink.get()
        if sink is None or not isinstance(text, str):
            return write(text)
        with sink.shield:
            taken = sink.write(outcome, text)
        return len(text) if taken else write(text)

    marked: Any = routed
    marked.flame_outcome = outcome
    return routed
