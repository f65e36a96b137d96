"""Requests that a kernel has not replied to yet: when it goes, each of them still gets its reply."""

from __future__ import annotations

from collections.abc import Collection

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import Channel, Envelope, Header


class Outstanding:
    """Keeps requests until their reply passes by."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[Channel, Envelope]] = {}

    def asked(self, channel: Channel, request: Envelope, header: Header) -> None:
        """Note what goes to the kernel."""
        if header.msg_type.endswith("_request"):
            # Buffers are of no use for an answer, and may be large.
            self._requests[header.msg_id] = (channel, Envelope(request.identities, request.parts[:4]))

    def replied(self, reply: Envelope) -> Envelope | None:
        """Note what the kernel says on shell or control.

        Returns:
            The request that it's the reply to, if it's one.
        """
        try:
            parent = reply.parent()
        except ProtocolError:
            return None
        _, request = self._requests.pop(parent.msg_id, (None, None)) if parent is not None else (None, None)
        return request

    @property
    def any(self) -> bool:
        """Whether something has no reply yet."""
        return bool(self._requests)

    def cells(self) -> set[str]:
        """Return the ids of the cells that have no reply yet."""
        return {
            msg_id for msg_id, (_, request) in self._requests.items() if request.header().msg_type == "execute_request"
        }

    def all(self) -> list[tuple[Channel, Envelope]]:
        """Return what has no reply, in the order in which it was asked."""
        return list(self._requests.values())

    def take(self, msg_ids: Collection[str]) -> list[tuple[Channel, Envelope]]:
        """Return some of what has no reply, in the order in which it was asked, and forget it.

        Args:
            msg_ids: The ids of the requests.
        """
        return [self._requests.pop(msg_id) for msg_id in list(self._requests) if msg_id in msg_ids]

    def take_all(self) -> list[tuple[Channel, Envelope]]:
        """Return what has no reply, in the order in which it was asked, and forget it."""
        requests, self._requests = self._requests, {}
        return list(requests.values())
