"""The ``flame`` command and ``flame-server``: modules here hold the commands, and what is below does the work."""

from __future__ import annotations

import click

from flame_kernel import __version__
from flame_kernel.cli import jupyter, keys, old_clients, ports, serve, sessions, ssh, work
from flame_kernel.cli.serve import serve_main as serve_main
from flame_kernel.cli.style import HELP, OneLine


@click.group(cls=OneLine, context_settings=HELP)
@click.version_option(__version__, prog_name="remote-flame")
def main() -> None:
    """Work on another machine from a notebook."""


for command in (
    serve.serve,
    serve.invite,
    keys.keys,
    old_clients.show_key,
    jupyter.install,
    jupyter.kernels,
    sessions.ls,
    sessions.attach,
    sessions.detach,
    sessions.interrupt,
    sessions.restart,
    sessions.rename,
    sessions.kill,
    work.put,
    work.get,
    work.console,
    work.run,
    work.evaluate,
    ports.forward,
    ssh.ssh_install,
    ssh.ssh_serve,
):
    main.add_command(command)
