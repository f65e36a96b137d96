"""The cells that a connection runs: sending them, following them to their end, and what they gave."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from flame_kernel.client.calls.failures import raised
from flame_kernel.client.cells.cells import Cell, CellLeft, CellResult, Cells, NobodyToAsk, follow, request_for
from flame_kernel.client.cells.comms import Comms
from flame_kernel.client.cells.display import Display
from flame_kernel.client.cells.link_watch import LinkWatch
from flame_kernel.client.cells.payloads import carry_out, payloads
from flame_kernel.errors import FlameTimeout, SerializationError, SessionError
from flame_kernel.protocol import messages
from flame_kernel.protocol.calls import Failure, Operation
from flame_kernel.protocol.jupyter import Channel, Envelope, compose

# A cell's value is fetched unasked up to this size, in bytes; a larger one stays over there.
VALUE_LIMIT = 10 * 1024 * 1024


class Caller(Protocol):
    """What makes calls."""

    def call(self, operation: Operation, *operands: Any) -> Any:
        """Make a call and return its value."""


class Carrier(Protocol):
    """The connection, as its cells see it."""

    link: LinkWatch

    @property
    def calls(self) -> Caller:
        """What makes calls."""

    @property
    def welcome(self) -> messages.Welcome:
        """What the server said of the session."""

    @property
    def where(self) -> str:
        """What to call the session in messages."""

    def require_open(self) -> None:
        """Raise the error that ended the connection, if it has ended."""

    def require_more_than_observing(self, what: str) -> None:
        """Raise an error if the connection only observes."""

    def send(self, envelope: Envelope) -> None:
        """Send the session's kernel a request."""

    def say(self, channel: Channel, envelope: Envelope) -> None:
        """Send the session's kernel a message, some time soon."""

    def interrupt_soon(self) -> None:
        """Interrupt the session's main thread."""


class CellRuns:
    """Runs the cells of one connection.

    Args:
        carrier: The connection.
        waiting: The cells that run now.
        plain: Whether only plain data may cross.
    """

    def __init__(self, carrier: Carrier, waiting: Cells, plain: bool) -> None:
        self._carrier = carrier
        self._cells = waiting
        self._plain = plain
        self._comms = self._new_comms()

    def run(
        self,
        code: str,
        display: Display,
        show_result: bool,
        silent: bool,
        store_history: bool,
        timeout: float | None = None,
    ) -> CellResult:
        """Run a cell and return what it gave; its exception is in the result, not raised.

        Args:
            code: The cell.
            display: What shows its outputs while they come.
            show_result: Whether the last expression's value is shown as well.
            silent: Whether it's hidden from history and displays.
            store_history: Whether it counts and is kept in the session's history.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: It took too long; it goes on over there.
        """
        cell = Cell(request_for(code, silent, store_history))
        self.begin(cell, display)
        try:
            return self.finish(cell, display, show_result, timeout)
        finally:
            self.end(cell, display)

    def follow(
        self, request: Envelope, display: Display, show_result: bool = True, timeout: float | None = None
    ) -> Cell:
        """Run a cell to its end, and return it as it is then.

        Args:
            request: The message that runs it.
            display: What shows its outputs while they come.
            show_result: Whether the last expression's value is shown as well.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
        """
        cell = Cell(request)
        self.begin(cell, display)
        try:
            self._follow(cell, display, show_result, timeout)
        finally:
            self.end(cell, display)
        return cell

    def begin(self, cell: Cell, display: Display) -> None:
        """Have a cell run; :meth:`finish` waits for it, and :meth:`end` has to be called in any case.

        Args:
            cell: The cell.
            display: What will show its outputs.
        """
        self._carrier.require_open()
        self._carrier.require_more_than_observing("running a cell needs")
        msg_id = self._cells.begin(cell)
        self._comms.begin(msg_id, display)
        try:
            self._carrier.send(cell.request)
        except BaseException:
            self._cells.end(msg_id)
            raise

    def finish(self, cell: Cell, display: Display, show_result: bool, timeout: float | None) -> CellResult:
        """Wait for a cell, and return what it gave, as :meth:`run` does; after a timeout once more."""
        self._follow(cell, display, show_result, timeout)
        for payload in payloads(cell.reply):
            carry_out(payload, display)
        return self._outcome(cell, cell.request.header().msg_id)

    def end(self, cell: Cell, display: Display) -> None:
        """Wait for a cell no more; what it still says is shown in its place."""
        msg_id = cell.request.header().msg_id
        self._cells.end(msg_id)
        self._comms.end(msg_id, display)

    def listen(self, cell: Cell, hear: Callable[[Channel, Envelope], None]) -> None:
        """Have what a cell says after its end go somewhere; called on the link's thread."""
        self._cells.listen(cell.request.header().msg_id, hear)

    def ignore(self, hear: Callable[[Channel, Envelope], None]) -> None:
        """Take back what ``listen`` was told."""
        self._cells.ignore(hear)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> bool:
        """Take what belongs to no cell that runs, if it's about widgets, or about a cell of ours that has ended."""
        return self._comms.on_jupyter(channel, envelope)

    def restarted(self) -> None:
        """The session has a new process, which knows nothing of the widgets of the one before."""
        self._comms.over("its session was restarted")
        self._comms = self._new_comms()

    def over(self, why: str) -> None:
        """The connection has ended."""
        self._comms.over(why)

    def _new_comms(self) -> Comms:
        return Comms(lambda envelope: self._carrier.say(Channel.SHELL, envelope))

    def _follow(self, cell: Cell, display: Display, show_result: bool, timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout

        def take() -> Any:
            try:
                return cell.arrived.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                return FlameTimeout(f"the cell did not end within {timeout:g} s; it goes on ({self._carrier.where})")

        def answer(request: Envelope, text: str) -> None:
            reply = compose("input_reply", {"value": text}, session="flame-client", parent=request.parts[0])
            self._carrier.say(Channel.STDIN, reply)

        interrupted = False
        unasked: NobodyToAsk | None = None
        with self._carrier.link.telling(display):
            while not cell.done:
                try:
                    follow(cell, display, answer, take, show_result, self._comms.take)
                except KeyboardInterrupt:
                    # The remote side gets the interrupt, and its KeyboardInterrupt comes back as the cell's error. A
                    # second one here gives up waiting.
                    if interrupted:
                        raise CellLeft(f"the cell goes on ({self._carrier.where})") from None
                    interrupted = True
                    self._carrier.interrupt_soon()
                except NobodyToAsk as error:
                    # It would wait for ever, and all cells behind it.
                    self._carrier.interrupt_soon()
                    if unasked is not None:
                        break
                    unasked = error
        if unasked is not None:
            raise SessionError(
                f"the cell asked for input, and there is no way to ask here: {unasked}; it was interrupted "
                f"({self._carrier.where})"
            ) from unasked.__cause__

    def _outcome(self, cell: Cell, msg_id: str) -> CellResult:
        reply = cell.reply or {}
        count = reply.get("execution_count")
        failed = reply.get("status") == "error"
        has_value = any(output["output_type"] == "execute_result" for output in cell.outputs)
        told = "\n".join(reply.get("traceback", ()))
        value, note, error = None, "", None
        if (failed or has_value) and self._carrier.welcome.calls and not self._plain:
            note, value, error = self._fetched(msg_id, told)
        elif has_value:
            note = "this connection carries no values of cells"
        if failed and error is None:
            failure = Failure(str(reply.get("ename")), str(reply.get("evalue")), told)
            error = raised(failure, 0, (), self._carrier.where, plain=False)
        return CellResult(cell.outputs, value, note, error, count)

    def _fetched(self, msg_id: str, told: str) -> tuple[str, Any, BaseException | None]:
        """Return why a cell's value stays there, its value, and its exception, whose traceback the kernel has told."""
        carrier = self._carrier
        try:
            note, value, failed = carrier.calls.call(Operation.OUTCOME, msg_id, VALUE_LIMIT)
        except SerializationError as error:  # the value can't be loaded here, and is too large to be held for us
            return str(error), None, None
        if failed is None:
            return note, value, None
        description, form, parts = failed
        failure = Failure.decode(description.encode("utf-8"))
        if told:
            failure = replace(failure, traceback=told)
        return note, value, raised(failure, form, parts, carrier.where, plain=False)
