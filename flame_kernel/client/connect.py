"""``connect``: the way in."""

from __future__ import annotations

import os

from flame_kernel.client.connection import Connection
from flame_kernel.client.flame import Flame
from flame_kernel.client.target import parse


def connect(
    target: str | None = None,
    *,
    session: str | None = None,
    kernel: str | None = None,
    plain: bool = False,
    timeout: float = 60.0,
) -> Flame:
    """Connect to a Flame server and a session on it.

    Args:
        target: ``host``, ``host:port``, an invite (``flame://host:port/#…``), the path of a unix socket, or nothing:
            then FLAME_HOST counts, and without it a server on this machine, which is started if need be.
        session: The name of a session to share with everyone who has the same key; it's started if there's none, and
            stays. Without it (and without FLAME_SESSION) the connection gets a private one, which ends with it.
        kernel: The kernelspec of a session that has to be started; FLAME_KERNEL, else the server's default.
        plain: Whether only plain data may cross: nothing is ever unpickled here.
        timeout: How long connecting may take, in seconds, a new session's start included.

    Returns:
        The session.

    Raises:
        ConnectError: The server can't be reached, or does not let this client in; the message says what to do.
        SessionError: The session can't be had.
        FlameTimeout: It took too long.

    Example:
        >>> flame = connect()
        >>> flame.module("math").sqrt(25)
        5.0
    """
    environ = os.environ
    return Flame(
        Connection(
            parse(target, environ),
            session if session is not None else environ.get("FLAME_SESSION", ""),
            kernel if kernel is not None else environ.get("FLAME_KERNEL", ""),
            plain,
            timeout,
            environ,
        )
    )
