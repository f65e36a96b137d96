"""Why a connection did not come about, in one line that says what to do."""

from __future__ import annotations

from pathlib import Path

from flame_kernel.errors import (
    ConnectError,
    HostKeyChanged,
    KeyRefused,
    NotAFlameServer,
    ServerUnreachable,
)
from flame_kernel.security.known_hosts import changed_message
from flame_kernel.transport.interface import Cause, Endpoint
from flame_kernel.transport.probe import Found, probe

# How long to look, in seconds. When the user's own time is up already, not for much longer.
_AFTER_FAILURE_S = 3.0
_AFTER_TIMEOUT_S = 1.0


def why_not(endpoint: Endpoint, cause: Cause | None) -> ConnectError | None:
    """Find out why there's no connection; it may take some seconds.

    Args:
        endpoint: Where to.
        cause: What the transport knows; ``None`` when it knows nothing.

    Returns:
        The error to raise, or ``None`` when nothing wrong can be found.
    """
    name = endpoint.name
    if endpoint.address.startswith("ipc://"):
        if cause is None and endpoint.server_key:  # ssh has told that the server is there, so it's the session's fault
            return None
        path = Path(endpoint.address.removeprefix("ipc://"))
        return ServerUnreachable(f"no Flame server listens at {path}; start it with: flame-server -u {path}")
    if cause is Cause.KEY_REFUSED:
        return KeyRefused(f"{name} does not admit this client's key; pair with a fresh invite from it (flame invite)")
    host, _, port = endpoint.address.removeprefix("tcp://").rpartition(":")
    found = probe(host.strip("[]"), int(port), _AFTER_TIMEOUT_S if cause is None else _AFTER_FAILURE_S)
    if found is Found.NO_SUCH_HOST:
        return ServerUnreachable(f"there is no host named {host}; check the name")
    if found is Found.NOBODY:
        return ServerUnreachable(f"nothing listens at {name}; start the server there: flame-server -p {port} --enable")
    if found is Found.NO_WAY:
        return ServerUnreachable(f"{name} does not answer; check the address, the network and the firewall")
    if found is Found.OTHER:
        return NotAFlameServer(f"what listens at {name} is not a Flame server; check the port")
    if cause in (Cause.HANDSHAKE, Cause.LOST) and endpoint.pinned_in is not None:
        return HostKeyChanged(changed_message(name, endpoint.server_key, endpoint.pinned_in))
    if cause in (Cause.HANDSHAKE, Cause.LOST):
        return HostKeyChanged(f"{name} is not the server that this invite is from; ask for a fresh invite")
    return None
