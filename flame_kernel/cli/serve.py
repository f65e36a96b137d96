"""Commands of the host that serves: ``flame serve``, which is ``flame-server``, and ``flame invite``."""

from __future__ import annotations

import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from flame_kernel.cli import old_clients
from flame_kernel.cli.old_clients import OldClients
from flame_kernel.cli.style import HELP, ROLES, errors_in_one_line


@click.command(context_settings=HELP)
@click.option("-H", "--host", help="Address to listen at; 127.0.0.1 unless told.")
@click.option("-p", "--port", type=click.IntRange(0, 65535), help="TCP port; 9999 unless told, 0 picks a free one.")
@click.option("-u", "--unixsocket", type=click.Path(path_type=Path), help="Listen at this unix socket instead of TCP.")
@click.option("-k", "--key", type=click.Path(path_type=Path), help="The server's key file, made if it isn't there.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Print what happens.")
@click.option("--enable", is_flag=True, help="Enable the server, which gives full access to this machine.")
@old_clients.options
@click.option("--embedded", is_flag=True, hidden=True)
def serve(
    host: str | None,
    port: int | None,
    unixsocket: Path | None,
    key: Path | None,
    quiet: bool,
    verbose: bool,
    enable: bool,
    pyro4: int | None,
    pyro4_host: str,
    pyro4_no_hmac: bool,
    embedded: bool,
) -> None:
    """Start a Flame server.

    It is off until it's enabled: by FLAME_ENABLED=true, --enable, or 'enabled = true' in server.toml. It prints what it
    listens on, who is admitted, a fresh invite, and then 'server is running.' Ctrl-C ends it.
    """
    import logging

    from flame_kernel.cli import serving
    from flame_kernel.client.links.embedded import keyed_socket_path, socket_path
    from flame_kernel.server.config import load
    from flame_kernel.server.daemon import in_background

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="flame: %(message)s")
    config = load(os.environ)
    if embedded:
        local, keyed = socket_path(config.folders), keyed_socket_path(config.folders)
        config = replace(config, enabled=True, port=None, socket=local, keyed_socket=keyed, until_idle=True)
        sys.exit(in_background(lambda ready: serving.serve(config, lambda _: ready())))
    config = replace(
        config,
        enabled=config.enabled or enable,
        host=host or config.host,
        port=None if unixsocket is not None and port is None else config.port if port is None else port,
        socket=None if unixsocket is None else unixsocket.expanduser().absolute(),
        key_file=None if key is None else key.expanduser().absolute(),
    )
    on_ready = _quietly if quiet else lambda listening: serving.announce(config, listening)
    if pyro4 is not None:
        sys.exit(
            serving.serve(config, on_ready, OldClients(pyro4, pyro4_host, not pyro4_no_hmac, quiet, verbose).serve)
        )
    sys.exit(serving.serve(config, on_ready))


def _some_time(context: click.Context, parameter: click.Parameter, minutes: float) -> float:
    if not 0 < minutes < math.inf:  # which is false of nan as well
        raise click.BadParameter(f"{minutes:g} is no time: say a number above 0")
    return minutes


@click.command()
@click.option("-H", "--host", help="The address that clients will use; this host's name unless told.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), help="The port that clients will use.")
@click.option("--minutes", default=60.0, show_default=True, callback=_some_time, help="How long it is good for.")
@click.option("--role", type=click.Choice(ROLES), default="admin", show_default=True, help="What its user may do.")
def invite(host: str | None, port: int | None, minutes: float, role: str) -> None:
    """Print a fresh invite to this machine's server; it works once.

    It's for the server that runs; -p says which if there are several.
    """
    from flame_kernel.cli.serving import invite_to_this_machine
    from flame_kernel.server.config import load

    invited = invite_to_this_machine(load(os.environ), host, port, minutes * 60, role)
    if invited.guessed:
        click.echo(f"flame: {invited.guessed}", err=True)
    click.echo(invited.text)


def serve_main() -> None:
    """Run ``flame-server``, which is ``flame serve``."""
    with errors_in_one_line():
        serve.main(prog_name="flame-server")


def _quietly(listening: Any) -> None:
    return
