"""Connecting to a service's port, and what to say when nothing is there."""

from __future__ import annotations

import asyncio
import os
import socket as sockets

from flame_kernel.errors import ForwardError
from flame_kernel.ports.stream import Stream

# How long a service may take to accept a connection, in seconds.
_CONNECT_S = 30.0

# What a machine calls itself; each service listens at one of these at least, and most at the first.
_LOOPBACK = {"localhost": ("127.0.0.1", "::1")}


async def connect(stream: Stream, host: str, port: int) -> None:
    """Give a stream its socket.

    Args:
        stream: The stream.
        host: Where the service is.
        port: Its port.

    Raises:
        ForwardError: Nothing answers there; the message says what the system says.
    """
    loop = asyncio.get_running_loop()
    first: Exception | None = None
    for address in _LOOPBACK.get(host, (host,)):
        try:
            await asyncio.wait_for(loop.create_connection(lambda: stream, address, port), _CONNECT_S)
        except (OSError, asyncio.TimeoutError, OverflowError, ValueError) as error:  # noqa: PERF203  # two at most
            first = first or error
        else:
            return
    assert first is not None
    raise ForwardError(f"{host}:{port}: {reason(first)}") from first


def reason(error: Exception) -> str:
    """Return what the system says of an error, without the addresses that asyncio adds.

    Example:
        >>> reason(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"))
        'Connection refused'
    """
    if isinstance(error, asyncio.TimeoutError):
        return f"no answer within {_CONNECT_S:g} s"
    if isinstance(error, OSError) and error.errno and not isinstance(error, sockets.gaierror):
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error)
