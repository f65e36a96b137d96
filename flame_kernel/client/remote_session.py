"""The session behind a :class:`Flame`: what it is, and what can be done to it as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flame_kernel.client.connection import Connection
from flame_kernel.client.links import embedded


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
    def address(self) -> str:
        """Where its server is, as ``connect`` takes it."""
        name = self._connection.endpoint.name
        return "embedded" if name == embedded.NAME else name

    @property
    def private(self) -> bool:
        """Whether it ends with this connection."""
        return self._connection.private

    @property
    def linked(self) -> bool:
        """Whether the link to its server is there; while it isn't, the session goes on and what is asked waits."""
        return self._connection.link.up

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

    def interrupt(self, *, timeout: float | None = None) -> None:
        """Interrupt the cell that runs, as Ctrl-C would.

        Args:
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            SessionDied: There is no process to interrupt.
            FlameTimeout: It took too long.
        """
        self._connection.interrupt(timeout)

    def restart(self, *, timeout: float | None = None) -> None:
        """Start a new process in place of the old one; the namespace is empty afterwards.

        Args:
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            KernelStartFailed: The new process does not come up.
            FlameTimeout: It took too long; it goes on over there.
        """
        self._connection.restart(timeout)

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
