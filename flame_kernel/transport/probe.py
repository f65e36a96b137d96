"""What listens at an address: read from the first bytes that a plain TCP connection gets, without sending a secret."""

from __future__ import annotations

import enum
import socket

# ZMTP 3.x, "The greeting": 10 bytes of signature, 2 of version, 20 of mechanism, 1 that says whether it is a server,
# 31 spare.
_GREETING = 64
_SIGNATURE = b"\xff" + 8 * b"\0" + b"\x7f"
_OUR_GREETING = b"\xff" + 7 * b"\0" + b"\1\x7f\3\0" + b"CURVE".ljust(20, b"\0") + 32 * b"\0"


class Found(enum.Enum):
    """What is there."""

    NO_SUCH_HOST = "no such host"
    NOBODY = "nobody"  # the connection is refused
    NO_WAY = "no way"  # packets vanish: a firewall, a wrong address, a machine that is off
    OTHER = "other"  # something that does not speak as a Flame server does
    CURVE = "curve"  # a ZeroMQ server with CURVE


def probe(host: str, port: int, timeout: float = 3.0) -> Found:
    """Look what listens.

    Args:
        host: The host's name or address.
        port: The TCP port.
        timeout: How long to wait for it, in seconds.

    Returns:
        What was found.
    """
    try:
        connection = socket.create_connection((host, port), timeout)
    except socket.gaierror:
        return Found.NO_SUCH_HOST
    except ConnectionRefusedError:
        return Found.NOBODY
    except OSError:
        return Found.NO_WAY
    with connection:
        return Found.CURVE if _is_curve(connection) else Found.OTHER


def _is_curve(connection: socket.socket) -> bool:
    try:
        connection.sendall(_OUR_GREETING)
        greeting = b""
        while len(greeting) < _GREETING:
            received = connection.recv(_GREETING - len(greeting))
            if not received:
                return False
            greeting += received
    except OSError:
        return False
    return (
        greeting[0] == _SIGNATURE[0]
        and greeting[9] == _SIGNATURE[9]
        and greeting[12:32].rstrip(b"\0") == b"CURVE"  # whether it's a server is said next, but libzmq says no always
    )
