"""What a call prints goes to its caller: the session's own stdout and stderr stay in place and only look who writes.

Swapping ``sys.stdout`` would swap it for the whole process, cells included. Here the write method of the stream object
that the kernel installed looks first whether the writing thread serves a call.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Callable, Protocol

from flame_kernel.protocol.calls import Outcome

# Text is sent line by line, or when this many characters have come without one.
_AT_LEAST = 4096


class Teller(Protocol):
    """Tells a caller what its call says; as a context manager, a stretch of the call that no interrupt tears apart."""

    processes: list[Any]

    def say(self, stream: Outcome, text: str) -> None:
        """Tell it a piece of STDOUT or STDERR, or of what is displayed (DISPLAY)."""

    def __enter__(self) -> object: ...

    def __exit__(self, kind: Any, error: Any, tb: Any) -> object: ...


class Sink:
    """Collects what one call prints; as a context manager, lets what this thread prints go here.

    Args:
        call: The call.
        rich: Whether its caller takes rich output.

    Attributes:
        call: The call; no interrupt of it tears apart what is done with its text.
        ended: Whether the call has: what threads that carry its context say then has no caller.
    """

    # Most calls say nothing, and have no more than this of their own: the lock is that of all calls.
    ended = False
    _used = False  # whether anything has been said
    _closed = False  # whether what its processes print has ended as well
    _pending: Mapping[Outcome, str] = MappingProxyType({})
    _lock = threading.RLock()  # a finalizer that prints may come in between

    def __init__(self, call: Teller, rich: bool = False) -> None:
        self.call = call
        self._rich = rich

    def __enter__(self) -> None:
        if not (hasattr(sys.stdout.write, "flame_outcome") and hasattr(sys.stderr.write, "flame_outcome")):
            _listen()
        self._token = _sink.set(self)

    def __exit__(self, kind: object, error: object, tb: object) -> None:
        _sink.reset(self._token)
        self.ended = True
        if self._used:  # most calls say nothing
            with self.call, self._lock:  # another thread may be at what it says
                self._flush()

    def write(self, stream: Outcome, text: str) -> bool:
        """Take text; whole lines are sent on at once. False when the call has ended."""
        self._used = True  # before the other is looked at
        with self._lock:
            if self.ended:
                return False
            self._write(stream, text)
            return True

    def take(self, stream: Outcome, text: str) -> bool:
        """Take text from another thread; false when the call has ended."""
        self._used = True
        with self._lock:
            if not self._closed:
                self._write(stream, text)
            return not self._closed

    def display(self, told: str, plain: str) -> bool:
        """Send rich output on, behind what was printed before it. False when the call has ended.

        Args:
            told: The output, as a DISPLAY answer has it.
            plain: What a caller sees of it who takes text alone.
        """
        self._used = True
        with self._lock:
            if self.ended:
                return False
            self._flush()
            if self._rich:
                self.call.say(Outcome.DISPLAY, told)
            elif plain:
                self.call.say(Outcome.STDOUT, plain)
            return True

    def close(self) -> None:
        """Send what is left; the call has ended."""
        with self._lock:
            self._closed = True
            self._flush()

    def _write(self, stream: Outcome, text: str) -> None:
        pending = self._pending.get(stream, "") + text
        if "\n" in text or "\r" in text or len(pending) >= _AT_LEAST:
            self._pending = {other: rest for other, rest in self._pending.items() if other is not stream}
            self.call.say(stream, pending)
        else:
            self._pending = {**self._pending, stream: pending}

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        for stream, text in pending.items():
            self.call.say(stream, text)


_sink: contextvars.ContextVar[Sink | None] = contextvars.ContextVar("flame_sink", default=None)


def current() -> Sink | None:
    """Return where what this thread prints goes; ``None`` for the session's own output."""
    return _sink.get()


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
        with sink.call:
            taken = sink.write(outcome, text)
        return len(text) if taken else write(text)

    marked: Any = routed
    marked.flame_outcome = outcome
    return routed
