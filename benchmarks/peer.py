"""What the benchmarks need of a peer. An adapter leaves out what its peer has no way to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from benchmarks.backlog import Backlog


class NotOffered(Exception):
    """The peer has no way to do this; the table has a dash."""


class Client(Protocol):
    """A connection to a peer's server, on which all the work is done.

    Attributes:
        errors: What an exception of the far side arrives as.
    """

    errors: tuple[type[Exception], ...] = (ZeroDivisionError,)

    def call(self) -> Any:
        """Return ``math.sqrt(500)``, computed over there."""
        raise NotOffered

    def evaluate(self, expression: str) -> Any:
        """Return the value of a Python expression over there."""
        raise NotOffered

    def echo(self, data: bytes) -> Any:
        """Return bytes that have been there and back."""
        raise NotOffered

    def pipeline(self, count: int) -> None:
        """Make many calls without waiting for one before the next, and get all results."""
        raise NotOffered

    def batch(self, count: int) -> None:
        """Make many calls as one message, and get all results."""
        raise NotOffered

    def iterate(self, count: int) -> int:
        """Iterate a generator of the far side, and return how many items came."""
        raise NotOffered

    def put(self, value: Any) -> None:
        """Have bytes or an array kept over there."""
        raise NotOffered

    def get(self) -> Any:
        """Return what is kept over there."""
        raise NotOffered

    def close(self) -> None:
        """End the connection."""


class Kernel(Protocol):
    """Something that runs a notebook's cells."""

    def cell(self, code: str) -> None:
        """Run a cell and take in everything that it shows."""

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class Sessions:
    """A server with sessions, whose processes can be looked at.

    Attributes:
        server: The server's process id.
        kernels: Those of its sessions.
    """

    server: int
    kernels: Sequence[int]


class Peer(Protocol):
    """A peer: its server, and the ways to it."""

    @property
    def distributions(self) -> Sequence[str]:
        """The packages whose versions the page states."""
        raise NotImplementedError

    @property
    def imports(self) -> str:
        """The module that a client imports."""
        raise NotImplementedError

    def start(self, folder: Path) -> None:
        """Start the server.

        Args:
            folder: An empty folder, short enough for unix sockets, for whatever it writes.
        """

    def stop(self) -> None:
        """End the server."""

    def connect(self) -> Client:
        """Connect to the server. Clients may be used on several threads, each on the one that made it."""
        raise NotOffered

    def settle(self, at_most_s: float) -> None:
        """Wait until the server has done what earlier work left it to do."""
        return

    def connect_new(self) -> Client:
        """Connect to a session that is new."""
        raise NotOffered

    def kernel(self) -> Kernel:
        """Return a kernel for cells."""
        return self.start_kernel()

    def start_kernel(self) -> Kernel:
        """Start a kernel, and return as soon as it can be sent a cell."""
        raise NotOffered

    def sessions(self, count: int) -> Sessions:
        """Have that many sessions on the server, none of which does anything."""
        raise NotOffered

    def backlog(self, size: int) -> Backlog:
        """Have a session say so many bytes to nobody, and tell what that costs."""
        raise NotOffered

    def help_command(self) -> Sequence[str]:
        """Return the command that prints its command line's help."""
        raise NotOffered
