"""The servers that this client was paired with."""

from __future__ import annotations

import os

from flame_kernel.security.folders import Folders
from flame_kernel.security.known_hosts import KnownHosts


def known_hosts() -> list[str]:
    """Return the addresses of the servers that this client was paired with, in the order of pairing.

    Example:
        >>> known_hosts()
        ['gpu1:9999', '10.0.0.7:9999']
    """
    return KnownHosts(Folders.find(os.environ).config / "known_hosts").addresses()
