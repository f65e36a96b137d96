"""Who may call over TCP: the keys that the server names, with the role that each has in this session.

Whoever comes over the unix socket is the server, or this user past the server: nobody else can enter its folder. Over
TCP comes whoever has proved a key of the table. What they may do stands in the table alone: not in what they call
their connection, which is theirs to choose.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import NamedTuple

import zmq

from flame_kernel.errors import KeyRefused
from flame_kernel.transport.tcp import PeerAddress, hang_up, is_unix, peer_of


class Authority(NamedTuple):
    """What tells what a connection may do.

    Attributes:
        name: As :func:`flame_kernel.worker.permits.require` takes it: begins with the role, if it's bound to one.
        key: The public key (Z85) that it proved, empty over the unix socket.
    """

    name: bytes
    key: str = ""


class Connection(NamedTuple):
    """One over TCP.

    Attributes:
        descriptor: Its file descriptor.
        peer: Who was at its other end when it greeted.
    """

    descriptor: int
    peer: PeerAddress | None


class Admitted:
    """The table, and who came by it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._roles: dict[str, str] = {}
        self._connections: dict[str, set[Connection]] = {}

    def admits(self, key: str) -> bool:
        """Tell whether a key is in the table."""
        return key in self._roles

    def holds(self, authority: Authority) -> bool:
        """Tell whether a connection still may do what it could when it greeted."""
        role = self._roles.get(authority.key)
        return not authority.key or (role is not None and authority.name == _name(role, authority.key))

    def change(self, roles: Mapping[str, str]) -> None:
        """Take a new table; connections of keys that are gone, or have another role now, end.

        Args:
            roles: The role of each key (Z85).
        """
        with self._lock:
            before, self._roles = self._roles, dict(roles)
            changed = [key for key, role in before.items() if self._roles.get(key) != role]
            ended = [connection for key in changed for connection in self._connections.pop(key, ())]
        for connection in ended:
            hang_up(*connection)

    def recognise(self, peer: bytes, frame: zmq.Frame) -> Authority:
        """Return what tells what a connection may do that greets.

        Args:
            peer: The connection's name.
            frame: A frame that came over it.

        Raises:
            KeyRefused: Nothing.
        """
        descriptor = int(frame.get(zmq.SRCFD))
        try:
            key = str(frame["User-Id"])
        except zmq.ZMQError:
            if is_unix(descriptor):
                return Authority(peer)
            raise KeyRefused("a connection came to this session without a key") from None
        with self._lock:
            role = self._roles.get(key)
            # Its own names begin with a zero byte in ZeroMQ; who takes another means to pose as somebody.
            if role is None or not peer.startswith(b"\0"):
                raise KeyRefused("this client's key is not admitted to this session")
            connections = self._connections.setdefault(key, set())
            connections.add(Connection(descriptor, peer_of(descriptor)))
        return Authority(_name(role, key), key)

    def ended(self, descriptor: int) -> None:
        """Note that a connection ended."""
        with self._lock:
            for connections in self._connections.values():
                for connection in [one for one in connections if one.descriptor == descriptor]:
                    connections.discard(connection)


def _name(role: str, key: str) -> bytes:
    return f"{role}:{key}".encode("ascii", "replace")
