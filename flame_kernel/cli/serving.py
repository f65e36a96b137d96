"""Running a server for a command: its signals, what it prints. Apart from the commands, whose help needs none of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import click

from flame_kernel.cli.style import errors_in_one_line
from flame_kernel.errors import ConfigurationError
from flame_kernel.security.authorized_key import Role
from flame_kernel.security.invites import Invite
from flame_kernel.security.key_text import fingerprint
from flame_kernel.security.keys import load_or_create
from flame_kernel.server import control, main
from flame_kernel.server.config import ServerConfig
from flame_kernel.server.main import Listening

# How long an invite is good for unless told otherwise, in seconds.
_INVITE_LIFETIME_S = 3600.0

Run = Callable[..., Awaitable[None]]


def serve(config: ServerConfig, on_ready: Callable[[Listening], None], run: Run = main.serve) -> int:
    """Run a server until a signal ends it.

    Args:
        config: What it is told.
        on_ready: Called once it listens.
        run: What runs it.

    Returns:
        The process's exit status.
    """

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await run(config, os.environ, stop, on_ready)

    with errors_in_one_line():
        asyncio.run(until_stopped())
    return 0


def announce(config: ServerConfig, listening: Listening) -> None:
    """Print what a server listens on, who is admitted, and a fresh invite."""
    entries = main.authorized_keys(config).entries()
    admitted = [f"{entry.comment or entry.fingerprint} ({entry.role.value})" for entry in entries]
    if listening.port:
        click.echo(
            f"listening on {listening.host}:{listening.port}, encrypted; key {fingerprint(listening.keys.public)}"
        )
    if listening.socket:
        click.echo(f"listening on {listening.socket}, for this user only")
    click.echo(f"admitted: {', '.join(admitted) or 'nobody yet'}")
    if listening.port:
        where = name_for_clients(listening.host)
        text = fresh_invite(config, where, listening.port, listening.keys.public, _INVITE_LIFETIME_S)
        click.echo(f"invite (works once, for an hour): {text}")
    click.echo("server is running.")


def name_for_clients(host: str) -> str:
    """Return what clients should call this host; the address that stands for all interfaces leads them nowhere."""
    return socket.gethostname() if host in ("0.0.0.0", "::", "*") else host


def fresh_invite(
    config: ServerConfig, host: str, port: int, server_key: bytes, lifetime_s: float, role: str = "admin"
) -> str:
    """Make an invite, and write it into the server's book.

    Args:
        config: The server's configuration.
        host: What clients shall call this host.
        port: The port that they shall use.
        server_key: The server's public key in Z85.
        lifetime_s: How long it is good for, in seconds.
        role: What its user may do.

    Returns:
        The invite.
    """
    fresh = Invite.mint(host, port, server_key)
    main.invite_book(config).issue(fresh, lifetime_s, time.time(), Role.named(role))
    return str(fresh)


@dataclass(frozen=True)
class Invited:
    """An invite to this machine's server.

    Attributes:
        text: The invite.
        guessed: Why it may lead nowhere; empty if a server is known to be there.
    """

    text: str
    guessed: str


def invite_to_this_machine(
    config: ServerConfig, host: str | None, port: int | None, lifetime_s: float, role: str
) -> Invited:
    """Make an invite to the server of this user that runs; else to where one would listen.

    Args:
        config: The configuration of a server that is yet to start.
        host: What clients shall call this host, if that was said.
        port: The port that they shall use, if that was said; it may be another one's that leads here.
        lifetime_s: How long it is good for, in seconds.
        role: What its user may do.

    Raises:
        ConfigurationError: There are several servers, or none and no port where one would be.
    """
    running = control.running(config.folders.runtime)
    server = _meant(running, config, port)
    if server is not None:
        name = host or name_for_clients(server.host)
        return Invited(fresh_invite(config, name, port or server.port, server.key, lifetime_s, role), "")
    if port is None and config.port in (None, 0):
        raise ConfigurationError("no server of this user listens on TCP here; start one with 'flame-server', or say -p")
    keys = load_or_create(main.key_path(config), f"server key of {socket.gethostname()}")
    name, there = host or name_for_clients(config.host), port or config.port or 0
    text = fresh_invite(config, name, there, keys.public, lifetime_s, role)
    return Invited(text, f"a guess: no server of this user listens on TCP here now, so it's for one at {name}:{there}")


def _meant(running: list[control.Running], config: ServerConfig, port: int | None) -> control.Running | None:
    """Return the server that an invite is for, ``None`` if none runs."""
    several = [server for server in running if server.port == (port or config.port)] or running
    if len({server.key for server in several}) > 1 or (len(several) > 1 and port is None):
        told = ", ".join(f"{server.host}:{server.port}" for server in several)
        raise ConfigurationError(f"several servers run here ({told}); say which with -p")
    return several[0] if several else None
