"""The server's side of a bridge: its process is started, watched, started again, and ended with the server."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from flame_kernel.errors import ConfigurationError
from flame_kernel.pyro4.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

# A bridge starts a session, which takes as long as a kernel does.
_START_S = 120.0
_END_S = 5.0

# One that dies this often in so many seconds is left dead: what kills it would go on killing it.
_DEATHS, _WITHIN_S = 5, 60.0


def require_pyro4() -> None:
    """Make sure that Pyro4 is installed.

    Raises:
        ConfigurationError: It isn't.
    """
    if importlib.util.find_spec("Pyro4") is None:
        raise ConfigurationError(
            "--pyro4 needs the package Pyro4, which is not installed; pip install 'remote-flame[pyro4]'"
        )


async def beside(
    settings: Settings,
    environ: Mapping[str, str],
    stop: asyncio.Event,
    serve: Callable[[asyncio.Event, Callable[[T], None]], Awaitable[None]],
    on_ready: Callable[[T, str], None],
) -> None:
    """Run a server with a bridge beside it, which starts after it and ends before it.

    Args:
        settings: What the bridge is told.
        environ: Its environment.
        stop: Set to end both.
        serve: Runs the server, given what will be set to end it, and what it calls once it listens.
        on_ready: Called, once the bridge can be used too, with what the server said, and the address of ``Pyro.Flame``.

    Raises:
        ConfigurationError: The bridge could not be started.
    """
    end = asyncio.Event()
    bridges: list[asyncio.Task[None]] = []

    async def run(listening: T) -> None:
        try:
            await Supervisor(settings, environ, stop).run(lambda uri: on_ready(listening, uri))
        finally:
            end.set()

    try:
        await serve(end, lambda listening: bridges.append(asyncio.create_task(run(listening))))
    finally:
        stop.set()
        await asyncio.gather(*bridges)


class Supervisor:
    """Keeps a bridge running.

    Args:
        settings: What the bridge is told.
        environ: Its environment.
        stop: Set to end it.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str], stop: asyncio.Event) -> None:
        self._settings = settings
        self._environ = dict(environ)
        self._stop = stop
        self._up = False  # whether the bridge that runs, or was the last to run, came to be of use

    async def run(self, on_ready: Callable[[str], None]) -> None:
        """Run bridges, one after the other, until ``stop`` is set.

        Args:
            on_ready: Called with the address of ``Pyro.Flame`` once the first can be used.

        Raises:
            ConfigurationError: The first could not be started.
        """
        why = await self._once(on_ready)
        if not self._stop.is_set() and not self._up:
            raise ConfigurationError(f"the bridge for Pyro4's clients could not be started: {why}")
        deaths: deque[float] = deque(maxlen=_DEATHS)
        while not self._stop.is_set():
            deaths.append(asyncio.get_running_loop().time())
            if len(deaths) == _DEATHS and deaths[-1] - deaths[0] < _WITHIN_S:
                log.error("the bridge for Pyro4's clients keeps dying (%s) and is left so; restart the server", why)
                await self._stop.wait()
                return
            log.warning("the bridge for Pyro4's clients has died (%s); it is started again", why)
            why = await self._once(lambda uri: log.warning("Pyro4's clients are served again: %s", uri))

    async def _once(self, on_ready: Callable[[str], None]) -> str:
        """Run a bridge to its end; returns why it ended."""
        self._up = False
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "flame_kernel.pyro4", str(far.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[far.fileno()],
                env=self._environ,
                start_new_session=True,  # Ctrl-C is for the server, which ends the bridge
            )
        writer.write(self._settings.encode())
        ended = asyncio.ensure_future(process.wait())
        stopped = asyncio.ensure_future(self._stop.wait())
        answer = asyncio.ensure_future(reader.readline())
        why = ""
        try:
            await asyncio.wait({answer, stopped}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                why = self._take(answer.result(), on_ready)
            elif not stopped.done():
                why = f"it was not up within {_START_S:g} s"
            if self._up:
                await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            answer.cancel()
            writer.close()  # which tells the bridge to end
            await asyncio.wait({ended}, timeout=_END_S)
            if not ended.done():
                process.kill()
            status = await ended
        return why or (f"exit code {status}" if status >= 0 else f"signal {-status}")

    def _take(self, line: bytes, on_ready: Callable[[str], None]) -> str:
        """Take what a bridge says of its start; returns what went wrong."""
        told = json.loads(line) if line else {}
        if "uri" in told:
            self._up = True
            self._settings = replace(self._settings, port=told["port"])  # where clients look for the next one
            on_ready(told["uri"])
        return str(told.get("error", ""))
