"""An event loop on a thread of its own, so that a link lives on while the caller's thread does something else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

# How long what is under way when the loop is closed may take to clear up, in seconds.
_CLEAR_UP_S = 5.0


class BackgroundLoop:
    """Runs coroutines for a caller that is not asynchronous.

    Args:
        name: What to call the thread.
    """

    def __init__(self, name: str) -> None:
        # zmq's file descriptors need a loop that can watch them, which is not the default on Windows.
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def run(
        self,
        work: Coroutine[Any, Any, T],
        timeout: float | None = None,
        meanwhile: Callable[[], object] = lambda: None,
    ) -> T:
        """Run a coroutine and return its result; Ctrl-C cancels it, and so does the end of the time given to it.

        Args:
            work: The coroutine.
            timeout: How long it may take, in seconds; ``None`` for as long as it takes.
            meanwhile: What the caller's thread does before it waits.
        """
        future = self.start(work)
        try:
            meanwhile()
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine and return its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop."""
        self._loop.call_soon_threadsafe(function)

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Have a function called in the loop after a while."""
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, function)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the loop and its thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            # What the caller gave up a moment ago has not even heard of it: it's to end, and not to be destroyed.
            self._loop.run_until_complete(_cancel(asyncio.all_tasks(self._loop)))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CLEAR_UP_S)
