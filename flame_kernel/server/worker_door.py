"""The server's end of a worker's own door (``worker/direct.py``): who may use it, and where clients find it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import FlameError
from flame_kernel.protocol import messages
from flame_kernel.protocol.session import SessionState
from flame_kernel.security.authorized_key import Role
from flame_kernel.server.attachment import Attachment
from flame_kernel.server.peers import Caller
from flame_kernel.server.permits import Grant
from flame_kernel.server.session import Session
from flame_kernel.transport.eventsocket import EventSocket

log = logging.getLogger(__name__)

# Called with a reason, an address and a key (Z85) for each that the worker did not let in.
OnRefused = Callable[[str, str, str], None]


@dataclass
class Client:
    """One that may come by the door.

    Attributes:
        caller: Who it is.
        grant: What it may do in the session.
        attachment: Its conversation, by which it hears where the door is.
        host: The address of this machine by which it reached the server.
        told: What it was told.
    """

    caller: Caller
    grant: Grant
    attachment: Attachment
    host: str
    told: messages.Direct | None = None


class WorkerDoor:
    """One session's.

    The worker gets the whole table each time: so it can miss one, be another process, or have another server.

    Args:
        context: The ZeroMQ context.
        session: The session.
        ports: The first and the last port to choose from; 0 for any that is free.
        on_refused: Called for each that the worker did not let in.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], session: Session, ports: tuple[int, int], on_refused: OnRefused
    ) -> None:
        self.session = session
        self._ports = ports
        self._on_refused = on_refused
        self._clients: dict[str, Client] = {}
        self._said: dict[str, Any] | None = None
        self._number = 0
        self._open: dict[str, messages.Direct] = {}  # by the address at which it is
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(session.process.control_address)
        self._socket = EventSocket(socket, self._on_frames)
        session.on_process_change.add(self._on_process_change)

    def admit(self, client: Client) -> None:
        """Let a client use the door, and tell it where that is."""
        self._clients[client.attachment.name] = client
        self._sync()

    def keep(self, may_stay: Callable[[Client], bool]) -> None:
        """Let go of the clients that may not stay, and of those that have left.

        Args:
            may_stay: Tells whether a client may.
        """
        here = self.session.attachments
        kept = {
            name: client
            for name, client in self._clients.items()
            if here.get(name) is client.attachment and may_stay(client)
        }
        if len(kept) < len(self._clients):
            self._clients = kept
            self._sync()

    def close(self) -> None:
        """Let go of it; it stays as it is for a while, for the next server."""
        self.session.on_process_change.discard(self._on_process_change)
        self._socket.close()

    def _sync(self) -> None:
        roles: dict[str, Role] = {}
        for client in self._clients.values():
            key = client.caller.public.decode("ascii")
            roles[key] = max(client.grant.role, roles.get(key, client.grant.role))
        wanted = {
            "hosts": sorted({client.host for client in self._clients.values()}),
            "ports": self._ports,
            "roles": {key: role.value for key, role in sorted(roles.items())},
        }
        if wanted == self._said:
            self._tell()
            return
        self._said = wanted
        self._number += 1
        self._socket.send([json.dumps({"id": self._number, **wanted}).encode("utf-8")])

    def _on_process_change(self, why: FlameError | None) -> None:
        if self.session.state is SessionState.ENDED:
            return
        self.session.on_process_change.add(self._on_process_change)
        self._said = None  # the process that heard it is gone, or about to be
        self._open = {}
        if why is None:
            self._sync()

    def _on_frames(self, frames: list[Buffer]) -> None:
        told = json.loads(bytes(frames[0]))
        if "refused" in told:
            self._on_refused(told["refused"], told["from"], told["key"])
        elif told.get("id") == self._number:
            if "error" in told:
                log.warning("session %s can't be called directly: %s", self.session.key.name, told["error"])
            key = told.get("key", "")
            self._open = {host: messages.Direct(port, key) for host, port in told.get("ports", {}).items()}
            self._tell()

    def _tell(self) -> None:
        for client in self._clients.values():
            direct = self._open.get(client.host)
            if direct is not None and direct != client.told:
                client.told = direct
                client.attachment.tell(direct)
