"""What a server takes at most, held against before anything is sent: an error here costs nobody a connection."""

from __future__ import annotations

from collections.abc import Sequence

from flame_kernel.buffers import Buffer, size_of
from flame_kernel.errors import LimitExceeded


def require_size(parts: Sequence[Buffer], most: int, server: str) -> None:
    """Make sure that the server takes a message.

    Args:
        parts: The message.
        most: How large it may be, in bytes; 0 when the server did not say.
        server: What to call the server.

    Raises:
        LimitExceeded: It's too large.

    Example:
        >>> require_size([b"abc"], 3, "gpu1:9999")
    """
    total = size_of(parts)
    if most and total > most:
        raise LimitExceeded(
            f"this message has {total} bytes, and {server} takes {most} at most (limits.message_bytes); "
            "send it in pieces"
        )
