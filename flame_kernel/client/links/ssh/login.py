"""One run of ssh: what it says while it runs, and its end.

Plain threads and pipes: a link's event loop has no subprocesses on Windows, and may be closed before ssh has ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress

import msgspec

from flame_kernel.client.links.ssh.command import CREATION_FLAGS, MARKER, apart

# How many of its last lines are kept, to say why it ended.
_LINES = 30

# How long it may take to end by itself once nobody needs it, in seconds: what was sent last has to leave.
_GRACE_S = 5.0


class Told(msgspec.Struct, frozen=True):
    """What the far side tells.

    Attributes:
        socket: The server's socket.
        key: The server's public key.
        version: The version of remote-flame there.
        missing: Whether there's no remote-flame.
        code: The code of an error.
        message: Its line.
    """

    socket: str = ""
    key: str = ""
    version: str = ""
    missing: bool = False
    code: str = ""
    message: str = ""


class Ended(Exception):
    """It ended before the far side told anything."""


class Login:
    """A login that lasts as long as its stdin is open.

    Args:
        words: The call.
        request: What the command over there reads first.
        ask: Whether ssh may ask on the terminal.
        on_end: Called on a thread of its own when it has ended.

    Attributes:
        status: Its exit status once it has ended.
    """

    def __init__(self, words: Sequence[str], request: bytes, ask: bool, on_end: Callable[[], None]) -> None:
        call, session = apart(words, ask)
        self._group = session and os.name == "posix"
        self.status: int | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._told: Future[Told] = Future()
        self._said = threading.Event()
        self._on_end = on_end
        self._process = subprocess.Popen(
            call,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=session,
            creationflags=CREATION_FLAGS,
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended already, and says why
            self._process.stdin.write(request)
            self._process.stdin.flush()
        self._reader = threading.Thread(target=self._read, name="flame-ssh", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.status is None

    @property
    def lines(self) -> list[str]:
        """What it said last."""
        return list(self._lines)

    async def said(self, timeout: float) -> None:
        """Wait until it says something more, or ends.

        Args:
            timeout: How long at most, in seconds.
        """
        self._said.clear()
        if self.status is None:
            await asyncio.to_thread(self._said.wait, timeout)

    async def told(self, timeout: float) -> Told:
        """Wait until the far side tells where its server is.

        Args:
            timeout: How long, in seconds.

        Raises:
            Ended: It has ended before.
            TimeoutError: It took too long.
        """
        return await asyncio.wait_for(asyncio.wrap_future(self._told), timeout)

    def leave(self) -> None:
        """Let it end when the connections through it have ended."""
        self._close_stdin()
        if not self._told.done():  # it may be asking for a password
            self._kill()
            return
        timer = threading.Timer(_GRACE_S, self._kill)
        timer.daemon = True
        timer.start()

    def end(self) -> None:
        """End it at once, and wait for that."""
        self._close_stdin()
        self._kill()
        self._reader.join(_GRACE_S)

    def _close_stdin(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def _kill(self) -> None:
        if self._process.poll() is None:
            if self._group:  # with what it may have started: a wrapper an ssh, ssh a ProxyCommand
                with suppress(ProcessLookupError):  # it ended meanwhile, and another thread has heard of it
                    os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for raw in stdout:
                line = raw.decode("utf-8", "replace").strip()
                if line.startswith(MARKER):
                    self._hear(line.removeprefix(MARKER))
                elif line:
                    self._lines.append(line)
                    self._said.set()
        status = self._process.wait()
        self._close_stdin()
        try:
            self._on_end()
        finally:
            self.status = status
            self._said.set()
            with suppress(InvalidStateError):  # it has told, or nobody waits any more
                self._told.set_exception(Ended())

    def _hear(self, text: str) -> None:
        with suppress(msgspec.DecodeError):  # then it's not from us
            told = msgspec.json.decode(text, type=Told)
            with suppress(InvalidStateError):  # nobody waits any more
                self._told.set_result(told)
