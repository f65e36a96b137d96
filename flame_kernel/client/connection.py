"""Everything behind a :class:`Flame`: a link on a loop of its own, lanes for calls, the cells that run."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import zmq

from flame_kernel.client.calls.calls import Calls
from flame_kernel.client.calls.remote_end import RemoteEnd
from flame_kernel.client.calls.ways import Ways
from flame_kernel.client.cells.cell_runs import CellRuns
from flame_kernel.client.cells.cells import Cell, Cells
from flame_kernel.client.cells.display import Display, Terminal, here
from flame_kernel.client.cells.displayed import show_displayed
from flame_kernel.client.cells.link_watch import LinkWatch
from flame_kernel.client.cells.missed import Follower, Missed, Overheard, question_of
from flame_kernel.client.cells.watching import Watches
from flame_kernel.client.links.background import BackgroundLoop
from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.session import Fate, SessionClient, Wanted, resumed
from flame_kernel.client.links.sharing import Sharing
from flame_kernel.client.links.target import Target
from flame_kernel.errors import (
    FlameError,
    FlameTimeout,
    LinkLost,
    NotPermitted,
    SessionDied,
    SessionError,
    SessionRestarted,
)
from flame_kernel.protocol import messages
from flame_kernel.protocol.calls import Outcome
from flame_kernel.protocol.jupyter import Channel, Envelope, compose
from flame_kernel.transport.interface import Endpoint

T = TypeVar("T")


class Connection:
    """A session as a script uses it: every method waits for its answer.

    Args:
        target: Where.
        session: The session's name; empty for a private one.
        kernel: The kernelspec if it has to be started; empty for the server's default.
        plain: Whether only plain data may cross.
        timeout: How long connecting may take, in seconds.
        environ: The environment.
        existing: Whether the session has to be there already.
        observe: Whether only to look on.
        lease: How long the session goes on without clients if it has to be started, in seconds; 0 for as long as the
            server lets it.
        meanwhile: What can be done while the server is being waited for.
    """

    def __init__(
        self,
        target: Target,
        session: str,
        kernel: str,
        plain: bool,
        timeout: float,
        environ: Mapping[str, str],
        existing: bool = False,
        observe: bool = False,
        lease: float = 0.0,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> None:
        self._plain = plain
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._cells = Cells()
        self.cells = CellRuns(self, self._cells, plain)
        self.link = LinkWatch(self.later)
        self.private = not session
        self._overheard: Overheard | None = None
        self._streams = Terminal()
        self._over: FlameError | None = None
        self.calls = Calls(self._context, self, plain)
        self._watches = Watches()
        self._loop = BackgroundLoop("flame-link")
        connector = Connector(self._context, environ, timeout)
        wanted = Wanted(session, kernel, existing, observe=observe, direct=not observe, lease=lease)
        try:
            opened = self._loop.run(connector.open(target, self, wanted), meanwhile=meanwhile)
        except BaseException:
            self.calls.close()
            self._loop.close()
            self._context.destroy(0)
            raise
        self.endpoint: Endpoint = opened[0]
        self._client: SessionClient = opened[1]
        self.ways = Ways(
            self.endpoint,
            lambda: (self.welcome, self._client.direct),
            lambda: self._over,
            wait=self._client.told_direct.wait,
        )
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
    def most_bytes(self) -> int:
        """The largest message that the server takes, in bytes; 0 when it did not say."""
        return self.welcome.message_bytes

    def require_calls(self) -> None:
        """Raise an error if this connection may make no calls.

        Raises:
            NotPermitted: It only observes.
        """
        self.require_open()
        self.require_more_than_observing("calls need")

    @property
    def conversation(self) -> str:
        """What the server knows this client's conversation by, whatever the session is called by now."""
        return self._client.conversation

    @property
    def closed(self) -> bool:
        """Whether it can't be used any more."""
        return self._over is not None

    @property
    def sharing(self) -> Sharing:
        """Who else may use the session."""
        return Sharing(self._loop, self._client, self.require_open)

    def outputs(self) -> Iterator[dict[str, Any]]:
        """Return what everything that runs in the session shows from now on."""
        self.require_open()
        return self._watches.begin()

    @contextmanager
    def copying(self, timeout: float | None) -> Iterator[RemoteEnd]:
        """Give the session as an end of a copy, on a lane of its own.

        Args:
            timeout: How long all that is done with it may take, in seconds; ``None`` for as long as it takes.
        """
        self.require_open()
        deadline = None if timeout is None else time.monotonic() + timeout
        self.require_more_than_observing("copying files needs")
        with self.calls.borrowed() as lane:
            yield RemoteEnd(lane, self.endpoint.name, deadline, timeout)

    def ask_kernel(self, msg_type: str, content: dict[str, Any], timeout: float | None) -> dict[str, Any] | None:
        """Ask the session's kernel something, and return the content of its reply.

        Args:
            msg_type: A request on the shell channel that runs nothing, such as ``complete_request``.
            content: What goes with it.
            timeout: How long to wait, in seconds; a kernel that runs a cell does not answer.

        Returns:
            The reply's content, or ``None`` when none came in time.
        """
        self.require_open()
        asked = Cell(compose(msg_type, content, session="flame-client"))
        msg_id = self._cells.begin(asked)
        self._loop.call(lambda: self._client.send(Channel.SHELL, asked.request))
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                arrived = asked.arrived.get(timeout=None if deadline is None else max(0, deadline - time.monotonic()))
                if isinstance(arrived, FlameError):
                    raise arrived
                channel, envelope = arrived
                if channel is Channel.SHELL:
                    content = envelope.content()
                    return content
        except queue.Empty:
            return None
        finally:
            self._cells.end(msg_id)

    def interrupt(self, timeout: float | None = None) -> None:
        """Interrupt the session's main thread."""
        self._ask(self._client.interrupt(), timeout)

    def interrupt_soon(self) -> None:
        """Interrupt the session's main thread, without waiting until that is done."""
        self._loop.start(self._client.interrupt())

    def restart(self, timeout: float | None = None) -> None:
        """Start a new process in place of the session's."""
        self._ask(self._client.restart(), timeout)

    def end(self) -> None:
        """End the session and its process, and this connection with it."""
        self.require_open()
        self._loop.run(self._client.end())
        self.close()

    def rename(self, name: str) -> None:
        """Give the session another name."""
        self.require_open()
        self._loop.run(self._client.rename(name))
        self.private = False
        self.calls.renew()

    def detach(self) -> None:
        """Leave the session, which goes on even if it is private."""
        self.require_open()
        self._loop.run(self._client.detach())
        self.close()

    def missed(self, display: Display, keep: bool) -> Missed:
        """Take what the session showed while nobody was attached, and show it.

        Args:
            display: What shows it.
            keep: Whether it stays there for the next client all the same.
        """
        with self._overhearing() as overheard:
            follower, done = self._begin_following(display, keep)
        asked = []
        for channel, envelope in overheard.said():
            if channel is Channel.STDIN:
                asked.append(envelope)
            elif channel is Channel.IOPUB:
                follower.take(envelope)
        return follower.result(done, question_of(asked[-1])[0] if asked else None)

    def watch(self, display: Display, forever: bool) -> Missed:
        """Show what was missed and what the session says from now on, whoever makes it say that.

        Args:
            display: What shows it; it also asks the user what ``input()`` asks.
            forever: Whether to go on when no cell runs any more.
        """
        with self._overhearing() as overheard:
            follower, done = self._begin_following(display, keep=False)
            while follower.busy or forever or overheard.waiting:
                channel, envelope = overheard.next()
                if channel is Channel.STDIN:
                    self.answer(display.ask(*question_of(envelope)))
                elif channel is Channel.IOPUB:
                    follower.take(envelope)
        return follower.result(done, None)

    def answer(self, text: str) -> None:
        """Tell the session what its ``input()`` waits for; what it then shows waits for who follows."""
        self.require_open()
        self._overheard = self._overheard or Overheard()
        reply = compose("input_reply", {"value": text}, session="flame-client")
        self._loop.call(lambda: self._client.send(Channel.STDIN, reply))

    def sessions(
        self, memory: bool = False, everyone: bool = False, timeout: float | None = None
    ) -> tuple[messages.SessionInfo, ...]:
        """List the sessions of this key and those shared with it, or those of all keys."""
        return self._ask(self._client.sessions(memory, everyone), timeout)

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
        if self._cells.on_jupyter(channel, envelope) or self.cells.on_jupyter(channel, envelope):
            pass
        elif self._overheard is not None:
            self._overheard.put(channel, envelope)
        self._watches.on_jupyter(channel, envelope)

    def on_fate(self, fate: Fate) -> None:
        """Something befell the session."""
        if isinstance(fate, messages.Died):
            self._fail(SessionDied(fate.cause))
        elif isinstance(fate, messages.Restarted):
            restarted = SessionRestarted(f"the session was restarted while the cell ran ({self.where})")
            self._cells.fail_some(fate.lost, restarted)
            self.cells.restarted()
            if self._overheard is not None:
                self._overheard.fail(restarted)
            self.ways.again()
            self.calls.renew()
        elif isinstance(fate, messages.Detached):
            self._finish(SessionError(f"another client detached this one ({self.where}), which goes on; connect again"))
            self._client.close(leave=True)
        elif isinstance(fate, messages.Resumed):
            self._streams.stream("stderr", f"[flame] {resumed(self.where, fate)}\n")
        else:
            self._finish(SessionError(f"the session was closed ({self.where}); connect again"))

    def on_missing(self, count: int) -> None:
        """Messages are gone; never silently."""
        self._streams.stream(
            "stderr", f"[flame] {count} messages from {self.where} are missing: the link was down for too long\n"
        )

    def on_link(self, up: bool) -> None:
        """The link was lost, or is there again; what runs goes on meanwhile."""
        self.link.changed(up, self.endpoint.name)

    def on_ended(self, error: FlameError) -> None:
        """The link is over."""
        self._finish(error)

    def show(self, stream: Outcome, text: str) -> None:
        """Show what a call prints or displays."""
        if stream is Outcome.DISPLAY:
            show_displayed(here(), text)
            return
        self._streams.stream("stderr" if stream is Outcome.STDERR else "stdout", text)

    def _finish(self, error: FlameError) -> None:
        if self._over is None:
            self._over = error
            self.cells.over(str(error))
            self.calls.finish(error)
            self._fail(error)
            self._watches.end()

    def _fail(self, error: FlameError) -> None:
        self._cells.fail(error)
        if self._overheard is not None:
            self._overheard.fail(error)

    @contextmanager
    def _overhearing(self) -> Iterator[Overheard]:
        self.require_open()
        self._overheard = overheard = self._overheard or Overheard()
        overheard.watched = True
        try:
            yield overheard
        finally:
            self._overheard = None

    def _begin_following(self, display: Display, keep: bool) -> tuple[Follower, messages.Done]:
        missed, done = self._loop.run(self._client.missed(keep))
        follower = Follower(display)
        follower.begin(missed, done)
        return follower, done

    def _ask(self, question: Coroutine[Any, Any, T], timeout: float | None) -> T:
        try:
            self.require_open()
        except FlameError:
            question.close()
            raise
        try:
            return self._loop.run(question, timeout)
        except FutureTimeout:
            raise FlameTimeout(f"no answer from {self.endpoint.name} within {timeout:g} s") from None

    def say(self, channel: Channel, envelope: Envelope) -> None:
        """Send the session's kernel a message, some time soon; may be called on any thread."""
        with suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call(lambda: self._client.send(channel, envelope))

    def send(self, envelope: Envelope) -> None:
        """Send the session's kernel a request on its shell channel.

        Raises:
            LimitExceeded: It's larger than the server takes.
        """
        self._loop.run(self._send(envelope))

    async def _send(self, request: Envelope) -> None:
        self._client.send(Channel.SHELL, request)

    def require_more_than_observing(self, what: str) -> None:
        """Raise an error if this connection only observes.

        Args:
            what: What needs more than that, in words.

        Raises:
            NotPermitted: It does.
        """
        if self.welcome.role == "observe":
            raise NotPermitted(f"this connection only observes ({self.where}); {what} the role execute there")

    def require_open(self) -> None:
        """Raise the error that ended the connection, if it has ended; or if this is a fork's copy of it."""
        if self._over is not None:
            raise self._over
        if os.getpid() != self._pid:
            raise LinkLost(f"this connection to {self.endpoint.name} was made before the fork; connect again")
