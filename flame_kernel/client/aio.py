"""The asyncio twin of :class:`Flame`: the same names, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from flame_kernel.client.calls.chains import Chain
from flame_kernel.client.calls.work import work
from flame_kernel.client.cells import display as displays
from flame_kernel.client.cells.cells import CellResult
from flame_kernel.client.connection import Connection
from flame_kernel.errors import FlameTimeout
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.messages import KernelInfo, SessionInfo


class AsyncFlame:
    """A session, for coroutines. Cancelling one interrupts its call over there.

    Args:
        connection: The connection to it.

    Example:
        >>> async def both():
        ...     return await asyncio.gather(flame.aio.evaluate("1"), flame.aio.module("math").sqrt(4))
        >>> asyncio.run(both())
        [1, 2.0]
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def module(self, name: str) -> Chain:
        """Return a remote module; what its functions return is to be awaited."""
        return Chain(partial(self._call, Operation.CALL), name)

    def builtin(self, name: str) -> Chain:
        """Return a remote builtin; what it returns is to be awaited."""
        return Chain(partial(self._call, Operation.CALL), "builtins", name)

    async def evaluate(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return the value of an expression; an iterator is to be consumed with ``async for``."""
        return await self._call(Operation.EVALUATE, expression, timeout=timeout)

    async def execute(self, code: str, *, timeout: float | None = None) -> None:
        """Run statements."""
        await self._call(Operation.EXECUTE, code, timeout=timeout)

    async def call(self, what: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call something remote, such as a handle's method, or a function of this side, which is sent there."""
        operation, *operands = work(what, args, kwargs)
        return await self._call(operation, *operands)

    async def ref(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return a handle of an expression's value."""
        return await self._call(Operation.REFER, expression, timeout=timeout)

    async def push(self, name: str, value: Any, *, timeout: float | None = None) -> None:
        """Give a value a name in the session's namespace."""
        await self._call(Operation.PUSH, name, value, timeout=timeout)

    async def pull(self, name: str, *, timeout: float | None = None) -> Any:
        """Return the value of a name in the session's namespace."""
        return await self._call(Operation.PULL, name, timeout=timeout)

    async def run(
        self, code: str, *, check: bool = True, quiet: bool = False, timeout: float | None = None
    ) -> CellResult:
        """Run a cell; the options are those of :meth:`Flame.run`. Cancelling it interrupts the cell."""
        display = displays.Silent() if quiet else displays.here()
        try:
            result = await asyncio.to_thread(self._connection.cells.run, code, display, True, False, True, timeout)
        except asyncio.CancelledError:
            await asyncio.to_thread(self._connection.interrupt)
            raise
        if check and result.error is not None:
            raise result.error
        return result

    async def sessions(self) -> tuple[SessionInfo, ...]:
        """List the sessions on the server that belong to this client's key."""
        return await asyncio.to_thread(self._connection.sessions)

    async def kernels(self) -> tuple[KernelInfo, ...]:
        """List the kernelspecs of the host."""
        return await asyncio.to_thread(self._connection.kernels)

    async def _call(self, operation: Operation, *operands: Any, timeout: float | None = None) -> Any:
        future = asyncio.wrap_future(self._connection.calls.submit(operation, *operands))
        # Not wait_for: at the end of the time the call goes on, as one that is waited for otherwise does.
        try:
            await asyncio.wait({future}, timeout=timeout)
        except asyncio.CancelledError:
            future.cancel()
            raise
        if not future.done():
            future.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody looks at it any more
            raise FlameTimeout(
                f"no answer from {self._connection.endpoint.name} within {timeout:g} s; the call goes on there"
            )
        return future.result()
