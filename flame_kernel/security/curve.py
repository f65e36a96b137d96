"""What libzmq must be told so that a TCP socket is encrypted, and closed to all but the admitted keys.

This module is loaded inside sessions too: standard library, pyzmq and Python 3.9.
"""

from __future__ import annotations

from typing import Any, Protocol

import zmq

DOMAIN = "flame"


class Keys(Protocol):
    """A key pair in Z85."""

    @property
    def public(self) -> bytes:
        """The public half."""

    @property
    def secret(self) -> bytes:
        """The secret half."""


def secure_server(socket: zmq.Socket[Any], keys: Keys, domain: str = DOMAIN) -> None:
    """Make a socket accept CURVE clients only, and only those that the ZAP handler admits.

    Args:
        socket: The socket, before it is bound.
        keys: The server's key pair.
        domain: The ZAP domain.

    Example:
        ``secure_server(router, keys); router.bind("tcp://127.0.0.1:9999")``
    """
    socket.curve_server = True
    socket.curve_publickey = keys.public
    socket.curve_secretkey = keys.secret
    socket.setsockopt_string(zmq.ZAP_DOMAIN, domain)
    # Without this, libzmq lets everybody in when no ZAP handler runs; a libzmq too old to know it must fail here.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def secure_client(socket: zmq.Socket[Any], keys: Keys, server_key: bytes) -> None:
    """Make a socket talk to one server only, and prove who it is.

    Args:
        socket: The socket, before it is connected.
        keys: The client's key pair, or an invite's.
        server_key: The server's public key in Z85.

    Example:
        ``secure_client(dealer, keys, known_hosts.lookup("gpu1:9999"))``
    """
    # As options: as attributes, pyzmq looks their names up in Python.
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
