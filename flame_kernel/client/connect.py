"""``connect``: the way in."""

from __future__ import annotations

import asyncio
import math
import os

import zmq

from flame_kernel import versions
from flame_kernel.client.cells.display import Terminal
from flame_kernel.client.connection import Connection
from flame_kernel.client.flame import Flame
from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.target import Address, parse
from flame_kernel.client.uncaught import show_short
from flame_kernel.errors import ConfigurationError, FlameError
from flame_kernel.security.invites import Invite


def connect(
    target: str | None = None,
    *,
    session: str | None = None,
    kernel: str | None = None,
    plain: bool = False,
    observe: bool = False,
    lease: float | None = None,
    report: bool = True,
    timeout: float = 60.0,
) -> Flame:
    """Connect to a Flame server and a session on it.

    Args:
        target: ``host``, ``host:port``, an invite (``flame://host:port/#…``), the path of a unix socket, or nothing:
            then FLAME_HOST counts, and without it a server on this machine, which is started if need be.
        session: The name of a session to share with everyone who has the same key; it's started if there's none, and
            stays. ``owner/name`` is a session of another key that shares it. Without a name (and without FLAME_SESSION)
            the connection gets a private one, which ends with it.
        kernel: What a session that has to be started runs: a kernelspec or an environment by name, or the path of an
            environment or its Python, over there; FLAME_KERNEL, else the server's default.
        plain: Whether only plain data may cross: nothing is ever unpickled here.
        observe: Whether only to look on: the session has to be there, and nothing in it is changed.
        lease: How long a session that has to be started goes on without clients, in seconds; its process ends then. The
            server's own limit (``limits.lease_s``, ``limits.named_lease_s``) holds if it's shorter, and without this.
        report: Whether a line on stderr tells what has other versions there; :meth:`Flame.differences` returns it.
        timeout: How long connecting may take, in seconds, a new session's start included.

    Returns:
        The session.

    Raises:
        ConnectError: The server can't be reached, or does not let this client in; the message says what to do.
        SessionError: The session can't be had.
        FlameTimeout: It took too long.
        ConfigurationError: The target or the lease makes no sense.

    Example:
        >>> flame = connect()
        >>> flame.module("math").sqrt(25)
        5.0
    """
    environ = os.environ
    show_short()
    if lease is not None and not lease > 0:
        raise ConfigurationError(f"a lease is a number of seconds above 0, not {lease!r}")
    here: dict[str, str] = {}  # what is installed, looked up while the server is being waited for
    reports = report and not observe
    try:
        connection = Connection(
            parse(target, environ),
            session if session is not None else environ.get("FLAME_SESSION", ""),
            kernel if kernel is not None else environ.get("FLAME_KERNEL", ""),
            plain,
            timeout,
            environ,
            observe=observe,
            lease=0.0 if lease in (None, math.inf) else lease,
            meanwhile=lambda: here.update(versions.installed() if reports else {}),
        )
    except FlameError as error:
        # The line says what to do; the way it came explains nothing to the user.
        raise error.with_traceback(None) from None
    flame = Flame(connection)
    differences = versions.differing(here, connection.welcome.versions)
    if differences:
        Terminal().stream(
            "stderr", f"[flame] other versions on {flame.session.host}: {versions.describe(differences)}\n"
        )
    return flame


def pair(target: str, *, timeout: float = 20.0) -> str:
    """Use an invite without connecting any further.

    Args:
        target: What a user named: an invite, or anything else that ``connect`` takes.
        timeout: How long it may take, in seconds.

    Returns:
        The server's address if it was an invite; else what was named.

    Raises:
        InviteError: The server does not know the invite, or it was used, or has expired.
        ConnectError: The server can't be reached.
        FlameTimeout: It took too long.
    """
    invite = parse(target, {})
    if not isinstance(invite, Invite):
        return target
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        asyncio.run(Connector(context, os.environ, timeout).pair(invite))
    finally:
        context.destroy(1_000)
    return str(Address(invite.host, invite.port))
