"""What a link needs of a transport; ``dialler`` and ``listener`` do it over ZeroMQ, ``memory`` without a network.

Both ends are driven by callbacks in one asyncio loop, and no callback is made from within a call.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from flame_kernel.buffers import Buffer


class Cause(enum.Enum):
    """Why a connection ended, as far as the transport can tell."""

    NO_ANSWER = "no answer"  # nothing listens, or the network does not lead there
    KEY_REFUSED = "key refused"  # the server does not admit our key
    HANDSHAKE = "handshake"  # something answered, but both sides could not prove who they are
    LOST = "lost"  # it was up and ended


@dataclass(frozen=True)
class Endpoint:
    """Where a server is and which keys open the door.

    Attributes:
        address: ``tcp://host:port`` or ``ipc://path``.
        name: What to call it in messages, such as ``gpu1:9999``.
        server_key: The server's public key in Z85; empty on a unix socket, which its folder protects.
        public: This client's public key in Z85.
        secret: This client's secret key in Z85.
        pinned_in: The file that the server's key was taken from, if any.
    """

    address: str
    name: str
    server_key: bytes = b""
    public: bytes = b""
    secret: bytes = b""
    pinned_in: Path | None = None

    def __repr__(self) -> str:
        return f"Endpoint({self.address!r}, {self.name!r})"


class DiallerEvents(Protocol):
    """What a dialler calls."""

    def on_up(self) -> None:
        """The connection is there, encrypted and authenticated."""

    def on_frames(self, frames: list[Buffer]) -> None:
        """A message arrived."""

    def on_down(self, cause: Cause) -> None:
        """The connection ended, or an attempt failed. The transport tries again by itself until it is closed."""


class Dialler(Protocol):
    """The client's end."""

    def dial(self) -> None:
        """Begin, or begin again with a connection that's certainly new."""

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, and ``on_down`` follows."""

    def close(self, linger_ms: int = 0) -> None:
        """End it; no callback follows."""


@dataclass(frozen=True)
class Origin:
    """Where a connection comes from.

    Attributes:
        user: The public key (Z85) that authenticated it; empty on a unix socket.
        address: The host at its other end; empty on a unix socket.
        hang_up: Ends it at once.
        local: The address of this machine that it came to; empty on a unix socket.
    """

    user: bytes
    address: str
    hang_up: Callable[[], None]
    local: str = ""


class Connection(Protocol):
    """A client's end for a caller that waits: ``blocking`` over ZeroMQ, ``streaming`` on one machine without it.

    When it's gone it stays gone.

    Attributes:
        endpoint: Where it leads.
        gone: Whether it's known to be gone.
        waiting: Whether it waits for a message, and an exception that comes now does no harm.
    """

    endpoint: Endpoint
    gone: bool
    waiting: bool

    def wait_until_up(self, deadline: float | None) -> None:
        """Wait until it's connected, encrypted and authenticated; attempts go on until then.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: The time is up.
            KeyRefused: The server does not admit this client's key.
            LinkLost: It was abandoned.
        """

    def comes_up(self, within_s: float) -> bool | None:
        """Tell whether it's connected, for who has another way to take.

        Args:
            within_s: How long to wait for it, in seconds; 0 not to wait.

        Returns:
            Whether it's up; ``None`` while there's no telling. What came to nothing is ``gone``.

        Raises:
            LinkLost: It was abandoned.
        """

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what can't be sent is dropped, which ``receive`` tells of."""

    def receive(self, deadline: float | None) -> list[Buffer] | None:
        """Wait for a message.

        Args:
            deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.

        Returns:
            Its frames; ``None`` when the connection is gone, the time is up, or somebody has woken this thread.

        Raises:
            LinkLost: It was abandoned.
        """

    def close(self, linger_ms: int = 0) -> None:
        """Close it.

        Args:
            linger_ms: How long what was sent may still take to leave, in milliseconds.
        """


class ListenerEvents(Protocol):
    """What a listener calls."""

    def on_frames(self, peer: bytes, origin: Callable[[], Origin], frames: list[Buffer]) -> None:
        """A message arrived.

        Args:
            peer: The connection, by a name that only the transport gives.
            origin: Tells where the connection comes from; for the first message of a connection.
            frames: The message.
        """


class Listener(Protocol):
    """The server's end."""

    def send(self, peer: bytes, frames: Sequence[Buffer]) -> bool:
        """Send a message to a connection; false when it isn't there any more."""

    def close(self) -> None:
        """End it; no callback follows."""
