"""A kernel's five channels, from either side: a server connects to a session's, a bridge binds a notebook's.

The Jupyter messaging specification 5.5 gives the socket types; the connection file gives addresses and the signing key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.errors import ConfigurationError, ProtocolError
from flame_kernel.protocol.jupyter import Channel, Envelope, Signer
from flame_kernel.security.keys import KeyPair
from flame_kernel.transport.eventsocket import EventSocket

OnMessage = Callable[[Channel, Envelope], None]
OnDamage = Callable[[Channel, ProtocolError], None]

# As many as ipykernel remembers.
_REMEMBERED_SIGNATURES = 2**16

# A session's socket file appears when its kernel has got so far; libzmq's own 100 ms would be most of a start.
_RECONNECT_MS = 5


class ConnectionInfo(msgspec.Struct, frozen=True):
    """What a connection file says.

    Attributes:
        transport: ``tcp`` or ``ipc``.
        ip: The address, or for ``ipc`` the path that ports are appended to.
        ports: The port of each channel.
        heartbeat_port: The port of the heartbeat.
        key: The signing key; empty for no signatures.
        curve: The key pair that encrypts all five, where the one who wrote the file asks for it.
    """

    transport: str
    ip: str
    ports: Mapping[Channel, int]
    heartbeat_port: int
    key: bytes
    curve: KeyPair | None = None

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> ConnectionInfo:
        """Read the fields of a connection file.

        Raises:
            ConfigurationError: Something is missing, or signatures are of a kind that isn't spoken here.
        """
        scheme = fields.get("signature_scheme", "hmac-sha256")
        if scheme != "hmac-sha256":
            raise ConfigurationError(f"the connection file asks for signatures by {scheme}; hmac-sha256 is supported")
        try:
            secret = fields.get("curve_secretkey")
            ports = {channel: int(fields[f"{channel.decode()}_port"]) for channel in Channel}
            key = fields.get("key", b"")
            return cls(
                str(fields.get("transport", "tcp")),
                str(fields["ip"]),
                ports,
                int(fields["hb_port"]),
                key.encode("utf-8") if isinstance(key, str) else bytes(key),
                None if secret is None else KeyPair(fields["curve_publickey"].encode("ascii"), secret.encode("ascii")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"the connection file can't be used: {error!r}") from error

    def address(self, port: int) -> str:
        """Return the ZeroMQ address of a port."""
        separator = "-" if self.transport == "ipc" else ":"
        return f"{self.transport}://{self.ip}{separator}{port}"


class KernelChannels:
    """A server's side of a session's channels.

    Args:
        context: The ZeroMQ context.
        info: The session's connection file.
        on_message: Called with what the kernel sends. The identities of replies and input requests come back as they
            were given.
        on_damage: Called when a message can't be read.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        on_message: OnMessage,
        on_damage: OnDamage,
    ) -> None:
        self._signer = Signer(info.key)
        self._sockets: dict[Channel, EventSocket] = {}
        for channel in Channel:
            socket = context.socket(zmq.SUB if channel is Channel.IOPUB else zmq.DEALER)
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RECONNECT_IVL, _RECONNECT_MS)
            # A queue that is full drops messages; the session's journal is what bounds memory.
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.SNDHWM, 0)
            if channel is Channel.IOPUB:
                socket.subscribe(b"")
            else:
                # The kernel sends an input request to the identity that its shell channel knows.
                socket.setsockopt(zmq.ROUTING_ID, b"flame-server")
            socket.connect(info.address(info.ports[channel]))
            self._sockets[channel] = EventSocket(socket, _receiver(channel, self._signer, on_message, on_damage))

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send a message to the kernel; its identities come back with the replies."""
        self._sockets[channel].send(self._signer.seal(envelope))

    def close(self) -> None:
        """Close the sockets."""
        for socket in self._sockets.values():
            socket.close()


class NotebookChannels:
    """A bridge's side of a notebook's channels: all five are bound at once, and the heartbeat is answered here.

    Args:
        context: The ZeroMQ context.
        info: The bridge's connection file.
        on_message: Called with what frontends send; the first identity is the frontend's.
        on_damage: Called when a message can't be read.
        on_subscribe: Called with the topic when a frontend subscribes to iopub.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        info: ConnectionInfo,
        on_message: OnMessage,
        on_damage: OnDamage,
        on_subscribe: Callable[[bytes], None],
    ) -> None:
        self._signer = Signer(info.key, _REMEMBERED_SIGNATURES)
        self._on_subscribe = on_subscribe
        self._sockets: dict[Channel, EventSocket] = {}
        for channel in Channel:
            kind = zmq.XPUB if channel is Channel.IOPUB else zmq.ROUTER
            socket = _bound(context, kind, info.address(info.ports[channel]), info.curve)
            receiver = (
                self._subscription
                if channel is Channel.IOPUB
                else _receiver(channel, self._signer, on_message, on_damage)
            )
            self._sockets[channel] = EventSocket(socket, receiver)
        heartbeat = _bound(context, zmq.ROUTER, info.address(info.heartbeat_port), info.curve)
        self._heartbeat = EventSocket(heartbeat, lambda frames: self._heartbeat.send(frames))

    def send(self, channel: Channel, envelope: Envelope) -> None:
        """Send a message to the frontend that its identities name, or to all on iopub."""
        self._sockets[channel].send(self._signer.seal(envelope))

    def close(self, linger_ms: int = 1_000) -> None:
        """Close the sockets.

        Args:
            linger_ms: How long the last replies may take to leave, in milliseconds.
        """
        for socket in (*self._sockets.values(), self._heartbeat):
            socket.close(linger_ms)

    def _subscription(self, frames: list[Buffer]) -> None:
        event = bytes(frames[0])
        if event.startswith(b"\x01"):
            self._on_subscribe(event[1:])


def _receiver(
    channel: Channel, signer: Signer, on_message: OnMessage, on_damage: OnDamage
) -> Callable[[list[Buffer]], None]:
    def receive(frames: list[Buffer]) -> None:
        try:
            on_message(channel, signer.open(frames))
        except ProtocolError as error:
            on_damage(channel, error)

    return receive


def _bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, curve: KeyPair | None
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    if curve is not None:
        # As ipykernel does: who can read the connection file has the keys, and nobody else finds the way in.
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = curve.public, curve.secret
    socket.setsockopt(zmq.LINGER, 1_000)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    if kind == zmq.ROUTER:
        # A frontend that comes back under its old identity takes the place of its old connection.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    else:
        # Every subscription is announced, also a second one to the same topic: each subscriber gets its welcome.
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.bind(address)
    return socket
