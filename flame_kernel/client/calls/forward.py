"""A forwarded port in a user's hands."""

from __future__ import annotations

import html
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from flame_kernel.errors import FlameError

# Where Ctrl-C does not end a wait, how often to look for it, in seconds.
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Wanted:
    """What a user wants forwarded.

    Attributes:
        port: The service's port.
        at: The port to reach it at; 0 for any that is free.
        exactly: Whether no other port will do.
        host: Where the service is, as its side sees it.
        bind: The address to listen at.
        reverse: Whether the service is on this side.
    """

    port: int
    at: int
    exactly: bool
    host: str = "localhost"
    bind: str = "127.0.0.1"
    reverse: bool = False

    @property
    def service(self) -> str:
        """What to call the service."""
        return f"{self.host}:{self.port}"


class Forward:
    """A port of one machine that can be reached at a port of the other, through the connection to its session.

    It's a context manager, and ends with the connection or the session.

    Args:
        wanted: What is forwarded.
        where: What to call the session's place.
        close: Ends it.

    Attributes:
        where: What to call the session's place.
        error: Why it has ended, if not by :meth:`close`.

    Example:
        >>> with flame.forward(8787) as forward:
        ...     urlopen(forward.url)
    """

    def __init__(self, wanted: Wanted, where: str, close: Callable[[Forward], None]) -> None:
        self.wanted = wanted
        self.where = where
        self.port = wanted.at
        self.error: FlameError | None = None
        self._close = close
        self._ended = threading.Event()

    @property
    def local_port(self) -> int:
        """The port on this machine."""
        return self.wanted.port if self.wanted.reverse else self.port

    @property
    def remote_port(self) -> int:
        """The port on the other machine."""
        return self.port if self.wanted.reverse else self.wanted.port

    @property
    def reverse(self) -> bool:
        """Whether the service is on this machine."""
        return self.wanted.reverse

    @property
    def url(self) -> str:
        """The address of a web service, on the machine where it can be reached now."""
        bind = "127.0.0.1" if self.wanted.bind in ("", "0.0.0.0") else self.wanted.bind
        return f"http://[{bind}]:{self.port}" if ":" in bind else f"http://{bind}:{self.port}"

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self._ended.is_set()

    def close(self) -> None:
        """End it, and the connections through it."""
        self._close(self)

    def wait(self) -> None:
        """Wait until it ends: by :meth:`close` on another thread, or with the session."""
        while not self._ended.wait(_LOOK_EVERY_S):
            pass

    def end(self, error: FlameError | None = None) -> None:
        """Take note that it has ended."""
        if not self.closed:
            self.error = error
            self._ended.set()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __str__(self) -> str:
        if self.wanted.reverse:
            return f"{self.wanted.bind}:{self.port} on {self.where} -> {self.wanted.service} here"
        return f"{self.url} -> {self.wanted.service} on {self.where}"

    def _repr_html_(self) -> str | None:
        """Show it with a link, where it can be followed."""
        if self.wanted.reverse or self.closed:
            return None
        rest = html.escape(str(self).removeprefix(self.url))
        return f'<a href="{html.escape(self.url)}" target="_blank">{html.escape(self.url)}</a>{rest}'

    def __repr__(self) -> str:
        return f"<Forward {self}{', closed' if self.closed else ''}>"
