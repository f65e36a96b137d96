"""Everything behind a :class:`Flame`: a link on a loop of its own, lanes for calls, the cells that run."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import suppress
from typing import Any, TypeVar

import zmq

from flame_kernel.client.background import BackgroundLoop
from flame_kernel.client.calls import Calls
from flame_kernel.client.cells import Cell, CellResult, Cells, follow, request_for
from flame_kernel.client.connecting import Connector
from flame_kernel.client.display import Display, Terminal
from flame_kernel.client.failures import marked
from flame_kernel.client.session import Fate, SessionClient
from flame_kernel.client.target import Target
from flame_kernel.errors import (
    FlameError,
    FlameTimeout,
    LinkLost,
    RemoteError,
    SessionDied,
    SessionError,
    SessionRestarted,
)
from flame_kernel.protocol import messages
from flame_kernel.protocol.calls import Operation, Outcome
from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.transport.interface import Endpoint

T = TypeVar("T")

# A cell's value is fetched unasked up to this size, in bytes; a larger one stays over there.
VALUE_LIMIT = 10 * 1024 * 1024


class Connection:
    """A session as a script uses it: every method waits for its answer.

    Args:
        target: Where.
        session: The session's name; empty for a private one.
        kernel: The kernelspec if it has to be started; empty for the server's default.
        plain: Whether only plain data may cross.
        timeout: How long connecting may take, in seconds.
        environ: The environment.
    """

    def __init__(
        self, target: Target, session: str, kernel: str, plain: bool, timeout: float, environ: Mapping[str, str]
    ) -> None:
        self._plain = plain
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._cells = Cells()
        self._streams = Terminal()
        self._over: FlameError | None = None
        self.calls = Calls(self._context, self, plain)
        self._loop = BackgroundLoop("flame-link")
        connector = Connector(self._context, environ, timeout)
        try:
            opened = self._loop.run(connector.open(target, self, session, kernel))
        except BaseException:
            self.calls.close()
            self._loop.close()
            self._context.destroy(0)
            raise
        self.endpoint: Endpoint = opened[0]
        self._client: SessionClient = opened[1]
        self._pid = os.getpid()

    @property
    def welcome(self) -> messages.Welcome:
        """What the server said of the session."""
        assert self._client.welcome is not None
        return self._client.welcome

    @property
    def where(self) -> str:
        """What to call the session in messages."""
        return f"{self.endpoint.name}, session {self.welcome.session!r}"

    @property
    def session(self) -> str:
        """The session's name."""
        return self.welcome.session

    @property
    def closed(self) -> bool:
        """Whether it can't be used any more."""
        return self._over is not None

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
        self._require_open()
        cell = Cell(request_for(code, silent, store_history))
        msg_id = self._cells.begin(cell)
        self._loop.call(lambda: self._client.send(Channel.SHELL, cell.request))

        def answer(request: Envelope, text: str) -> None:
            reply = compose("input_reply", {"value": text}, session="flame-client", parent=request.parts[0])
            self._loop.call(lambda: self._client.send(Channel.STDIN, reply))

        try:
            self._follow(cell, display, answer, show_result, timeout)
        finally:
            self._cells.end(msg_id)
        return self._outcome(cell, msg_id)

    def interrupt(self, timeout: float | None = None) -> None:
        """Interrupt the session's main thread."""
        self._ask(self._client.interrupt(), timeout)

    def restart(self, timeout: float | None = None) -> None:
        """Start a new process in place of the session's."""
        self._ask(self._client.restart(), timeout)

    def end(self) -> None:
        """End the session and its process, and this connection with it."""
        self._require_open()
        self._loop.run(self._client.end())
        self.close()

    def sessions(self, timeout: float | None = None) -> tuple[messages.SessionInfo, ...]:
        """List the sessions of this key."""
        return self._ask(self._client.sessions(), timeout)

    def kernels(self, timeout: float | None = None) -> tuple[messages.KernelInfo, ...]:
        """List the host's kernelspecs."""
        return self._ask(self._client.kernels(), timeout)

    def close(self, leave: bool = True) -> None:
        """End the connection.

        Args:
            leave: Whether a private session ends with it.
        """
        if os.getpid() != self._pid:
            return  # a fork's copy: the connection belongs to the process that made it
        self._finish(LinkLost(f"this connection to {self.endpoint.name} was closed; connect again"))
        self.calls.close()
        if self._loop.alive:
            self._loop.run(self._shut(leave))
            self._loop.close()
            self._context.destroy(1_000)

    async def _shut(self, leave: bool) -> None:
        self._client.close(leave)

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Have a function called after a while."""
        with suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.later(seconds, function)

    def on_jupyter(self, channel: Channel, envelope: Envelope) -> None:
        """The kernel says something."""
        self._cells.on_jupyter(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if isinstance(fate, messages.Died):
            self._cells.fail(SessionDied(fate.cause))
        elif isinstance(fate, messages.Restarted):
            self._cells.fail(SessionRestarted(f"the session was restarted while the cell ran ({self.where})"))
            self.calls.renew()
        else:
            self._finish(SessionError(f"the session was closed ({self.where}); connect again"))

    def on_missing(self, count: int) -> None:
        """Messages are gone; never silently."""
        self._streams.stream(
            "stderr", f"[flame] {count} messages from {self.where} are missing: the link was down for too long\n"
        )

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again: what runs goes on, and nothing is lost."""

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""
        self._finish(error)

    def _follow(self, cell: Cell, display: Display, answer: Any, show_result: bool, timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout

        def take() -> Any:
            try:
                return cell.arrived.get(timeout=None if end is None else max(0.0, end - time.monotonic()))
            except queue.Empty:
                return FlameTimeout(f"the cell did not end within {timeout:g} s; it goes on ({self.where})")

        try:
            follow(cell, display, answer, take, show_result)
        except KeyboardInterrupt:
            # The remote side gets the interrupt, and its KeyboardInterrupt comes back as the cell's error. A second
            # one here gives up waiting.
            self._loop.start(self._client.interrupt())
            follow(cell, display, answer, take, show_result)

    def _outcome(self, cell: Cell, msg_id: str) -> CellResult:
        reply = cell.reply or {}
        count = reply.get("execution_count")
        failed = reply.get("status") == "error"
        has_value = any(output["output_type"] == "execute_result" for output in cell.outputs)
        value, note, error = None, "", None
        if (failed or has_value) and self.welcome.calls and not self._plain:
            note, value, error = self.calls.call(Operation.OUTCOME, msg_id, VALUE_LIMIT)
        elif has_value:
            note = "this connection carries no values of cells"
        if failed:
            text = "\n".join(reply.get("traceback", ()))
            error = error or RemoteError(str(reply.get("ename")), str(reply.get("evalue")), text)
            marked(error, self.where, text)
        return CellResult(cell.outputs, value, note, error, count)

    def show(self, stream: Outcome, text: str) -> None:
        """Show what a call prints."""
        self._streams.stream("stderr" if stream is Outcome.STDERR else "stdout", text)

    def _finish(self, error: FlameError) -> None:
        if self._over is None:
            self._over = error
            self.calls.finish(error)
            self._cells.fail(error)

    def _ask(self, question: Coroutine[Any, Any, T], timeout: float | None) -> T:
        try:
            self._require_open()
        except FlameError:
            question.close()
            raise
        try:
            return self._loop.run(question, timeout)
        except FutureTimeout:
            raise FlameTimeout(f"no answer from {self.endpoint.name} within {timeout:g} s") from None

    def _require_open(self) -> None:
        if self._over is not None:
            raise self._over
