"""Commands about a server's sessions: ls, attach, detach, interrupt, restart, rename, kill.

Each takes the server as its first argument where there are two; else FLAME_HOST counts, or this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from flame_kernel.errors import FlameError

if TYPE_CHECKING:
    from flame_kernel import Host


@click.command("ls")
@click.argument("host", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def ls(host: str | None, as_json: bool) -> None:
    """List the sessions on HOST that belong to this client's key."""
    import json

    import msgspec

    from flame_kernel import Host

    with Host(host) as there:
        sessions = there.sessions(memory=True)
    click.echo(json.dumps([msgspec.structs.asdict(session) for session in sessions]) if as_json else str(sessions))


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME")
def attach(where: tuple[str, ...]) -> None:
    """Show what the session NAME showed while nobody was attached, and what it shows from now on; Ctrl-C detaches.

    The session goes on afterwards. What input() asks is asked here, if the client whose cell asks is gone.
    """
    from flame_kernel import Host

    host, name = _split(where)
    with Host(host) as there:
        flame = there.attach(name)
        place = there.name
    with flame:
        click.echo(f"[attached to {name!r} on {place}; Ctrl-C detaches]", err=True)
        try:
            flame.follow(forever=True)
        except (KeyboardInterrupt, EOFError):
            again = " ".join(("flame attach", *where))
            click.echo(f"\n[detached from {flame.session.name!r}, which goes on; {again} comes back]", err=True)


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME")
def detach(where: tuple[str, ...]) -> None:
    """Send away all clients of the session NAME, which goes on."""
    _by_name(where, lambda host, name: host.detach(name))


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME")
def interrupt(where: tuple[str, ...]) -> None:
    """Interrupt what runs in the session NAME, as Ctrl-C would there."""
    _by_name(where, lambda host, name: host.interrupt(name))


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME")
def restart(where: tuple[str, ...]) -> None:
    """Start a new process in place of that of the session NAME; its variables are gone."""
    _by_name(where, lambda host, name: host.restart(name))


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME NEW")
def rename(where: tuple[str, ...]) -> None:
    """Give the session NAME the name NEW; a private session is kept from then on."""
    if len(where) not in (2, 3):
        raise click.UsageError("say which session and its new name: flame rename [HOST] NAME NEW")
    *host, name, new = where
    _by_name((*host, name), lambda there, old: there.rename(old, new))


@click.command()
@click.argument("where", nargs=-1, metavar="[HOST] NAME")
@click.option("--all", "everything", is_flag=True, help="End all sessions on HOST that belong to this client's key.")
def kill(where: tuple[str, ...], everything: bool) -> None:
    """End the session NAME and its process, for everyone who is attached."""
    from flame_kernel import Host

    if not everything:
        _by_name(where, lambda host, name: host.end(name))
        return
    if len(where) > 1:
        raise click.UsageError("say either which session or --all: flame kill [HOST] --all")
    failed = []
    with Host(where[0] if where else None) as there:
        for session in there.sessions():
            try:
                there.end(session.name)
            except FlameError as error:
                failed.append(error)
            else:
                click.echo(f"ended {session.name}")
    if failed:
        raise failed[0]


def _by_name(where: tuple[str, ...], act: Callable[[Host, str], None]) -> None:
    from flame_kernel import Host

    host, name = _split(where)
    with Host(host) as there:
        act(there, name)


def _split(where: tuple[str, ...]) -> tuple[str | None, str]:
    if len(where) not in (1, 2):
        raise click.UsageError("say which session: [HOST] NAME; flame ls [HOST] lists them")
    return (where[0] if len(where) == 2 else None), where[-1]
