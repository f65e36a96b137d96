"""Looking at connections that libzmq owns, and ending them.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

import errno
import os
import socket as sockets
from collections.abc import Iterator
from contextlib import contextmanager

PeerAddress = tuple[str, int]


def peer_of(descriptor: int) -> PeerAddress | None:
    """Return who is at the other end of a connection, ``None`` when it's gone.

    Args:
        descriptor: Its file descriptor.
    """
    try:
        with _borrowed(descriptor) as connection:
            return _address(connection)
    except OSError:
        return None


def local_host_of(descriptor: int) -> str:
    """Return the address of this machine that a TCP connection came to, empty when it's gone.

    Args:
        descriptor: Its file descriptor.
    """
    try:
        with _borrowed(descriptor) as connection:
            if connection.family not in (sockets.AF_INET, sockets.AF_INET6):
                return ""
            return str(connection.getsockname()[0]).removeprefix("::ffff:")
    except OSError:
        return ""


def is_unix(descriptor: int) -> bool:
    """Tell whether a connection is one over a unix socket; false when it's gone.

    Args:
        descriptor: Its file descriptor.
    """
    try:
        with _borrowed(descriptor) as connection:
            return connection.family == getattr(sockets, "AF_UNIX", None)
    except OSError:
        return False


def hang_up(descriptor: int, expected: PeerAddress | None) -> None:
    """End a connection; libzmq notices, and closes it.

    Args:
        descriptor: Its file descriptor.
        expected: Who has to be at its other end, as :func:`peer_of` says: the number may stand for another one by now.
    """
    try:
        with _borrowed(descriptor) as connection:
            if expected is not None and _address(connection) == expected:
                connection.shutdown(sockets.SHUT_RDWR)
    except OSError:
        return  # it ended by itself


@contextmanager
def _borrowed(descriptor: int) -> Iterator[sockets.socket]:
    try:
        # A copy stays what it is, even if libzmq closes the connection at this very moment.
        connection = sockets.socket(fileno=os.dup(descriptor))
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        # No descriptor is left for a copy, and it's now that connections have to be ended.
        connection = sockets.socket(fileno=descriptor)
        try:
            yield connection
        finally:
            connection.detach()
        return
    with connection:
        yield connection


def _address(connection: sockets.socket) -> PeerAddress | None:
    if connection.family not in (sockets.AF_INET, sockets.AF_INET6):
        return None
    host, port, *_ = connection.getpeername()
    return str(host), int(port)
