"""Commands about kernels: ``flame install`` and ``flame kernels``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flame_kernel.protocol.messages import KernelInfo


@click.command()
@click.option("--host", default="", help="The server: host:port, or an invite; FLAME_HOST or this machine unless told.")
@click.option(
    "--kernel", default="", help="The kernelspec or environment to run there; the server's default unless told."
)
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


@click.command()
@click.argument("host", required=False)
def kernels(host: str | None) -> None:
    """List what sessions can run on HOST: kernelspecs, and environments of conda, venv and pyenv.

    Without HOST: the Remote Flame kernelspecs on this machine.
    """
    from flame_kernel import Host
    from flame_kernel.kernel.install import installed

    if host is None:
        for spec in installed():
            click.echo(f"{spec.name}  {spec.display_name}  {spec.host or 'FLAME_HOST or this machine'}")
        return
    with Host(host) as there:
        found = there.kernels()
    rows = [("NAME", "KIND", "WHAT IT IS", "WHERE"), *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(kernel: KernelInfo) -> tuple[str, str, str, str]:
    what = kernel.display_name
    if kernel.kind == "kernelspec" and kernel.language.lower() not in what.lower():
        what = f"{what} ({kernel.language})"
    return kernel.name, kernel.kind, what if kernel.ready else f"{what}, no ipykernel", kernel.path
