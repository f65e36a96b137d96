"""The way to a server through ssh, which is started again when it ends.

``-L`` wants to know the far socket before the far side could tell where it is. So where it was the last time is
remembered, and ssh is called again if that is wrong: twice the first time, and once from then on. (A ControlMaster
could be told later, but isn't there on Windows.)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from flame_kernel.client.links.ssh import complaints
from flame_kernel.client.links.ssh.command import Program, can_ask, serve
from flame_kernel.client.links.ssh.local import LocalEnd
from flame_kernel.client.links.ssh.login import Ended, Login, Told
from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import FlameError, FlameTimeout, LinkLost, ServerUnreachable, from_code
from flame_kernel.security.folders import Folders, private
from flame_kernel.security.key_text import public_from_text, public_to_text
from flame_kernel.security.keys import KeyPair
from flame_kernel.transport.interface import Endpoint

# After a cut: how long one attempt may take, and the time between two of them, which doubles from the first to the
# second; all in seconds.
_ATTEMPT_S = 30.0
_AGAIN_FROM_S = 0.2
_AGAIN_TO_S = 10.0

# How long a new ssh is given before it's taken for one that leads nowhere, in seconds.
_SETTLE_S = 5.0

# How long telling a master that a forwarding isn't needed any more may take, in seconds.
_CANCEL_S = 5.0

# For how long ssh may keep the reason to itself that nothing comes through, and how often its lines are looked at.
_SAYS_WHY_S = 2.0
_LOOK_EVERY_S = 0.2

# What ssh would take for something else than a part of a path: colons, and the % and $ of its tokens.
_PLAIN_PATH = re.compile(r"/[\w./@+,=~-]+")


class Tunnel:
    """One client's way to one host; see :class:`flame_kernel.client.links.way.Way`.

    Args:
        target: The host.
        folders: Where our files are.
        environ: The environment; FLAME_SSH counts.
        key: This client's key, which is enrolled over there.
        client: What to call this client.

    Raises:
        ConfigurationError: There is no ssh.
    """

    def __init__(self, target: Ssh, folders: Folders, environ: Mapping[str, str], key: KeyPair, client: str) -> None:
        self._target = target
        self._program = Program.find(environ)
        self._memory = _Memory(private(private(folders.state) / "ssh"), target)
        self._local = LocalEnd.fresh(folders.runtime)
        self._key = key
        self._client = client
        self._login: Login | None = None
        self._server_key = b""
        self._up_since = 0.0
        self._pause = _AGAIN_FROM_S
        self._left = False

    async def open(self, timeout: float, start: bool) -> Endpoint:
        """Log in, and have the server started if need be.

        Args:
            timeout: How long it may take, in seconds.
            start: Whether a server is started if there's none.

        Returns:
            Where the server can be reached.

        Raises:
            ConnectError: There's no way; the message says why, and what to do.
            FlameTimeout: It took too long.
        """
        await self._end_login()
        told = await self._enter(timeout, start, can_ask())
        self._server_key = public_from_text(told.key)
        return Endpoint(self._local.address, str(self._target), self._server_key, self._key.public, self._key.secret)

    async def mend(self) -> None:
        """Start ssh again, as often as it takes.

        Raises:
            FlameError: It makes no sense to go on: a key is refused, say.
        """
        if asyncio.get_running_loop().time() - self._up_since >= _SETTLE_S:
            self._pause = _AGAIN_FROM_S
        elif self._login is not None and self._login.alive:
            return
        else:  # it got there and ended at once
            await self._wait()
        direct = False
        while not self._left:
            await self._end_login()
            try:
                told = await self._enter(_ATTEMPT_S, start=True, ask=False, direct=direct)
            except FlameTimeout:
                direct = not direct  # a master's connection may hang, of which only the master could know
            except ServerUnreachable:
                pass
            else:
                if public_from_text(told.key) != self._server_key:
                    raise LinkLost(f"the server on {self._target} is another one by now; connect again")
                return
            await self._wait()

    def leave(self) -> None:
        """Let ssh end when the connections through it have ended."""
        self._left = True
        if self._login is not None:
            self._login.leave()

    async def why_not(self) -> FlameError:
        """Say why nothing comes through, as soon as ssh says it: a connection through it ends a little sooner."""
        deadline = asyncio.get_running_loop().time() + _SAYS_WHY_S
        while self._login is not None and self._login.status is None:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or complaints.forwarding(self._target, self._login.lines) is not None:
                break
            await self._login.said(min(left, _LOOK_EVERY_S))
        lines = self._login.lines if self._login is not None else []
        status = self._login.status if self._login is not None else None
        if status is not None:
            return complaints.why(self._target, lines, status)
        return complaints.forwarding(self._target, lines) or ServerUnreachable(
            f"ssh reaches {self._target}, but the Flame server there does not answer through it; see "
            "state/embedded.log over there" + (f" (ssh says: {lines[-1]})" if lines else "")
        )

    async def _wait(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, _AGAIN_TO_S)

    async def _enter(self, timeout: float, start: bool, ask: bool, direct: bool = False) -> Told:
        guess = self._memory.recall()
        told = await self._log_in(guess, timeout, start, ask, direct)
        if told.socket != guess:
            if not _PLAIN_PATH.fullmatch(told.socket):
                raise ServerUnreachable(
                    f"ssh can't forward to {told.socket!r} on {self._target}; set FLAME_HOME there to a plain path"
                )
            await self._end_login()
            told = await self._log_in(told.socket, timeout, start, ask, direct)
            self._memory.remember(told.socket)
        self._up_since = asyncio.get_running_loop().time()
        return told

    async def _log_in(self, remote: str, timeout: float, start: bool, ask: bool, direct: bool) -> Told:
        forward = self._local.forward(remote) if remote else ""
        words = self._program.call(self._target, serve(self._target), ask=ask, forward=forward, direct=direct)
        request = {"key": public_to_text(self._key.public), "client": self._client, "start": start}
        try:
            login = Login(words, msgspec.json.encode(request) + b"\n", ask, lambda: self._tidy(forward))
        except OSError as error:
            raise ServerUnreachable(f"ssh could not be started here: {error}") from error
        self._login = login
        try:
            told = await login.told(timeout)
        except Ended:
            raise complaints.why(self._target, login.lines, login.status) from None
        except TimeoutError:
            await self._end_login()
            raise FlameTimeout(f"ssh did not get to {self._target} within {timeout:g} s") from None
        if told.missing:
            raise complaints.missing(self._target)
        if told.code:
            raise from_code(told.code, told.message)
        return told

    async def _end_login(self) -> None:
        login, self._login = self._login, None
        if login is not None:
            await asyncio.to_thread(login.end)

    def _tidy(self, forward: str) -> None:
        """See to it that nothing of an ended ssh is left: its socket, and with a master what the master forwards."""
        if forward and self._local.listens:
            words = self._program.call(self._target, "", ask=False, forward=forward, control="cancel")
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_CANCEL_S, check=False)
        self._local.remove()


class _Memory:
    """Where the server of a host was the last time."""

    def __init__(self, folder: Path, target: Ssh) -> None:
        self._path = folder / hashlib.blake2b(str(target).encode(), digest_size=16).hexdigest()

    def recall(self) -> str:
        try:
            path = self._path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return ""
        return path if _PLAIN_PATH.fullmatch(path) else ""

    def remember(self, path: str) -> None:
        fresh = self._path.with_suffix(f".{os.getpid()}")
        fresh.write_text(path, "utf-8")
        os.replace(fresh, self._path)
