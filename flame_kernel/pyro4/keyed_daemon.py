"""Pyro4's daemon, which holds each connection to a key before anything of it is unpickled.

Pyro4 sends proxies of modules, builtins and consoles without the key (it must not cross the wire), so that with a key
they are of no use to a client that doesn't know to set it on them (Pyro4's issue 77). A client on this machine gets
them with another key, which is *lent*: drawn when the bridge starts, good until it ends, and only for connections from
this machine, on which nobody but root can listen in. Others have to set the key themselves.
"""

from __future__ import annotations

import logging
import secrets
import struct
import threading
from typing import Any

from Pyro4 import core, errors, message

from flame_kernel.pyro4.settings import is_loopback

log = logging.getLogger(__name__)

# What a stranger may send, in bytes and seconds: a greeting has a few hundred bytes.
_GREETING_BYTES = 64 * 1024
_GREETING_S = 10.0


class _Heard:
    """A connection whose first message has been read already, to be read again.

    Args:
        connection: The connection.
        data: What was read.
    """

    def __init__(self, connection: Any, data: bytes) -> None:
        self._connection = connection
        self._data = data

    def recv(self, size: int) -> bytes:
        """Give what was read."""
        data, self._data = self._data[:size], self._data[size:]
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class KeyedDaemon(core.Daemon):
    """The daemon.

    Args:
        host: The address to listen at.
        port: The port; 0 picks a free one.
        key: The HMAC key; empty if none is asked for.
    """

    def __init__(self, host: str, port: int, key: str) -> None:
        self._key = key.encode("utf-8") or None
        self._lent = secrets.token_bytes(32) if key else None
        # Each connection has a thread to itself, from its greeting to its end.
        self._of_connection = threading.local()
        super().__init__(host=host, port=port)

    @property
    def _pyroHmacKey(self) -> bytes | None:  # Pyro4's name: what messages are held against, and signed with
        key: bytes | None = getattr(self._of_connection, "key", self._key)
        return key

    @_pyroHmacKey.setter
    def _pyroHmacKey(self, value: bytes | None) -> None:
        raise AttributeError("this daemon's key is given when it's made")

    def lend(self, proxy: Any) -> Any:
        """Return a proxy of an object here as the client that is being served needs it.

        Args:
            proxy: Any proxy; it gets the address that this client has connected to, and the lent key if it may have it.
        """
        sock = core.current_context.client.sock
        host, port = _bare(sock.getsockname()[0]), sock.getsockname()[1]
        uri = proxy._pyroUri
        found = core.Proxy(f"PYRO:{uri.object}@{f'[{host}]' if ':' in host else host}:{port}")
        found._pyroHmacKey = self._lent if _is_near(sock) else None
        return found

    def _handshake(self, conn: Any, denied_reason: str | None = None) -> bool:
        self._of_connection.key = self._key
        if self._key is None:
            return bool(super()._handshake(conn, denied_reason))
        conn.sock.settimeout(_GREETING_S)
        try:
            greeting = self._read(conn)
        except (errors.CommunicationError, OSError) as error:
            log.info("a greeting of %s could not be read: %s", _address(conn.sock), error)
            return False
        conn.sock.settimeout(None)
        if self._lent is not None and _is_near(conn.sock) and is_signed(greeting, self._lent):
            self._of_connection.key = self._lent
        elif not is_signed(greeting, self._key):
            log.warning("%s was turned away: it has not the key", _address(conn.sock))
        return bool(super()._handshake(_Heard(conn, greeting), denied_reason))

    def _read(self, conn: Any) -> bytes:
        head: bytes = conn.recv(message.Message.header_size)
        told = message.Message.from_header(head)
        size = told.annotations_size + told.data_size
        if not 0 <= size <= _GREETING_BYTES:
            raise errors.ProtocolError(f"a greeting of {size} bytes")
        return head + bytes(conn.recv(size))

    def _sendExceptionResponse(
        self, connection: Any, seq: int, serializer_id: int, exc_value: Any, tbinfo: Any, *more: Any, **named: Any
    ) -> None:
        # Where it happened over there, rather than how it came through here.
        tbinfo = getattr(exc_value, "_pyroTraceback", None) or tbinfo
        super()._sendExceptionResponse(connection, seq, serializer_id, exc_value, tbinfo, *more, **named)


def is_signed(greeting: bytes, key: bytes) -> bool:
    """Tell whether a message is signed with a key; only its head and its signature are looked at."""
    try:
        message.Message.recv(_Heard(None, greeting), hmac_key=key)
    except (errors.PyroError, ValueError, struct.error):  # it says so, or its annotations are damaged
        return False
    return True


def _is_near(sock: Any) -> bool:
    try:
        return is_loopback(_bare(sock.getpeername()[0]))
    except OSError:  # it's gone
        return False


def _address(sock: Any) -> str:
    try:
        return str(sock.getpeername()[0])
    except OSError:  # it's gone
        return "somebody"


def _bare(host: str) -> str:
    """Return an address without the prefix that one of IPv4 has on a socket for both."""
    return host.removeprefix("::ffff:")
