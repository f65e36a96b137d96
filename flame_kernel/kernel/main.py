"""The bridge's process: its arguments, its goal, its signals, its end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import zmq

from flame_kernel.client.links.connecting import Connector
from flame_kernel.client.links.target import parse
from flame_kernel.errors import ConfigurationError, FlameError
from flame_kernel.kernel.arguments import USAGE, Arguments
from flame_kernel.kernel.bridge import Bridge, Exit, Settings
from flame_kernel.kernel.door import Goal
from flame_kernel.kernel.mover import goal_of
from flame_kernel.kernel.moves import Moves
from flame_kernel.kernel.parent import when_parent_ends
from flame_kernel.security.folders import Folders, private
from flame_kernel.transport.channels import ConnectionInfo

# How long the session may take to be there, in seconds; a frontend waits meanwhile, and can interrupt and shut down.
_OPEN_S = 60.0

# How many characters of the notebook's name its session is known by.
_READABLE = 80


def main() -> None:
    """Run the bridge for one notebook."""
    logging.basicConfig(level=logging.WARNING, format="flame: %(message)s")
    words = sys.argv[1:]
    if "-h" in words or "--help" in words:
        sys.exit(USAGE)
    try:
        sys.exit(asyncio.run(_run(Arguments.read(words), os.environ)))
    except FlameError as error:
        sys.exit(f"flame: {error}")


async def _run(arguments: Arguments, environ: Mapping[str, str]) -> Exit:
    info = _read(arguments.connection_file)
    own = "" if environ.get("FLAME_SESSION") else _session_name(arguments.connection_file, environ)
    first = Goal(
        parse(arguments.host, environ),
        environ.get("FLAME_SESSION") or own,
        arguments.kernel or environ.get("FLAME_KERNEL", ""),
    )
    moves = Moves(private(private(Folders.find(environ).state) / "moves"), first.session)
    latest = moves.latest()
    goal = first if latest is None else goal_of(latest, first, environ)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    loop = asyncio.get_running_loop()
    settings = Settings(goal, environ, own, arguments.detach, moves)
    bridge = Bridge(
        context, info, Connector(context, environ, _OPEN_S, _client_id(arguments.connection_file)), settings
    )
    # Interrupts come as messages. A Ctrl-C in Jupyter's terminal reaches every process there, and means none of the
    # kernels. (Not SIG_IGN: the embedded server and the kernels it starts would inherit it.)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(bridge.detach))
    with when_parent_ends(bridge.detach):
        result = await bridge.run()
    await asyncio.to_thread(context.term)
    return result


def _read(path: Path) -> ConnectionInfo:
    try:
        return ConnectionInfo.of(msgspec.json.decode(path.read_bytes(), type=dict))
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"the connection file {path} can't be read: {error}") from error


def _client_id(connection_file: Path) -> str:
    """Return what the bridge that follows this one is known by as well: nothing shall be kept for this one then."""
    return hashlib.blake2b(os.fsencode(connection_file.absolute()), digest_size=8).hexdigest()


def _session_name(connection_file: Path, environ: Mapping[str, str]) -> str:
    # Jupyter keeps the connection file over restarts: the bridge that follows finds the session of the one before. The
    # notebook's name, which Jupyter Server tells, is for people only: programs that run inside a notebook inherit it.
    # It may be as long as a file's name can be, and hold what can't be printed; a session's name may not.
    notebook = Path(environ.get("JPY_SESSION_NAME") or "notebook").stem[:_READABLE]
    name = f"{notebook}-{connection_file.stem.removeprefix('kernel-')[:12]}"
    return "".join(letter if letter.isprintable() else "_" for letter in name)
