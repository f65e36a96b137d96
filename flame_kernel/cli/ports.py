"""``flame forward``: ports of another machine on this one, until Ctrl-C."""

from __future__ import annotations

import re
from contextlib import ExitStack, suppress

import click

_PORT = re.compile(r"(\d{1,20})(?::(\d{1,20}))?", re.ASCII)
_LAST_PORT = 65535


@click.command()
@click.option("-r", "--reverse", is_flag=True, help="The ports are of services here, to be reached on HOST.")
@click.option("--to", metavar="ADDRESS", default="localhost", help="Where the services are, seen from their side.")
@click.option("--bind", metavar="ADDRESS", default="127.0.0.1", help="Where to listen; only this machine unless told.")
@click.option("-s", "--session", help="The session's name; a private one, which ends with this command, unless told.")
@click.option("-k", "--kernel", help="What a session that has to be started runs.")
@click.argument("where", nargs=-1, required=True, metavar="[HOST] PORT[:AT]...")
def forward(reverse: bool, to: str, bind: str, session: str | None, kernel: str | None, where: tuple[str, ...]) -> None:
    """Let ports of HOST be reached on this machine, until Ctrl-C: a dashboard, TensorBoard, a web app.

    PORT is the service's; AT is where it can be reached, the same number unless told or taken. HOST is FLAME_HOST or
    this machine unless told.
    """
    from flame_kernel import connect

    host, ports = (None, where) if _PORT.fullmatch(where[0]) else (where[0], where[1:])
    pairs = [_pair(text) for text in ports]
    if not pairs:
        raise click.UsageError("say which port, such as: flame forward gpu1 8787")
    with connect(host, session=session, kernel=kernel, report=False) as flame, ExitStack() as stack:
        forwards = [
            stack.enter_context(flame.forward(port, at, host=to, bind=bind, reverse=reverse)) for port, at in pairs
        ]
        for forwarded in forwards:
            click.echo(str(forwarded))
        click.echo("Ctrl-C ends this.", err=True)
        with suppress(KeyboardInterrupt):
            forwards[0].wait()  # all of them end with the session
        error = forwards[0].error
    if error is not None:
        raise error


def _pair(text: str) -> tuple[int, int | None]:
    found = _PORT.fullmatch(text)
    if found is None or not all(0 < int(number) <= _LAST_PORT for number in found.groups() if number):
        raise click.UsageError(
            f"{text!r} is no port: say 8787, or 8787:8000 for another one to reach it at; from 1 to 65535"
        )
    return int(found[1]), int(found[2]) if found[2] else None
