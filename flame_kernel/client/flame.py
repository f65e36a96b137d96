"""``Flame``: a remote session in a script's hands."""

from __future__ import annotations

import atexit
import socket
from types import TracebackType
from typing import Any

from flame_kernel import versions
from flame_kernel.client import completing, debugging
from flame_kernel.client.about import About, about
from flame_kernel.client.calls.forward import Forward, Wanted
from flame_kernel.client.calls.ways import LinkInfo
from flame_kernel.client.card import card
from flame_kernel.client.carrying import Carrying
from flame_kernel.client.cells import display as displays
from flame_kernel.client.cells.cells import Cell, CellResult, request_for
from flame_kernel.client.cells.missed import Missed
from flame_kernel.client.completing import Completions
from flame_kernel.client.connection import Connection
from flame_kernel.client.console import Console
from flame_kernel.client.listing import Sessions
from flame_kernel.client.remote_session import RemoteSession
from flame_kernel.client.running import CellFuture
from flame_kernel.errors import FlameTimeout
from flame_kernel.protocol.messages import KernelInfo


class Flame(Carrying):
    """A remote session: modules, builtins, expressions, statements, cells, variables.

    ``connect`` makes it. It's a context manager; a private session ends with it.

    Args:
        connection: The connection to the session.

    Example:
        >>> with connect() as flame:
        ...     flame.evaluate("6 * 7")
        42
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.session = RemoteSession(connection)
        atexit.register(self.close)

    @property
    def link(self) -> LinkInfo:
        """Which way calls go: straight to the session's process, or through the server.

        Example:
            >>> flame.evaluate("6 * 7")
            42
            >>> flame.link.way
            'direct'
        """
        return self._connection.ways.link

    def run(
        self,
        code: str,
        *,
        check: bool = True,
        quiet: bool = False,
        show_result: bool = True,
        silent: bool = False,
        store_history: bool = True,
        timeout: float | None = None,
    ) -> CellResult:
        """Run a cell on the session's main thread, showing its outputs as they come; Ctrl-C interrupts it over there.

        Args:
            code: The cell, with everything that a notebook's cell may have.
            check: Whether the cell's exception is raised here; otherwise it's in the result only.
            quiet: Whether nothing is shown.
            show_result: Whether the value of the last expression is shown too.
            silent: Whether the kernel keeps it out of its history and displays.
            store_history: Whether it counts and is kept in the session's history.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Returns:
            Outputs, value and exception.

        Raises:
            SessionDied: The session's process ended while the cell ran.
            FlameTimeout: It took too long; it goes on over there, and the error's ``cell`` is the future of it.
            Exception: The cell's own, if ``check``.

        Example:
            >>> flame.run("x = 20; x + 1", quiet=True).value
            21
        """
        display = displays.Silent() if quiet else displays.here()
        cell = Cell(request_for(code, silent, store_history))
        self._connection.cells.begin(cell, display)
        goes_on = False
        try:
            result = self._connection.cells.finish(cell, display, show_result, timeout)
        except FlameTimeout:
            goes_on = True
            future = CellFuture(self._connection, cell)
            future.follow_on()
            raise future.too_late(timeout) from None
        finally:
            if not goes_on:
                self._connection.cells.end(cell, display)
        if check and result.error is not None:
            raise result.error
        return result

    def start(self, code: str, *, store_history: bool = True, title: str = "") -> CellFuture:
        """Have a cell run on the session's main thread, without waiting for it.

        Args:
            code: The cell; it can't ask the user anything.
            store_history: Whether it counts and is kept in the session's history.
            title: What to call it where it's shown; the session's name unless told.

        Returns:
            A future of what it gives; in a notebook it shows itself as the cell's outputs so far, in place.

        Example:
            >>> future = flame.start("sum(range(10))")
            >>> future.result().value
            45
        """
        return CellFuture.start(self._connection, code, store_history=store_history, title=title)

    def about(self, *, timeout: float | None = None) -> About:
        """Return what the session's machine is: Python, processors, memory, graphics cards, versions that differ.

        Args:
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.about().processors > 0
            True
        """
        return about(self._connection, timeout)

    def missed(self, *, quiet: bool = False, keep: bool = False) -> Missed:
        """Show what the session showed while no client was attached: its final state, not its history.

        Args:
            quiet: Whether nothing is shown.
            keep: Whether it stays there for the next client all the same.

        Returns:
            The cells with their outputs; empty when nothing was missed.

        Example:
            >>> missed = flame.missed(quiet=True)
            >>> missed.outputs
            []
        """
        return self._connection.missed(displays.Silent() if quiet else displays.here(), keep)

    def follow(self, *, quiet: bool = False, forever: bool = False) -> Missed:
        """Show what was missed, and then what the session shows, whoever runs it, until no cell runs any more.

        What ``input()`` asks is asked here, if the client whose cell asks is gone. Ctrl-C stops following.

        Args:
            quiet: Whether nothing is shown.
            forever: Whether to go on when no cell runs any more.

        Returns:
            The cells with their outputs.

        Raises:
            SessionDied: The session's process ended meanwhile.
        """
        return self._connection.watch(displays.Silent() if quiet else displays.here(), forever)

    def answer(self, text: str) -> None:
        """Tell the session what its ``input()`` waits for, as :attr:`Missed.question` told it."""
        self._connection.answer(text)

    def sessions(self, *, memory: bool = False, everyone: bool = False, timeout: float | None = None) -> Sessions:
        """List the sessions on the server that belong to this client's key or are shared with it.

        Args:
            memory: Whether to find out how much memory they use.
            everyone: Whether to list those of all keys, which takes the role ``admin``.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            NotPermitted: This client's key has not that role.
        """
        return Sessions(self._connection.sessions(memory, everyone, timeout))

    def forward(
        self,
        port: int,
        at: int | None = None,
        *,
        host: str = "localhost",
        bind: str = "127.0.0.1",
        reverse: bool = False,
        timeout: float | None = None,
    ) -> Forward:
        """Let a port of the session's host be reached on this machine, or the other way round.

        What connects there travels through the encrypted connection to the session, survives its cuts, and ends with
        it. There may be any number of forwarded ports, and 256 connections through them at a time.

        Args:
            port: The port of the service; on the session's host, or on this machine with ``reverse``.
            at: The port to reach it at. Unless told the same one, or any if that is taken or both are one machine.
            host: Where the service is, seen from its side.
            bind: The address to listen at; whoever can reach it can use the service.
            reverse: Whether the service is on this machine, and to be reached on the session's host.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Returns:
            What is forwarded, with ``local_port``, ``remote_port``, ``url`` and ``close()``; a context manager.

        Raises:
            ForwardError: The port to listen at can't be had.
            NotPermitted: This client only observes.

        Example:
            >>> flame.forward(8787).url
            'http://127.0.0.1:8787'
        """
        elsewhere = self.session.host != socket.gethostname()
        wanted = Wanted(port, at or (port if elsewhere else 0), bool(at), host, bind, reverse)
        return self._connection.calls.forwards.open(wanted, timeout)

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The ports that are forwarded now."""
        return self._connection.calls.forwards.all()

    def console(self) -> Console:
        """Return a console, whose lines run in the session as cells do: ``flame.console().interact()``."""
        return Console(self._connection)

    def debug(self) -> None:
        """Look at what the last exception left behind, with Python's debugger over there; as ``%debug`` does.

        It asks here, as ``input()`` does: ``up``, ``down``, ``p`` and an expression, ``q`` to end. What is meant is the
        latest cell, or call of anybody's, that failed.

        Raises:
            CallsUnavailable: The session's language is not Python.
        """
        debugging.debug(self._connection, displays.here())

    def complete(self, code: str, cursor: int | None = None, *, timeout: float | None = None) -> Completions:
        """Ask the session what may stand at the cursor.

        Args:
            code: The code so far.
            cursor: Where in it, in characters; ``None`` for its end.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes. A session answers between cells.

        Returns:
            Completions with ``text`` and ``type``; their ``start`` and ``end`` say what they replace.

        Raises:
            FlameTimeout: A cell runs.

        Example:
            >>> [one.text for one in flame.complete("import mat")][:1]
            ['math']
        """
        return completing.complete(self._connection, code, cursor, timeout)

    def inspect(
        self, code: str, cursor: int | None = None, *, detail: int = 0, timeout: float | None = None
    ) -> dict[str, Any] | None:
        """Ask the session what the name at the cursor means.

        Args:
            code: The code.
            cursor: Where in it, in characters; ``None`` for its end.
            detail: 1 for the source as well.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes. A session answers between cells.

        Returns:
            MIME types to data, or ``None`` when it's nothing.

        Raises:
            FlameTimeout: A cell runs.
        """
        return completing.inspect(self._connection, code, cursor, detail, timeout)

    def paths(self, path: str = "", *, timeout: float | None = None) -> list[str]:
        """Ask the session's host how a path may go on: names in its folder that begin so, folders with a ``/``.

        Args:
            path: What there is of it; relative to the session's working folder, or with ``~``.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.paths("/etc/host")
            ['/etc/host.conf', '/etc/hostname', '/etc/hosts']
        """
        return completing.paths(self.evaluate, path, timeout)

    def end_session(self, name: str) -> None:
        """End another session and its process, for everyone who is attached.

        Args:
            name: Its name; ``owner/name`` for another key's, which takes the role ``admin``.

        Raises:
            UnknownSession: There's none of that name.
            NotPermitted: This client's key has not that role.
        """
        self._connection.sharing.end(name)

    def kernels(self, *, timeout: float | None = None) -> tuple[KernelInfo, ...]:
        """List what a session can run on the host: kernelspecs, and environments of conda, venv and pyenv.

        Args:
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
        """
        return self._connection.kernels(timeout)

    def differences(self) -> dict[str, tuple[str, str]]:
        """Return what has another version there than here, of Python and the packages whose values often cross.

        Returns:
            The versions here and there, by name; as they were when the session's process was started.

        Example:
            >>> flame.differences()
            {'numpy': ('2.1.0', '1.26.4')}
        """
        return versions.differing(versions.installed(), self._connection.welcome.versions)

    @property
    def unseen(self) -> int:
        """How many outputs of the session nobody had seen when this client attached; :meth:`missed` shows them."""
        return self._connection.welcome.unseen

    @property
    def closed(self) -> bool:
        """Whether it can't be used any more."""
        return self._connection.closed

    def close(self) -> None:
        """End the connection; a private session ends with it, a named one stays."""
        atexit.unregister(self.close)
        self._connection.close()

    def __enter__(self) -> Flame:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, str]:
        text, html = card(self._connection)
        return {"text/plain": f"{self!r}\n{text}", "text/html": html}

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Flame {self._connection.where}, {state}>"
