"""Kernels that are up before anybody asks for them, so that a session begins at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from flame_kernel.errors import FlameError
from flame_kernel.protocol.jupyter import Channel, Envelope
from flame_kernel.server.kernel import Kernel

log = logging.getLogger(__name__)

# A kernel that is being started takes a core; whoever has just got one shall have it to himself for a while, in
# seconds.
_CALM_S = 2.0


class WarmPool:
    """Keeps some kernels warm: those of the kernelspec that was asked for last.

    Args:
        make: Makes a kernel of a kernelspec, which is not started yet.
        kernelspec: Which kernelspec to begin with.
        size: How many kernels to keep.
    """

    def __init__(self, make: Callable[[str], Kernel], kernelspec: str, size: int) -> None:
        self._make = make
        self._kernelspec = kernelspec
        self._size = size
        self._warm: list[_Warm] = []
        self._starting: asyncio.Task[None] | None = None
        self._refilling: asyncio.Task[None] | None = None

    async def take(self, kernelspec: str) -> Kernel | None:
        """Take a warm kernel, ``None`` when there's none of that kernelspec; the next is started a little later.

        Args:
            kernelspec: Which one is wanted, now and perhaps soon again.
        """
        if self._starting is not None and self._kernelspec == kernelspec and not self._warm:
            await asyncio.wait({self._starting})  # it's well on its way
        found = next((warm for warm in self._warm if warm.kernel.process.kernel == kernelspec), None)
        if found is not None:
            self._warm.remove(found)
        self._kernelspec = kernelspec
        self.refill()
        return None if found is None else found.kernel

    def refill(self) -> None:
        """Start what is missing, once nothing else has been started for a while."""
        if self._refilling is not None:
            self._refilling.cancel()
        if self._size:
            self._refilling = asyncio.create_task(self._refill())

    async def close(self) -> None:
        """End all of them."""
        if self._refilling is not None:
            self._refilling.cancel()
            await asyncio.gather(self._refilling, return_exceptions=True)
        await asyncio.gather(*(warm.kernel.close() for warm in self._warm))

    async def _refill(self) -> None:
        await asyncio.sleep(_CALM_S)
        for other in [warm for warm in self._warm if warm.kernel.process.kernel != self._kernelspec]:
            self._warm.remove(other)
            await other.kernel.close()
        while len(self._warm) < self._size:
            try:
                kernel = self._make(self._kernelspec)
                if kernel.process.language != "python" or kernel.process.elsewhere:
                    return  # it could not be moved to another folder later, or may take a place in somebody's queue
                self._starting = asyncio.create_task(self._start(kernel))
                await self._starting
            except FlameError as error:  # whoever asks for that kernel is told; until then there's nobody to tell
                log.info("no kernel could be kept warm: %s", error)
                return
            finally:
                self._starting = None

    async def _start(self, kernel: Kernel) -> None:
        warm = _Warm(kernel, self._warm)
        kernel.tell(warm)
        try:
            await kernel.start()
        except (asyncio.CancelledError, FlameError):
            await kernel.close()
            raise
        self._warm.append(warm)


class _Warm:
    """A warm kernel, for as long as nobody has taken it."""

    def __init__(self, kernel: Kernel, pool: list[_Warm]) -> None:
        self.kernel = kernel
        self._pool = pool

    def on_kernel(self, channel: Channel, envelope: Envelope) -> None:
        """Nobody listens yet."""

    def on_death(self, cause: str) -> None:
        """It's of no use any more."""
        log.info("a warm kernel died: %s", cause)
        if self in self._pool:
            self._pool.remove(self)
