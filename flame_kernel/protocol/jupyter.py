"""Jupyter's messages on their way through.

The five channels speak the wire format of the Jupyter messaging specification 5.5, "The Wire Protocol":
identities, ``<IDS|MSG>``, an HMAC signature, header, parent header, metadata, content, and buffers. Each hop has its
own key, so each hop checks the signature it receives and makes a new one; everything after the signature passes
through byte for byte. On a Flame connection, which is encrypted and authenticated as a whole, the signature is left
out and the channel's name put in front.
"""

from __future__ import annotations

import enum
import hmac
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from flame_kernel.buffers import OWN_FRAME, Buffer
from flame_kernel.errors import ProtocolError

DELIMITER = b"<IDS|MSG>"
# How the topics of these messages end, in every kernel that gives topics at all.
STATUS, INPUT = b"status", b"execute_input"
PROTOCOL_VERSION = "5.4"  # of the messages made here; those of a kernel carry their own
# What msgspec raises over bytes that are no JSON, no UTF-8, or nested without end.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SIGNED_PARTS = 4  # header, parent header, metadata, content; buffers are not signed


class Channel(bytes, enum.Enum):
    """A kernel's channels, but for the heartbeat, which no hop forwards; each is the name that a link gives it."""

    SHELL = b"shell"
    CONTROL = b"control"
    STDIN = b"stdin"
    IOPUB = b"iopub"


_CHANNELS: dict[bytes, Channel] = {channel.value: channel for channel in Channel}


class Header(msgspec.Struct, frozen=True):
    """The fields of a message header that anybody here looks at; the bytes themselves pass through as they are.

    Attributes:
        msg_id: The message's id.
        msg_type: Its type, such as ``execute_request``.
        session: The id of the process that made it.
    """

    msg_id: str
    msg_type: str
    session: str = ""


class Envelope(msgspec.Struct, frozen=True):
    """A Jupyter message without its signature.

    Attributes:
        identities: Who it is from or for, as the ROUTER sockets of the hop need it; on iopub the topic.
        parts: Header, parent header, metadata, content, and any number of buffers, as they came.
    """

    identities: tuple[bytes, ...]
    parts: tuple[Buffer, ...]

    @property
    def topic(self) -> bytes:
        """On iopub what it's about, as far as its maker gives topics."""
        return self.identities[-1] if self.identities else b""

    def header(self) -> Header:
        """Read the message's header.

        Raises:
            ProtocolError: It isn't one.
        """
        return read_header(self.parts[0])

    def parent(self) -> Header | None:
        """Read the header of the message it answers, ``None`` where there is none.

        Raises:
            ProtocolError: It isn't one.
        """
        try:
            return read_header(self.parts[1])
        except ProtocolError:
            if read_json(self.parts[1]):
                raise
            return None

    def content(self) -> Any:
        """Read the message's content.

        Raises:
            ProtocolError: It isn't JSON.
        """
        return read_json(self.parts[3])


def is_mark(envelope: Envelope) -> bool:
    """Tell without decoding it whether a message on iopub may say that a cell begins or ends."""
    return envelope.topic.endswith((STATUS, INPUT))


def read_header(data: Buffer) -> Header:
    """Read a message header.

    Raises:
        ProtocolError: It isn't one.
    """
    try:
        return msgspec.json.decode(data, type=Header)
    except _UNREADABLE as error:
        raise ProtocolError(f"a Jupyter message arrived with a damaged header: {error}") from error


def read_json(data: Buffer) -> Any:
    """Read a part that holds JSON.

    Raises:
        ProtocolError: It doesn't.
    """
    try:
        return msgspec.json.decode(data)
    except _UNREADABLE as error:
        raise ProtocolError(f"a Jupyter message arrived that isn't JSON: {error}") from error


def write_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return msgspec.json.encode(value)


class Signer:
    """Makes and checks signatures with a connection file's key (``hmac-sha256``; an empty key means no signatures).

    Args:
        key: The key.
        remember: How many of the latest signatures are remembered, so that a message that is played back to us is
            refused, as ipykernel does; 0 where nobody can get in between.

    Example:
        >>> signer = Signer(b"secret")
        >>> envelope = Envelope((b"peer",), (b"{}", b"{}", b"{}", b"{}"))
        >>> signer.open(signer.seal(envelope)) == envelope
        True
    """

    def __init__(self, key: bytes, remember: int = 0) -> None:
        self._mac = hmac.new(key, digestmod="sha256") if key else None
        self._remember = remember if key else 0
        self._seen: dict[bytes, None] = {}  # in the order of arrival

    def sign(self, parts: Sequence[Buffer]) -> bytes:
        """Return the signature of a message's first four parts, in hexadecimal."""
        if self._mac is None:
            return b""
        mac = self._mac.copy()
        signed = parts[:_SIGNED_PARTS]
        if max(map(len, signed)) < OWN_FRAME:
            mac.update(b"".join(signed))  # nearly all messages: one call for four
        else:
            for part in signed:
                mac.update(part)
        return mac.hexdigest().encode("ascii")

    def seal(self, envelope: Envelope) -> list[Buffer]:
        """Return the frames of a message for a channel socket."""
        return [*envelope.identities, DELIMITER, self.sign(envelope.parts), *envelope.parts]

    def open(self, frames: Sequence[Buffer]) -> Envelope:
        """Take the frames of a channel socket apart.

        Raises:
            ProtocolError: They are not a Jupyter message, or the signature is not of this key.
        """
        identities, rest = _split(frames)
        if len(rest) < 1 + _SIGNED_PARTS:
            raise ProtocolError("a Jupyter message arrived with parts missing")
        signature, *parts = rest
        if not hmac.compare_digest(bytes(signature), self.sign(parts)):
            raise ProtocolError("a Jupyter message arrived with a wrong signature")
        if self._remember:
            self._require_new(bytes(signature))
        return Envelope(identities, tuple(parts))

    def _require_new(self, signature: bytes) -> None:
        if signature in self._seen:
            raise ProtocolError("a Jupyter message arrived for the second time")
        self._seen[signature] = None
        if len(self._seen) > self._remember:
            del self._seen[next(iter(self._seen))]


def to_link(channel: Channel, envelope: Envelope) -> list[Buffer]:
    """Return a message as the parts of a numbered message on a Flame connection."""
    return [channel, *envelope.identities, DELIMITER, *envelope.parts]


def from_link(parts: Sequence[Buffer]) -> tuple[Channel, Envelope]:
    """Take a message from a Flame connection apart.

    Raises:
        ProtocolError: It isn't a Jupyter message.
    """
    channel = _CHANNELS.get(bytes(parts[0])) if parts else None
    if channel is None:
        raise ProtocolError("a message for no channel of a kernel arrived")
    identities, rest = _split(parts, 1)
    if len(rest) < _SIGNED_PARTS:
        raise ProtocolError("a Jupyter message arrived with parts missing")
    return channel, Envelope(identities, tuple(rest))


def _split(frames: Sequence[Buffer], start: int = 0) -> tuple[tuple[bytes, ...], Sequence[Buffer]]:
    try:
        position = frames.index(DELIMITER, start)  # a view compares with bytes as bytes do, without a copy
    except ValueError:
        raise ProtocolError("a Jupyter message arrived without its delimiter") from None
    return tuple(map(bytes, frames[start:position])), frames[position + 1 :]


def compose(
    msg_type: str,
    content: Any,
    *,
    session: str,
    parent: Buffer = b"{}",
    identities: tuple[bytes, ...] = (),
    metadata: Any = None,
    msg_id: str = "",
) -> Envelope:
    """Make a message of our own.

    Args:
        msg_type: Its type.
        content: Its content, plain data.
        session: The id of the process that counts as its maker.
        parent: The header of the message it answers, as bytes.
        identities: Who it is for; on iopub the topic.
        metadata: Its metadata, plain data.
        msg_id: Its id; a new one unless given.

    Returns:
        The message.

    Example:
        >>> compose("status", {"execution_state": "idle"}, session="s").header().msg_type
        'status'
    """
    header = {
        "msg_id": msg_id or uuid.uuid4().hex,
        "msg_type": msg_type,
        "session": session,
        "username": "flame",
        "date": datetime.now(timezone.utc).isoformat(),
        "version": PROTOCOL_VERSION,
    }
    return Envelope(identities, (write_json(header), parent, write_json(metadata or {}), write_json(content)))
