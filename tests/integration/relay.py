"""A TCP relay that injects faults between a client and a server: cuts, black holes, delays, narrow pipes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

_CHUNK = 64 * 1024
_RST_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """Listens on a free port of this machine and passes on to another one, on a thread of its own.

    It keeps its port whatever is done to it, so a client finds it again, as it would find a network that is back.

    Args:
        port: The server's port.
        host: The address of this machine to listen at, another one than the server's where the port is the same.
        at: The port to listen at; 0 for a free one.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", at: int = 0) -> None:
        self._target = port
        self._host = host
        self._at = at
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._pairs: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._delay_s = 0.0
        self._bytes_per_s = 0.0
        self._shared_by_all = False
        self._come_from: str | None = None
        self._old: list[asyncio.StreamWriter] = []
        self._refusing = False
        self._cuts = 0
        self._cut_after = 0
        self._to_cut = 0
        self._may_pass: int | None = None  # bytes before everything is held up
        self.connections = 0  # all that were ever accepted
        self.port = 0

    def __enter__(self) -> Relay:
        self._thread.start()
        self._run(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self._host}:{self.port}"

    def cut(self) -> None:
        """Reset all connections (TCP RST), as a router does that forgot them; new ones are welcome."""
        self._call(self._reset)

    def refuse(self) -> None:
        """Reset all connections, and each new one too."""
        self._call(lambda: (setattr(self, "_refusing", True), self._reset()))

    def cut_new_after(self, count: int, connections: int) -> None:
        """Reset each of the next new connections once so many bytes of it have gone to the server."""

        def plan() -> None:
            self._cut_after, self._to_cut = count, connections

        self._call(plan)

    def black_hole(self) -> None:
        """Let nothing through, in either direction, and say nothing about it."""
        self._call(self._passing.clear)

    def hold_after(self, count: int) -> None:
        """Let so many bytes more through, of all connections and both directions together; then be a black hole."""

        def plan() -> None:
            self._may_pass = count
            self._passing.set()

        self._call(plan)

    def delay(self, seconds: float) -> None:
        """Hold each piece up for so long."""
        self._call(lambda: setattr(self, "_delay_s", seconds))

    def throttle(self, bytes_per_s: float, *, shared: bool = False) -> None:
        """Let so much through per second and direction: for each connection, or for all together, taking turns."""

        def narrow() -> None:
            self._bytes_per_s, self._shared_by_all = bytes_per_s, shared

        self._call(narrow)

    def come_from(self, address: str) -> None:
        """Reset all connections; new ones reach the server from another address of this machine, such as 127.0.0.2."""
        self._call(lambda: (setattr(self, "_come_from", address), self._reset()))

    def cut_near_the_client(self) -> None:
        """Reset the clients' ends only: the server hears of the new connections before the old ones end."""
        self._call(self._reset_clients)

    def heal(self) -> None:
        """Pass everything on again; what was held up by a black hole goes on."""

        def mend() -> None:
            self._refusing = False
            self._to_cut = 0
            self._may_pass = None
            self._delay_s = self._bytes_per_s = 0.0
            self._come_from = None
            for writer in self._old:
                _reset(writer)
            self._old.clear()
            self._passing.set()

        self._call(mend)

    async def _open(self) -> None:
        self._turns = {True: asyncio.Lock(), False: asyncio.Lock()}
        self._passing = asyncio.Event()
        self._passing.set()
        self._listener = socket.create_server((self._host, self._at), backlog=100)
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        self._loop.add_reader(self._listener, self._accept)

    async def _close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._reset()
        for writer in self._old:
            _reset(writer)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next round

    def _accept(self) -> None:
        # Not by asyncio.start_server: what that has accepted and not yet handed on can be neither cut nor closed.
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            self.connections += 1
            task = self._loop.create_task(self._serve(client, self._cuts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: client.close())

    async def _serve(self, client: socket.socket, cuts: int) -> None:
        if self._refusing:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            return
        reader, writer = await asyncio.open_connection(sock=client)
        self._pairs.add(writer)  # from now on a cut cuts it, also while the way to the server is made
        ends = [writer]
        if cuts != self._cuts:
            _reset(writer)  # it was accepted, and no more than that, when the cut came
        try:
            there, to_there = await asyncio.open_connection(
                "127.0.0.1", self._target, local_addr=(self._come_from, 0) if self._come_from else None
            )
            ends.append(to_there)
            cut_after = self._cut_after if self._to_cut > 0 else None
            self._to_cut -= 1
            self._pairs.add(to_there)
            pumps = [
                asyncio.ensure_future(self._pump(reader, to_there, True, cut_after)),
                asyncio.ensure_future(self._pump(there, writer, False)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass  # nobody listens there just now: the client's connection ends
        finally:
            for end in ends:
                self._pairs.discard(end)
                if end not in self._old:
                    _reset(end)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool, at_most: int | None = None
    ) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(_CHUNK):
                passed += len(data)
                if at_most is not None and passed > at_most:
                    return
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                if self._bytes_per_s:
                    async with self._turns[up] if self._shared_by_all else contextlib.nullcontext():
                        await asyncio.sleep(len(data) / self._bytes_per_s)
                if self._may_pass is not None:
                    self._may_pass -= len(data)
                    if self._may_pass < 0:
                        self._passing.clear()
                await self._passing.wait()
                writer.write(data)
                await writer.drain()

    def _reset(self) -> None:
        self._cuts += 1
        for writer in list(self._pairs):
            _reset(writer)

    def _reset_clients(self) -> None:
        for writer in list(self._pairs):
            if writer.get_extra_info("sockname")[1] == self.port:
                _reset(writer)
            else:
                self._old.append(writer)

    def _call(self, function: Callable[[], Any]) -> None:
        async def call() -> None:
            function()

        self._run(call())

    def _run(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
    writer.transport.abort()
