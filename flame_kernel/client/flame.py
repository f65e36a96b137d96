"""``Flame``: a remote session in a script's hands."""

from __future__ import annotations

import atexit
from collections.abc import Iterator, Sequence
from types import ModuleType, TracebackType
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.client import display as displays
from flame_kernel.client import files, module_source
from flame_kernel.client.cells import CellResult
from flame_kernel.client.connection import Connection
from flame_kernel.client.console import Console
from flame_kernel.client.copying import CopyResult
from flame_kernel.client.listing import Sessions
from flame_kernel.client.missed import Missed
from flame_kernel.client.proxies import RemoteObject
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.messages import KernelInfo


class RemoteSession:
    """The session behind a :class:`Flame`.

    Args:
        connection: The connection to it.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def name(self) -> str:
        """Its name, also when the server chose it."""
        return self._connection.welcome.session

    @property
    def host(self) -> str:
        """The host it runs on."""
        return self._connection.welcome.host

    @property
    def kernel(self) -> str:
        """Its kernelspec."""
        return self._connection.welcome.kernel

    @property
    def language(self) -> str:
        """Its language, such as ``python``."""
        return self._connection.welcome.language

    @property
    def role(self) -> str:
        """What this connection may do in it: ``observe``, ``execute``, ``files`` or ``admin``."""
        return self._connection.welcome.role

    @property
    def owner(self) -> str:
        """What its owner is called when it belongs to another key; empty when it's this one's own."""
        return self._connection.welcome.owner

    def share(self, who: str, role: str = "observe") -> tuple[str, ...]:
        """Let another key use this session, as ``connect(session="owner/name")``; it has to have a name.

        Args:
            who: The key's fingerprint or its comment, as ``flame keys list`` shows them; ``*`` for every key that the
                server admits.
            role: What it may do at most: ``observe`` sees the outputs, ``execute`` runs cells and calls, ``files``
                also puts and gets files.

        Returns:
            Whom the session is shared with, and what they may do.

        Raises:
            NotPermitted: This client's key has not the role ``admin``.
            ConfigurationError: The server admits no such key.
            SessionError: The session is private.
        """
        return self._connection.sharing.share(who, role, "")

    def unshare(self, who: str = "") -> tuple[str, ...]:
        """Let another key use this session no more; its connections to it end at once.

        Args:
            who: As it was shared; empty for everybody.

        Returns:
            Whom it is still shared with.

        Raises:
            ConfigurationError: It isn't shared with them.
        """
        return self._connection.sharing.unshare(who, "")

    def outputs(self) -> Iterator[dict[str, Any]]:
        """Return an iterator over what everything in this session shows from now on, whoever runs it.

        Returns:
            Outputs as nbformat 4 writes them; it waits for the next one, and ends with the connection.
        """
        return self._connection.outputs()

    def interrupt(self) -> None:
        """Interrupt the cell that runs, as Ctrl-C would.

        Raises:
            SessionDied: There is no process to interrupt.
        """
        self._connection.interrupt()

    def restart(self) -> None:
        """Start a new process in place of the old one; the namespace is empty afterwards.

        Raises:
            KernelStartFailed: The new process does not come up.
        """
        self._connection.restart()

    def detach(self) -> None:
        """Leave the session, which goes on: also a private one, which is kept from now on; this connection ends."""
        self._connection.detach()

    def rename(self, name: str) -> None:
        """Give the session another name; a private one is kept from now on.

        Raises:
            SessionError: There is one of that name already.
        """
        self._connection.rename(name)

    def close(self) -> None:
        """End the session and its process, for everyone who is attached, and this connection with it."""
        self._connection.end()

    def __repr__(self) -> str:
        return f"<session {self.name!r} on {self._connection.endpoint.name} ({self.kernel})>"


class Flame:
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
        self._connection = connection
        self.session = RemoteSession(connection)
        atexit.register(self.close)

    def module(self, name: str) -> RemoteObject:
        """Return a remote module; it's imported there when it is first used.

        Args:
            name: Its dotted name.

        Example:
            >>> flame.module("os.path").join("a", "b")
            'a/b'
            >>> flame.module("os").name
            'posix'
        """
        return RemoteObject(self._connection, name, "", "")

    def builtin(self, name: str) -> RemoteObject:
        """Return a remote builtin.

        Args:
            name: Its name.

        Example:
            >>> flame.builtin("max")([22, 99, 1])
            99
        """
        return RemoteObject(self._connection, "builtins", name, "")

    def execute(self, code: str, *, timeout: float | None = None) -> None:
        """Run statements in the session's namespace, on a thread of their own.

        Args:
            code: Python statements.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: It took too long; it goes on over there.
            Exception: Whatever the code raises, as its own type where that loads here.

        Example:
            >>> flame.execute("import math")
        """
        self._connection.call(Operation.EXECUTE, code, timeout=timeout)

    def evaluate(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return the value of an expression in the session's namespace.

        Args:
            expression: A Python expression.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: It took too long; it goes on over there.
            SerializationError: The value can't cross by value.
            Exception: Whatever the expression raises, as its own type where that loads here.

        Example:
            >>> flame.evaluate("2 ** 10")
            1024
        """
        return self._connection.call(Operation.EVALUATE, expression, timeout=timeout)

    def __setitem__(self, name: str, value: Any) -> None:
        """Give a value a name in the session's namespace."""
        self._connection.call(Operation.PUSH, name, value)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a name in the session's namespace."""
        return self._connection.call(Operation.PULL, name)

    def run(
        self,
        code: str,
        *,
        check: bool = True,
        quiet: bool = False,
        show_result: bool = True,
        silent: bool = False,
        store_history: bool = True,
    ) -> CellResult:
        """Run a cell on the session's main thread, showing its outputs as they come; Ctrl-C interrupts it over there.

        Args:
            code: The cell, with everything that a notebook's cell may have.
            check: Whether the cell's exception is raised here; otherwise it's in the result only.
            quiet: Whether nothing is shown.
            show_result: Whether the value of the last expression is shown too.
            silent: Whether the kernel keeps it out of its history and displays.
            store_history: Whether it counts and is kept in the session's history.

        Returns:
            Outputs, value and exception.

        Raises:
            SessionDied: The session's process ended while the cell ran.
            Exception: The cell's own, if ``check``.

        Example:
            >>> flame.run("x = 20; x + 1", quiet=True).value
            21
        """
        display = displays.Silent() if quiet else displays.here()
        result = self._connection.run(code, display, show_result, silent, store_history)
        if check and result.error is not None:
            raise result.error
        return result

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

    def sessions(self, *, memory: bool = False, everyone: bool = False) -> Sessions:
        """List the sessions on the server that belong to this client's key or are shared with it.

        Args:
            memory: Whether to find out how much memory they use.
            everyone: Whether to list those of all keys, which takes the role ``admin``.

        Raises:
            NotPermitted: This client's key has not that role.
        """
        return Sessions(self._connection.sessions(memory, everyone))

    def put(
        self,
        local: files.Path | Sequence[files.Path],
        remote: str = "./",
        *,
        links: str = "keep",
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> CopyResult:
        """Copy files and folders to the session's host.

        A file appears whole or not at all. A copy that was cut short is continued when it's made again; what is there
        already and the same is not sent. Permissions and times of change are kept.

        Args:
            local: What: a path or several, with ``~`` and wildcards.
            remote: Where to: with a ``/`` at its end, or for several things, the folder that they go into; else the
                file's new name, or the folder that gets a folder's content.
            links: Symbolic links in folders: ``keep`` copies them as links and refuses those that lead out of the
                folder, ``follow`` copies what they point to, ``skip`` leaves them out.
            progress: Whether a bar shows how it goes on; ``None`` for: where somebody looks, if it takes a while.
            timeout: How long it may take, in seconds; ``None`` for as long as it takes.

        Returns:
            What was copied.

        Raises:
            OSError: A file system refuses: not found, no permission, no space, is a directory; of the class that fits.
            TransferError: A file changed meanwhile, or would come to stand outside of the destination.
            FlameTimeout: It took too long; made again, it goes on.

        Example:
            >>> flame.put("data/*.csv", "~/incoming/")
            CopyResult(files=12, bytes=73400320, found=0, skipped=())
        """
        return files.put(self._connection, local, remote, links, progress, timeout)

    def get(
        self,
        remote: files.Path | Sequence[files.Path],
        local: files.Path = "./",
        *,
        links: str = "keep",
        progress: bool | None = None,
        timeout: float | None = None,
    ) -> CopyResult:
        """Copy files and folders from the session's host; the twin of :meth:`put`, with the same rules.

        Nothing is written outside of the destination, whatever the host answers.

        Example:
            >>> flame.get("results/", "here/")
            CopyResult(files=3, bytes=1024, found=0, skipped=())
        """
        return files.get(self._connection, remote, local, links, progress, timeout)

    def sendfile(self, name: str, data: Buffer, *, timeout: float | None = None) -> None:
        """Write a file over there, whole or not at all.

        Args:
            name: Its path.
            data: Its content.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            OSError: The file system refuses; of the class that fits.

        Example:
            >>> flame.sendfile("r.bin", b"...")
        """
        files.send(self._connection, name, data, timeout)

    def getfile(self, name: str, *, timeout: float | None = None) -> bytes:
        """Return the content of a file over there; the twin of :meth:`sendfile`.

        Example:
            >>> flame.getfile("r.bin")
            b'...'
        """
        return files.fetch(self._connection, name, timeout)

    def sendmodule(self, module: str | ModuleType, source: str | None = None, *, timeout: float | None = None) -> None:
        """Send a module, so that code over there can import it.

        One of that name is replaced, and nothing of the old one is left; if the new one fails, it's as it was before.

        Args:
            module: A name for ``source``, which may be dotted; or a module or package of this machine, or its name. Of
                a package all modules are sent, as source: no data files, and nothing that is compiled.
            source: Python source.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            TransferError: It can't be sent as source, or stands for what can't be replaced.
            SyntaxError: It isn't Python.
            Exception: Whatever the module raises when it's imported.

        Example:
            >>> flame.sendmodule("tools.text", "def shout(text): return text.upper()")
            >>> flame.module("tools.text").shout("hello")
            'HELLO'
        """
        module_source.send(self._connection, module, source, timeout)

    def getmodule(self, name: str, *, timeout: float | None = None) -> str:
        """Return the source of a module over there, by its dotted name.

        Raises:
            ModuleNotFoundError: There's none of that name.
            TransferError: It has no source in Python, such as a C module.
        """
        return module_source.fetch(self._connection, name, timeout)

    def console(self) -> Console:
        """Return a console, whose lines run in the session as cells do: ``flame.console().interact()``."""
        return Console(self._connection)

    def end_session(self, name: str) -> None:
        """End another session and its process, for everyone who is attached.

        Args:
            name: Its name; ``owner/name`` for another key's, which takes the role ``admin``.

        Raises:
            UnknownSession: There's none of that name.
            NotPermitted: This client's key has not that role.
        """
        self._connection.sharing.end(name)

    def kernels(self) -> tuple[KernelInfo, ...]:
        """List the kernelspecs of the host."""
        return self._connection.kernels()

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

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Flame {self._connection.where}, {state}>"
