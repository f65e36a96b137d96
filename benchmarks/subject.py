"""A peer that is being measured, with what one measurement leaves open for the next."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.peer import Client, Kernel, Peer


class Subject:
    """A peer whose server runs, with a client and a kernel that stay open from their first use on.

    Args:
        peer: The peer.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._client: Client | None = None
        self._kernel: Kernel | None = None

    @property
    def client(self) -> Client:
        """A connected client."""
        if self._client is None:
            self._client = self.peer.connect()
        return self._client

    @property
    def kernel(self) -> Kernel:
        """A kernel that is set up for cells."""
        if self._kernel is None:
            self._kernel = self.peer.kernel()
        return self._kernel

    def close(self) -> None:
        """Close what is open, and end the server; one that refuses is ended with its whole family afterwards."""
        with suppress(Exception):
            if self._client is not None:
                self._client.close()
        with suppress(Exception):
            if self._kernel is not None:
                self._kernel.close()
        with suppress(Exception):
            self.peer.stop()
