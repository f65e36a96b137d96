"""Commands about kernels: ``flame install`` and ``flame kernels``."""

from __future__ import annotations

import sys

import click


@click.command()
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


@click.command()
@click.argument("host", required=False)
def kernels(host: str | None) -> None:
    """List the kernels of HOST; without it, the Remote Flame kernelspecs on this machine."""
    from flame_kernel import Host
    from flame_kernel.kernel.install import installed

    if host is None:
        for spec in installed():
            click.echo(f"{spec.name}  {spec.display_name}  {spec.host or 'FLAME_HOST or this machine'}")
        return
    with Host(host) as there:
        for kernel in there.kernels():
            click.echo(f"{kernel.name}  {kernel.display_name}  {kernel.language}")
