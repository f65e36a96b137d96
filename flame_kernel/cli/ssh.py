"""Commands for the way through ssh: ``flame ssh-install``, and ``flame ssh-serve``, which a client runs over there."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("ssh-install")
@click.argument("host")
@click.option("--carry", is_flag=True, help="Carry all packages over ssh, without a look at the host's own index.")
@click.option(
    "--wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Carry the packages in this folder instead of what is installed here.",
)
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
def ssh_install(host: str, carry: bool, wheels: Path | None, quiet: bool) -> None:
    """Put this very version of Remote Flame on HOST, which ssh reaches, into a private environment of its own.

    HOST is ssh://user@host or what ssh calls it. The packages come from the host's own index, or from here where it has
    none. Nothing else over there is touched, and root is not needed. A path behind the host, as in
    ssh://host/opt/python/bin/python3, names the Python to make the environment with.
    """
    from flame_kernel.client.links.ssh.install import install

    done = install(host, carry=carry, wheels=wheels, tell=_quietly if quiet else _tell)
    click.echo(f"{done.target} has remote-flame {done.version} in {done.folder}; connect to it with {done.target}")


@click.command("ssh-serve", hidden=True)
def ssh_serve() -> None:
    """Find or start this user's server, enrol the client's key, and tell the client where the server is.

    It ends when its stdin does.
    """
    from flame_kernel.cli.far_side import answer

    answer(sys.stdin.buffer, sys.stdout.buffer)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _quietly(line: str) -> None:
    return
