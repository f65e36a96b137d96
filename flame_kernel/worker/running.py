"""Calls that run, and how one is interrupted: KeyboardInterrupt is raised in the thread that carries it out.

Python delivers such an exception at the thread's next bytecode, wherever that is. While the thread is in code of ours
that must not be torn apart (:class:`Call` as a context manager), or once the call has ended, it must not arrive. So a
call lays down a leave to be interrupted while it runs the user's code, and takes it away before it does anything else;
who interrupts takes it away as well, for as long as that takes. Taking it is one step that no other thread comes in
between of, so a call that nobody interrupts needs no lock.

A thread that waits inside C code gets the exception when it comes back; processes that the call has started are sent
SIGINT, as Ctrl-C in a terminal would (SIGTERM if they ignore it).
"""

from __future__ import annotations

import ctypes
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

    __slots__ = ("_due", "_ended", "_last", "_leave", "_thread", "asked", "caller", "number", "operands", "processes")

    _interrupting = threading.Lock()  # held by who interrupts, whichever call

    def __init__(self, caller: Caller, number: int, asked: Asked, operands: Sequence[Buffer]) -> None:
        self.caller = caller
        self.number = number
        self.asked = asked
        self.operands = operands
        self.processes: list[Any] = []
        self._leave: dict[int, bool] = {}  # to interrupt it, if it's there
        self._due = False  # whether an interrupt waits until it runs the user's code
        self._ended = False
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
        self._give_leave()

    def end(self) -> None:
        """It has ended; an interrupt that was on its way arrives here at the latest, and is dropped."""
        while not self._ended:
            try:
                self._take_leave()
                self._ended = True
                _checkpoint()
            except KeyboardInterrupt:  # noqa: PERF203  # at most one or two are on their way
                continue

    def interrupt(self) -> bool:
        """Interrupt it, from another thread; false when it has ended."""
        with self._interrupting:
            now = time.monotonic()
            if self._ended:
                return False
            if now - self._last < _AGAIN_AFTER_S:
                return True
            self._last = now
            self._due = True
            if self._leave.pop(0, False):
                if self._due:  # else it has come to it by itself
                    self._due = False
                    _raise_in(self._thread)
                self._leave[0] = True
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
            self._take_leave()
            _checkpoint()
        except KeyboardInterrupt:
            self._leave[0] = True
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if threading.get_ident() == self._thread:
            self._give_leave()

    def _take_leave(self) -> None:
        if not self._leave.pop(0, False):
            with self._interrupting:  # who interrupts it has it, and gives it back
                self._leave.pop(0, False)

    def _give_leave(self) -> None:
        self._leave[0] = True
        if self._due and self._leave.pop(0, False):  # else who interrupts is at it
            try:
                due, self._due = self._due, False
            finally:
                self._leave[0] = True
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
