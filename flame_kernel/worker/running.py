"""Calls that run, and how one is interrupted: KeyboardInterrupt is raised in the thread that carries it out.

Python delivers such an exception where the thread next enters a function, comes back from one or jumps backward. While
the thread is in code of ours that must not be torn apart (:class:`Call` as a context manager), or once the call has
ended, it must not arrive. So a call that leaves the user's code changes its state first and then lets arrive what was
raised before, and who interrupts looks at the state and raises in one step. CPython (3.11 and later) changes threads
only at those places too: from one of them to the next no other thread comes in between. That's why no lock is needed,
and why such lines must stay as they are.

A thread that waits inside C code gets the exception when it comes back; processes that the call has started are sent
SIGINT, as Ctrl-C in a terminal would (SIGTERM if they ignore it).
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
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.protocol.calls import Asked, Outcome, encode_answer
from flame_kernel.worker.callers import Caller

# Interrupts that come faster than this, in seconds, count as one: they must not hit the clearing up after the first.
_AGAIN_AFTER_S = 0.05

_raise_in = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class State(enum.Enum):
    """Where a call stands."""

    WAITING = "waiting"  # it has not begun
    OPEN = "open"  # it runs the user's code
    SHIELDED = "shielded"  # it runs code of ours that must not be torn apart
    ENDED = "ended"


# A look at a member of an enumeration costs a multiple of a look at a global.
_OPEN, _SHIELDED, _ENDED = State.OPEN, State.SHIELDED, State.ENDED


class Call:
    """One call; as a context manager, a stretch of it that no interrupt tears apart.

    Args:
        caller: Whose it is.
        number: Its number.
        asked: What is asked.
        operands: With what, as it came.

    Attributes:
        state: Where it stands.
        processes: What it has started.
    """

    __slots__ = ("_due", "_last", "_thread", "asked", "caller", "number", "operands", "processes", "state")

    def __init__(self, caller: Caller, number: int, asked: Asked, operands: Sequence[Buffer]) -> None:
        self.caller = caller
        self.number = number
        self.asked = asked
        self.operands = operands
        self.processes: list[Any] = []
        self.state = State.WAITING
        self._due = False  # whether an interrupt waits until it runs the user's code
        self._thread = 0
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
        self._thread = threading.get_ident()
        self._open()

    def end(self) -> None:
        """It has ended.

        Raises:
            KeyboardInterrupt: One arrives first that was raised before; then nothing has been done.
        """
        self.state = _ENDED
        try:  # noqa: SIM105  # to call suppress is where it may arrive as well
            _checkpoint()
        except KeyboardInterrupt:
            pass  # it came too late

    def interrupt(self) -> bool:
        """Interrupt it, from another thread; false when it has ended."""
        if self.state is _ENDED:
            return False
        now = time.monotonic()
        if now - self._last < _AGAIN_AFTER_S:
            return True
        self._last = now
        if self.state is _OPEN:
            _raise_in(self._thread, KeyboardInterrupt)  # no Python code runs from the look at the state until it's done
        else:
            self._due = True
        for started in list(self.processes):
            if started.process.poll() is None:
                deaf = _ignores_interrupts(started.process.pid)
                started.process.send_signal(signal.SIGTERM if deaf else signal.SIGINT)
        return True

    def __enter__(self) -> None:
        if threading.get_ident() != self._thread:
            return
        self.state = _SHIELDED
        try:
            _checkpoint()
        except KeyboardInterrupt:
            self.state = _OPEN
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if threading.get_ident() == self._thread:
            self._open()

    def _open(self) -> None:
        self.state = _OPEN
        due = self._due
        self._due = False
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
    """Let an exception arrive that was raised from another thread.

    To enter the function that changes the state is not enough: Python 3.13 does not look again for exceptions that
    were raised while it let another thread have its turn there.
    """
