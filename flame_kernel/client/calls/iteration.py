"""Iterators of a session, consumed here: items come in chunks that grow, and the next chunk is fetched ahead."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from flame_kernel.client.calls.handles import Handle, Held
from flame_kernel.client.calls.pipeline import Order
from flame_kernel.client.calls.proxies import Caller, RemoteObject, with_remote_doc
from flame_kernel.errors import FlameTimeout, SerializationError
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.references import Reference, Root

# The first chunks are small, so that who takes a few items makes the other side run ahead by a few only.
_GROWTH = 4
_AT_MOST = 65_536

# From this size on the next chunk is fetched before it's wanted.
_AHEAD_FROM = 4

# How long a chunk may take before the items that are there are asked for, in seconds.
_PATIENCE_S = 0.05


class Reply(Protocol):
    """An answer that is on its way."""

    order: Order | None

    def interrupt(self) -> None:
        """Interrupt what is being done for it."""

    def wait(self, timeout: float | None) -> Any:
        """Return it, or raise its exception; Ctrl-C interrupts what is being done for it."""

    def ready(self, seconds: float) -> bool:
        """Wait for a moment, and tell whether it's there."""


class Fetcher(Caller, Protocol):
    """Makes calls, and also ahead of when their answers are wanted."""

    def ask(self, operation: Operation, *operands: Any) -> Reply:
        """Make a call, to wait for its answer later."""

    def refer(self, reference: Reference) -> Any:
        """Return what stands for a reference here."""


class Chunks:
    """The items of an iterator that are here, and how more are had.

    Args:
        calls: Makes the calls.
        root: What names the iterator.

    Attributes:
        timeout: How long to wait for a chunk, in seconds; ``None`` for as long as it takes.
    """

    def __init__(self, calls: Fetcher, root: Root) -> None:
        self.timeout: float | None = None
        self.items: Iterator[Any] = iter(())
        self._calls = calls
        self._root = root
        self._count = 1
        self._ahead: Reply | None = None
        self._so_far: Reply | None = None
        self._done = False

    def refill(self) -> Any:
        """Return the next item, of the next chunk.

        Raises:
            StopIteration: There's none.
        """
        while not self._done:
            returned = self.fetch()
            for item in self.items:
                return item
            if self._done:
                raise StopIteration(returned)
        raise StopIteration

    def fetch(self) -> Any:
        """Wait for the next chunk; returns what the iterator returned, once it's exhausted."""
        try:
            return self._take(self._chunk())
        except FlameTimeout:
            raise  # what was asked for may yet come
        except BaseException:
            self._done = True
            raise

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return self._done

    def interrupt(self) -> None:
        """Interrupt what is being done for the next chunk."""
        if self._ahead is not None:
            self._ahead.interrupt()

    def _chunk(self) -> Any:
        reply = self._ahead = self._ahead or self._ask()
        while self._so_far is not None or not reply.ready(_PATIENCE_S):
            # An item that's there must not wait for the next, which may take long.
            self._so_far = self._so_far or self._calls.ask(Operation.SO_FAR, self._root)
            self._so_far.order = reply.order  # an interrupt is for what these items wait for
            chunk = self._so_far.wait(self.timeout)
            self._so_far = None
            if isinstance(chunk, Handle) or chunk[-1]:
                return chunk
        chunk = reply.wait(self.timeout)
        self._ahead = None
        return chunk

    @property
    def ahead(self) -> bool:
        """Whether items are here, or on their way, that nobody has taken."""
        return self._ahead is not None or self._so_far is not None or operator.length_hint(self.items) > 0

    def leave(self) -> None:
        """Want no more."""
        self._done = True
        self.items = iter(())

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
        if not done and self._ahead is None and self._count > _AHEAD_FROM:
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
    """

    __slots__ = ("_flame_chunks",)
    _flame_chunks: Chunks

    def __init__(self, calls: Fetcher, reference: Reference, held: Held) -> None:
        super().__init__(calls, reference, held)
        self._flame_chunks = Chunks(calls, reference.root)

    def _flame_within(self, timeout: float) -> None:
        super()._flame_within(timeout)
        self._flame_chunks.timeout = timeout

    def __iter__(self) -> RemoteIterator:
        return self

    def __next__(self) -> Any:
        for item in self._flame_chunks.items:
            return item
        return self._flame_chunks.refill()

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Root, str]]:
        if self._flame_chunks.ahead:
            raise SerializationError(
                "this iterator has been run ahead of what was taken of it here, so over there its next items would be "
                "missing; pass list(…) of it, or pass it before anything is taken"
            )
        return super().__reduce__()

    def __len__(self) -> int:
        # What asks is usually list(), which can do without.
        raise TypeError(f"object of type {self._flame_type!r} has no len()")

    async def __aiter__(self) -> AsyncIterator[Any]:
        chunks = self._flame_chunks
        while True:
            for item in chunks.items:
                yield item
            if chunks.done:
                return
            try:
                await asyncio.to_thread(chunks.fetch)
            except asyncio.CancelledError:
                chunks.interrupt()
                raise

    def close(self) -> None:
        """Close it over there; it gives no more items."""
        self._flame_chunks.leave()
        self._flame_ask(Operation.CLOSE, self._flame_root)

    def value(self) -> Any:
        """Fetch what is left of it, as a list."""
        return list(self)


def proxy(calls: Fetcher, reference: Reference, held: Held) -> RemoteObject:
    """Return what stands for an object that the session holds."""
    kind = RemoteIterator if reference.kind == "iterator" else Handle
    return kind(calls, reference, held)
