"""The far side of a way through ssh: whoever got here is this user, so their key is enrolled and their server told."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import IO, NoReturn

import msgspec

from flame_kernel import __version__
from flame_kernel.client.links import embedded
from flame_kernel.client.links.ssh.command import MARKER
from flame_kernel.client.links.ssh.login import Told
from flame_kernel.errors import FlameError, ProtocolError, ServerUnreachable
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.folders import Folders
from flame_kernel.security.key_text import public_from_text, public_to_text
from flame_kernel.security.keys import load_or_create
from flame_kernel.server.config import load
from flame_kernel.server.control import look_at_keys
from flame_kernel.server.main import authorized_keys, key_path

# How long the server may take to start, in seconds.
_START_S = 60.0


class Request(msgspec.Struct, frozen=True):
    """What a client wants.

    Attributes:
        key: Its public key.
        client: What to call it.
        start: Whether a server is started if there's none.
    """

    key: str
    client: str
    start: bool = True


def answer(coming: IO[bytes], going: IO[bytes]) -> NoReturn:
    """Answer one client, and wait until it goes; this process then is another program.

    Args:
        coming: Where its request comes from.
        going: Where the answer goes to.
    """
    try:
        told = _prepare(_read(coming.readline()))
    except FlameError as error:
        told = Told(code=error.code, message=str(error))
    going.write(MARKER.encode() + msgspec.json.encode(told) + b"\n")
    going.flush()
    # Waiting for the end of stdin takes no Python: this process would hold 40 MB for as long as the client is there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), going.fileno())
    os.execvp("cat", ["cat"])


def _read(line: bytes) -> Request:
    try:
        return msgspec.json.decode(line, type=Request)
    except msgspec.DecodeError as error:
        raise ProtocolError(f"{socket.gethostname()} does not understand this client: {error}") from error


def _prepare(request: Request) -> Told:
    config = load(os.environ)
    folders = config.folders
    if not request.start and not embedded.listens(folders):
        raise ServerUnreachable(
            f"there are no sessions on {socket.gethostname()}, and no server; connect() or a Remote Flame notebook "
            "starts one"
        )
    _enrol(request, folders)
    if not embedded.listens(folders):
        asyncio.run(embedded.start(folders, _START_S))
    keys = load_or_create(key_path(config), f"server key of {socket.gethostname()}")
    return Told(str(embedded.keyed_socket_path(folders)), public_to_text(keys.public), __version__)


def _enrol(request: Request, folders: Folders) -> None:
    authorized = authorized_keys(load(os.environ))
    public = public_from_text(request.key)
    if authorized.lookup(public) is None:  # a role that somebody gave it stays
        authorized.add(public, Role.ADMIN, request.client)
        look_at_keys(folders.runtime)
