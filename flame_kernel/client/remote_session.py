"""The session behind a :class:`Flame`: what it is, and what can be done to it as a whole."""

from __future__ import annotations

from flame_kernel.client.connection import Connection


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
