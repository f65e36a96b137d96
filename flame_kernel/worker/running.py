"""Calls that run, and how one is interrupted: KeyboardInterrupt is raised in the thread that carries it out.

Python delivers such an exception at the thread's next bytecode, wherever that is. While the thread is in code of ours
that must not be torn apart (:class:`Call` as a context manager), or once the call has ended, it must not arrive; so
both sides agree under a lock. A thread that waits inside C code gets it when it comes back; processes that the call has
started are sent SIGINT, as Ctrl-C in a terminal would (SIGTERM if they ignore it).
"""

from __future__ import annotations

import ctypes
import enum
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Callable

from flame_kernel.buffers import Buffer
from flame_kernel.protocol.calls import Asked, Outcome, encode_answer
from flame_kernel.worker.callers import Caller

# Interrupts that come faster than this, in seconds, count as one: they must not hit the clearing up after the first.
_AGAIN_AFTER_S = 0.05


class State(enum.Enum):
    """Where a call stands."""

    WAITING = "waiting"  # it has not begun
    OPEN = "open"  # it runs the user's code
    SHIELDED = "shielded"  # it runs code of ours that must not be torn apart
    ENDED = "ended"


class Call:
    """One call; as a context manager, a stretch of it that no interrupt tears apart.

    Args:
        caller: Whose it is.
        number: Its number.
        asked: What is asked.
        operands: With what, as it came.

    Attributes:
        processes: What it has started.
    """

    __slots__ = ("_due", "_last", "_lock", "_state", "_thread", "asked", "caller", "number", "operands", "processes")

    def __init__(self, caller: Caller, number: int, asked: Asked, operands: Sequence[Buffer]) -> None:
        self.caller = caller
        self.number = number
        self.asked = asked
        self.operands = operands
        self.processes: list[Any] = []
        self._lock = threading.Lock()
        self._state = State.WAITING
        self._thread = 0
        self._due = False
        self._last = -_AGAIN_AFTER_S

    def say(self, stream: Outcome, text: str) -> None:
        """Tell its caller what it prints or displays."""
        # A lone surrogate, such as an undecodable file name holds, must not cost the call its result.
        self.caller.answer(encode_answer(stream, self.number, 0, [text.encode("utf-8", "backslashreplace")]))

    def begin(self) -> None:
        """It runs on this thread from now on.

        Raises:
            KeyboardInterrupt: It was interrupted before it began.
        """
        with self._lock:
            self._thread = threading.get_ident()
            self._state = State.OPEN
            due, self._due = self._due, False
        if due:
            raise KeyboardInterrupt

    def end(self) -> None:
        """It has ended; an interrupt that was on its way arrives here at the latest, and is dropped."""
        while self._state is not State.ENDED:
            try:
                with self._lock:
                    self._state = State.ENDED
                _checkpoint()
            except KeyboardInterrupt:  # noqa: PERF203  # at most one or two are on their way
                continue

    def interrupt(self) -> bool:
        """Interrupt it, from another thread; false when it has ended."""
        with self._lock:
            if self._state is State.ENDED:
                return False
            now = time.monotonic()
            if now - self._last < _AGAIN_AFTER_S:
                return True
            self._last = now
            if self._state is State.OPEN:
                _raise_in(self._thread)
            else:
                self._due = True
            started = list(self.processes)
        for other in started:
            if other.process.poll() is None:
                deaf = _ignores_interrupts(other.process.pid)
                other.process.send_signal(signal.SIGTERM if deaf else signal.SIGINT)
        return True

    def __enter__(self) -> None:
        if threading.get_ident() != self._thread:
            return
        try:
            with self._lock:
                self._state = State.SHIELDED
            _checkpoint()
        except KeyboardInterrupt:
            self._state = State.OPEN
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if threading.get_ident() != self._thread:
            return
        with self._lock:
            self._state = State.OPEN
            due, self._due = self._due, False
        if due:
            raise KeyboardInterrupt


class Running:
    """The calls of a worker that wait or run, by conversation and number."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}

    def add(self, call: Call) -> None:
        """Take note of a call that has arrived."""
        self._calls[call.caller.name, call.number] = call

    def remove(self, call: Call) -> None:
        """Forget a call that has ended."""
        self._calls.pop((call.caller.name, call.number), None)

    def interrupt(self, conversation: bytes, number: int) -> bool:
        """Interrupt a call; false when there's none, or none any more."""
        call = self._calls.get((conversation, number))
        return call is not None and call.interrupt()


def _ignores_interrupts(pid: int) -> bool:
    """Tell whether a process ignores SIGINT, as it does if a kernel between two cells has started it."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("SigIgn:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGINT - 1) & 1)
    return False


def _checkpoint() -> None:
    """Do nothing: calling a function is where Python delivers an exception that was raised from another thread."""


def _raise_in(thread: int) -> None:
    raise_in: Callable[..., int] = ctypes.pythonapi.PyThreadState_SetAsyncExc
    raise_in(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
