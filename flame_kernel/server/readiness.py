"""Tells systemd how far the server is, as sd_notify(3) describes: one datagram to the socket that it named."""

from __future__ import annotations

import socket
from collections.abc import Mapping

READY = b"READY=1"
STOPPING = b"STOPPING=1"


def notify(environ: Mapping[str, str], state: bytes) -> None:
    """Tell the service manager, if there is one that wants to know.

    Args:
        environ: The environment; NOTIFY_SOCKET counts.
        state: What to tell.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messenger:
        # An @ stands for the null byte of Linux's abstract names.
        messenger.connect("\0" + address[1:] if address.startswith("@") else address)
        messenger.send(state)
