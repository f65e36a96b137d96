"""The ``flame`` command and ``flame-server``. Errors are one line, and all work is done by what is below."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flame_kernel import __version__
from flame_kernel.errors import FlameError

_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 120}

# How long an invite is good for unless told otherwise, in seconds.
_INVITE_LIFETIME_S = 3600.0


class _OneLine(click.Group):
    """Shows our errors as one line instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with _errors_in_one_line():
            return super().invoke(ctx)


class _errors_in_one_line:  # used as a verb
    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, FlameError):
            click.echo(f"flame: {error}", err=True)
            sys.exit(1)


@click.group(cls=_OneLine, context_settings=_HELP)
@click.version_option(__version__, prog_name="remote-flame")
def main() -> None:
    """Work on another machine from a notebook."""


@main.command()
@click.option("-H", "--host", help="Address to listen at; 127.0.0.1 unless told.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="TCP port; 9999 unless told, 0 picks a free one.")
@click.option("-u", "--unixsocket", type=click.Path(path_type=Path), help="Listen at this unix socket instead of TCP.")
@click.option("-k", "--key", type=click.Path(path_type=Path), help="The server's key file, made if it isn't there.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print what happens.")
@click.option("--enable", is_flag=True, help="Enable the server, which gives full access to this machine.")
@click.option("--embedded", is_flag=True, hidden=True)
def serve(
    host: str | None,
    port: int | None,
    unixsocket: Path | None,
    key: Path | None,
    quiet: bool,
    verbose: bool,
    enable: bool,
    embedded: bool,
) -> None:
    """Start a Flame server.

    It is off until it's enabled: by FLAME_ENABLED=true, --enable, or 'enabled = true' in server.toml. It prints what it
    listens on, who is admitted, a fresh invite, and then 'server is running.' Ctrl-C ends it.
    """
    from flame_kernel.client.embedded import socket_path
    from flame_kernel.server.config import load
    from flame_kernel.server.daemon import in_background

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="flame: %(message)s")
    config = load(os.environ)
    if embedded:
        config = replace(config, enabled=True, port=None, socket=socket_path(config.folders), until_idle=True)
        sys.exit(in_background(lambda ready: _serve(config, lambda _: ready())))
    config = replace(
        config,
        enabled=config.enabled or enable,
        host=host or config.host,
        port=None if unixsocket is not None and port is None else config.port if port is None else port,
        socket=None if unixsocket is None else unixsocket.expanduser().absolute(),
        key_file=None if key is None else key.expanduser().absolute(),
    )
    sys.exit(_serve(config, _quietly if quiet else lambda listening: _announce(config, listening)))


@main.command()
@click.option("-H", "--host", help="The address that clients will use; this host's name unless told.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="The port that clients will use.")
@click.option("--minutes", default=60.0, show_default=True, help="How long it is good for.")
def invite(host: str | None, port: int | None, minutes: float) -> None:
    """Print a fresh invite to this machine's server; it works once."""
    from flame_kernel.security.keys import load_or_create
    from flame_kernel.server.config import load
    from flame_kernel.server.main import key_path

    config = load(os.environ)
    keys = load_or_create(key_path(config), f"server key of {socket.gethostname()}")
    where = host or _name_for_clients(config.host)
    click.echo(_fresh_invite(config, where, port or config.port or 0, keys.public, minutes * 60))


@main.command()
@click.option("--host", default="", help="The server: host:port, or an invite; FLAME_HOST or this machine unless told.")
@click.option("--kernel", default="", help="The kernelspec to run there; the server's default unless told.")
@click.option("--name", default="", help="The kernelspec's name; made from the host unless told.")
@click.option("--display-name", default="", help="What Jupyter's launcher calls it.")
@click.option("--detach", is_flag=True, help="'Shut down' leaves the session running.")
@click.option("--sys-prefix", is_flag=True, help="Install into this Python's environment instead of for this user.")
def install(host: str, kernel: str, name: str, display_name: str, detach: bool, sys_prefix: bool) -> None:
    """Put a "Remote Flame" for one host into Jupyter's launcher."""
    from flame_kernel.client.connect import pair
    from flame_kernel.kernel.install import Choice
    from flame_kernel.kernel.install import install as write

    choice = Choice(pair(host) if host else "", kernel, detach)
    done = write(choice, name, display_name, sys.prefix if sys_prefix else None)
    click.echo(f"{done.display_name}: kernelspec {done.name} in {done.folder}")


@main.command()
@click.argument("host", required=False)
def kernels(host: str | None) -> None:
    """List the kernels of HOST; without it, the Remote Flame kernelspecs on this machine."""
    from flame_kernel import connect
    from flame_kernel.kernel.install import installed

    if host is None:
        for spec in installed():
            click.echo(f"{spec.name}  {spec.display_name}  {spec.host or 'FLAME_HOST or this machine'}")
        return
    with connect(host) as flame:
        for kernel in flame.kernels():
            click.echo(f"{kernel.name}  {kernel.display_name}  {kernel.language}")


def serve_main() -> None:
    """Run ``flame-server``, which is ``flame serve``."""
    with _errors_in_one_line():
        serve.main(prog_name="flame-server")


serve.context_settings = _HELP


def _serve(config: Any, on_ready: Callable[[Any], None]) -> int:
    from flame_kernel.server.main import serve as run

    async def until_stopped() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await run(config, os.environ, stop, on_ready)

    with _errors_in_one_line():
        asyncio.run(until_stopped())
    return 0


def _announce(config: Any, listening: Any) -> None:
    from flame_kernel.security.key_text import fingerprint
    from flame_kernel.server.main import authorized_keys

    admitted = [
        f"{entry.comment or entry.fingerprint} ({entry.role.value})" for entry in authorized_keys(config).entries()
    ]
    if listening.port:
        click.echo(
            f"listening on {listening.host}:{listening.port}, encrypted; key {fingerprint(listening.keys.public)}"
        )
    if listening.socket:
        click.echo(f"listening on {listening.socket}, for this user only")
    click.echo(f"admitted: {', '.join(admitted) or 'nobody yet'}")
    if listening.port:
        text = _fresh_invite(
            config, _name_for_clients(listening.host), listening.port, listening.keys.public, _INVITE_LIFETIME_S
        )
        click.echo(f"invite (works once, for an hour): {text}")
    click.echo("server is running.")


def _name_for_clients(host: str) -> str:
    """Return what clients should call this host; the address that stands for all interfaces leads them nowhere."""
    return socket.gethostname() if host in ("0.0.0.0", "::", "*") else host


def _fresh_invite(config: Any, host: str, port: int, server_key: bytes, lifetime_s: float) -> str:
    from flame_kernel.security.invites import Invite
    from flame_kernel.server.main import invite_book

    fresh = Invite.mint(host, port, server_key)
    invite_book(config).issue(fresh, lifetime_s, time.time())
    return str(fresh)


def _quietly(listening: Any) -> None:
    return
