"""The one session that all Pyro4 clients share, as they shared the namespace of Pyro4's server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from flame_kernel import Flame
from flame_kernel.errors import SessionDied

log = logging.getLogger(__name__)

T = TypeVar("T")


class SharedSession:
    """Gives a session, and begins it anew when it has died or was ended.

    Args:
        connect: Attaches to the session, which is started if need be.
    """

    def __init__(self, connect: Callable[[], Flame]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._flame = connect()
        self._dead = False

    def ask(self, what: Callable[[Flame], T]) -> T:
        """Ask something of the session.

        Args:
            what: Called with the session.

        Returns:
            What it gave.

        Raises:
            SessionDied: The session died over it; who asks next gets a new one.
            BaseException: Whatever it raises.
        """
        try:
            return what(self._alive())
        except SessionDied as error:
            log.warning("%s; whoever asks next gets a new one", error)
            self._dead = True
            raise

    def close(self) -> None:
        """Leave the session, which goes on."""
        self._flame.close()

    def _alive(self) -> Flame:
        with self._lock:
            if self._flame.closed:
                self._flame = self._connect()
            elif self._dead:
                self._flame.session.restart()
            self._dead = False
            return self._flame
