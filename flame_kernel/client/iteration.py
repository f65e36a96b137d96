"""Iterators of a session, consumed here: items come in chunks that grow, and the next chunk is fetched ahead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from flame_kernel.client.handles import Handle, Held
from flame_kernel.client.proxies import Caller, RemoteObject, with_remote_doc
from flame_kernel.errors import FlameTimeout
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.references import Reference, Root

# The first chunks are small, so that who takes a few items makes the other side run ahead by a few only.
_GROWTH = 4
_AT_MOST = 65_536

# From this size on the next chunk is fetched before it's wanted.
_AHEAD_FROM = 4


class Reply(Protocol):
    """An answer that is on its way."""

    def wait(self, timeout: float | None) -> Any:
        """Return it, or raise its exception; Ctrl-C interrupts what is being done for it."""

    async def come(self, timeout: float | None) -> Any:
        """Return it, or raise its exception, without holding up the event loop."""


class Fetcher(Caller, Protocol):
    """Makes calls, and also ahead of when their answers are wanted."""

    def ask(self, operation: Operation, *operands: Any) -> Reply:
        """Make a call, to wait for its answer later."""

    def refer(self, reference: Reference, timeout: float | None = None) -> Any:
        """Return what stands for a reference here."""


class Chunks:
    """The items of an iterator that are here, and how more are had.

    Args:
        calls: Makes the calls.
        root: What names the iterator.
        timeout: How long to wait for a chunk, in seconds; ``None`` for as long as it takes.
    """

    def __init__(self, calls: Fetcher, root: Root, timeout: float | None) -> None:
        self.items: Iterator[Any] = iter(())
        self._calls = calls
        self._root = root
        self._timeout = timeout
        self._count = 1
        self._ahead: Reply | None = None
        self._done = False

    def refill(self) -> Any:
        """Return the next item, of the next chunk.

        Raises:
            StopIteration: There's none.
        """
        while not self._done:
            reply = self._reply()
            try:
                chunk = reply.wait(self._timeout)
            except FlameTimeout:
                self._ahead = reply  # it may yet come
                raise
            except BaseException:
                self._done = True
                raise
            returned = self._take(chunk)
            for item in self.items:
                return item
            if self._done:
                raise StopIteration(returned)
        raise StopIteration

    async def refill_in_loop(self) -> bool:
        """Get the next chunk; false when there's none."""
        while not self._done:
            reply = self._reply()
            try:
                chunk = await reply.come(self._timeout)
            except FlameTimeout:
                self._ahead = reply
                raise
            except BaseException:
                self._done = True
                raise
            self._take(chunk)
            return True
        return False

    def leave(self) -> None:
        """Want no more."""
        self._done = True
        self.items = iter(())

    def _reply(self) -> Reply:
        reply, self._ahead = self._ahead, None
        return reply if reply is not None else self._ask()

    def _ask(self) -> Reply:
        count = self._count
        self._count = min(count * _GROWTH, _AT_MOST)
        return self._calls.ask(Operation.NEXT, self._root, count)

    def _take(self, chunk: Any) -> Any:
        if isinstance(chunk, Handle):  # something in it can't be loaded here: item by item, then
            done, returned = chunk.head
            listing = chunk.values
            items: list[Any] = [listing[index] for index in range(len(listing))]
        else:
            done, returned, mixed, items = chunk
            if mixed:
                items = [self._calls.refer(item) if isinstance(item, Reference) else item for item in items]
        self._done = done
        if not done and self._count > _AHEAD_FROM:
            self._ahead = self._ask()
        self.items = iter(items)
        return returned


@with_remote_doc
class RemoteIterator(Handle):
    """An iterator over there, such as a generator. It is run ahead of what is taken here, by a chunk or two.

    Args:
        calls: Makes the calls.
        reference: What names it.
        held: What keeps it from being let go of.
        timeout: How long to wait for a chunk, in seconds; ``None`` for as long as it takes.
    """

    __slots__ = ("_flame_chunks",)
    _flame_chunks: Chunks

    def __init__(self, calls: Fetcher, reference: Reference, held: Held, timeout: float | None = None) -> None:
        super().__init__(calls, reference, held, timeout)
        self._flame_chunks = Chunks(calls, reference.root, timeout)

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        for item in self._flame_chunks.items:
            return item
        return self._flame_chunks.refill()

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            for item in self._flame_chunks.items:
                yield item
            if not await self._flame_chunks.refill_in_loop():
                return

    def close(self) -> None:
        """Close it over there; it gives no more items."""
        self._flame_chunks.leave()
        self._flame_ask(Operation.CLOSE, self._flame_root)

    def value(self) -> Any:
        """Fetch what is left of it, as a list."""
        return list(self)


def proxy(calls: Fetcher, reference: Reference, held: Held, timeout: float | None) -> RemoteObject:
    """Return what stands for an object that the session holds."""
    kind = RemoteIterator if reference.kind == "iterator" else Handle
    return kind(calls, reference, held, timeout)
