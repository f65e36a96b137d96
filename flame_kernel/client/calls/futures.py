"""Answers that come later: as a future, or to be waited for by who asked ahead."""

from __future__ import annotations

import contextvars
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from flame_kernel.client.calls.pipeline import Order
from flame_kernel.errors import FlameError, FlameTimeout
from flame_kernel.protocol.calls import LAST, CallAnswer

# A call's value, or the exception it raised.
Settled = tuple[Any, BaseException | None]


class Line(Protocol):
    """Where calls were submitted; a connection's ``Pipeline``.

    Attributes:
        completing: Held while a future is given what its base class keeps.
    """

    completing: threading.RLock

    def interrupt(self, order: Order) -> None:
        """Interrupt a call, if it is still under way."""

    def hurry(self) -> None:
        """Send what was submitted at once: somebody waits for it."""


class Answers(Protocol):
    """What answers are given to; a connection's ``Calls``."""

    def settle(self, answer: CallAnswer) -> Settled | None:
        """Make a value of an answer; ``None`` when it can't be loaded here."""

    def show(self, answer: CallAnswer) -> None:
        """Show what the call prints."""


class FlameFuture(Future[Any]):
    """The result of a call that was submitted. Cancelling it interrupts the call over there.

    There may be many of them at a time, of most of which nothing but the result is asked, once it's there. What
    ``concurrent.futures`` keeps of a future is eleven objects, which take as long to make as the rest of submitting,
    and to the garbage collector they come again and again. So it's made when something looks for it.

    Args:
        answers: Makes a value of its answer.
        line: Where it was submitted.

    Attributes:
        order: What it is there.
    """

    order: Order | None = None
    _sent = False
    _whole = False  # whether it has what its base class keeps
    _settled: Settled | None = None  # what came; until it has been passed on, if it's whole
    _settling: threading.RLock

    def __init__(self, answers: Answers, line: Line) -> None:
        self._answers = answers
        self._line = line
        # What ipykernel tells cells apart by: output goes to the cell that made the call.
        self._context = contextvars.copy_context()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # which are the class's; and copying looks for one on an object without anything
            self._complete()
        return object.__getattribute__(self, name)  # another thread may have made it meanwhile

    def cancel(self) -> bool:
        """Cancel it: a call that waits is not made, one that runs is interrupted over there, if it can be.

        Returns:
            False when it was done already.
        """
        self._complete()
        with self._settling:
            if not super().cancel():
                return False
            self.set_running_or_notify_cancel()
        if self.order is not None:
            self._line.interrupt(self.order)
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for its value; see :meth:`concurrent.futures.Future.result`."""
        settled = self._settled
        if settled is None or self._whole:
            self._line.hurry()
            return super().result(timeout)
        value, error = settled
        if error is None:
            return value
        try:
            raise error
        finally:
            del settled, error, self  # else the exception and this frame would keep each other alive

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for its exception; see :meth:`concurrent.futures.Future.exception`."""
        settled = self._settled
        if settled is None or self._whole:
            self._line.hurry()
            return super().exception(timeout)
        return settled[1]

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """Have a function called once it's done; see :meth:`concurrent.futures.Future.add_done_callback`."""
        self._complete()  # to miss what's to be made takes longer
        super().add_done_callback(fn)

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._whole and super().cancelled()

    def done(self) -> bool:
        """Whether its value or its exception is there, or it was cancelled."""
        return self._settled is not None or (self._whole and super().done())

    def running(self) -> bool:
        """Whether the call has been sent and is not done."""
        return self._sent and not self.done()

    def on_sent(self) -> bool:
        """The call is about to be sent."""
        self._sent = True
        return not self.cancelled()

    def on_answer(self, answer: CallAnswer) -> bool:
        """Something came."""
        if answer.outcome not in LAST:
            self._context.run(self._answers.show, answer)
            return True
        settled = self._answers.settle(answer)
        if settled is None:
            return False
        self._settle(settled)
        return True

    def on_failed(self, error: FlameError) -> None:
        """No answer will come."""
        self._settle((None, error))

    def _settle(self, settled: Settled) -> None:
        # It's kept before the other is looked at, and who makes this whole does so in the other order.
        self._settled = settled
        if self._whole:
            self._pass_on()

    def _complete(self) -> None:
        """Make what the base class keeps."""
        with self._line.completing:
            if not self._whole:
                self._settling = threading.RLock()
                super().__init__()
                self._whole = True
        self._pass_on()  # not under that lock: another thread may have the base class's already, and wait for this one

    def _pass_on(self) -> None:
        """Tell the base class what came, if anything did."""
        with self._settling:
            settled = self._settled
            if settled is None:
                return
            if not super().done():
                self.set_running_or_notify_cancel()
                value, error = settled
                if error is None:
                    self.set_result(value)
                else:
                    self.set_exception(error)
            self._settled = None


class Ahead:
    """An answer that was asked for before it is wanted; what the call prints is shown by who waits for it.

    Args:
        answers: Makes a value of its answer, and shows what the call prints.
        line: Where it was submitted.
        name: What to call the place in messages.

    Attributes:
        order: What an interrupt is for: its own call there, or another one that it waits for.
    """

    def __init__(self, answers: Answers, line: Line, name: str) -> None:
        self.order: Order | None = None
        self._answers = answers
        self._line = line
        self._name = name
        self._arrived: queue.SimpleQueue[CallAnswer | Settled] = queue.SimpleQueue()

    def interrupt(self) -> None:
        """Interrupt the call."""
        if self.order is not None:
            self._line.interrupt(self.order)

    def wait(self, timeout: float | None) -> Any:
        """Return the value, or raise its exception; Ctrl-C interrupts the call, a second one gives up waiting."""
        self._line.hurry()
        end = None if timeout is None else time.monotonic() + timeout
        interrupted = False
        while True:
            try:
                arrived = self._arrived.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise self._too_late(timeout) from None
            except KeyboardInterrupt:
                if interrupted:
                    raise
                interrupted = True
                self.interrupt()
                continue
            if isinstance(arrived, CallAnswer):
                self._answers.show(arrived)
                continue
            value, error = arrived
            if error is not None:
                raise error
            if interrupted:  # it came before the interrupt did
                self._arrived.put(arrived)
                raise KeyboardInterrupt
            return value

    def ready(self, seconds: float) -> bool:
        """Wait for a moment, and tell whether the value is there; what was printed meanwhile is shown."""
        self._line.hurry()
        end = time.monotonic() + seconds
        while True:
            try:
                arrived = self._arrived.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return False
            if not isinstance(arrived, CallAnswer):
                self._arrived.put(arrived)
                return True
            self._answers.show(arrived)

    def _too_late(self, timeout: float | None) -> FlameTimeout:
        return FlameTimeout(f"no answer from {self._name} within {timeout:g} s; the call goes on there")

    def on_sent(self) -> bool:
        """The call is about to be sent."""
        return True

    def on_answer(self, answer: CallAnswer) -> bool:
        """Something came."""
        if answer.outcome not in LAST:
            self._put(answer)
            return True
        settled = self._answers.settle(answer)
        if settled is None:
            return False
        self._put(settled)
        return True

    def on_failed(self, error: FlameError) -> None:
        """No answer will come."""
        self._put((None, error))

    def _put(self, arrived: CallAnswer | Settled) -> None:
        self._arrived.put(arrived)
