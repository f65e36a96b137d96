"""``flame keys``: whose keys this machine's server admits, and what they may do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from flame_kernel.cli.style import ROLES
from flame_kernel.errors import ConfigurationError

if TYPE_CHECKING:
    from flame_kernel.security.authorized import AuthorizedKeys
    from flame_kernel.security.authorized_key import AuthorizedKey


@click.group()
def keys() -> None:
    """List, add and remove the keys that this machine's server admits.

    They are lines of authorized_keys, which may be edited as well. A role is one of observe (sees sessions that others
    share with it), execute (runs code), files (also puts and gets files), admin (also shares sessions, lists and ends
    those of other keys). What is changed here counts at once, for open connections too.
    """


@keys.command("list")
def list_keys() -> None:
    """List the keys: fingerprint, role and comment."""
    for entry in _authorized().entries():
        click.echo(f"{entry.fingerprint}  {entry.role.value:<7}  {entry.comment}".rstrip())


class _KeyInTwoWords(click.Command):
    """Takes the word behind a key's type as the rest of the key, also when it begins with a dash as options do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        from flame_kernel.security.key_text import KEY_TYPE

        if KEY_TYPE in args:
            place = args.index(KEY_TYPE)
            args = [*args[:place], " ".join(args[place : place + 2]), *args[place + 2 :]]
        return super().parse_args(ctx, args)


@keys.command(cls=_KeyInTwoWords)
@click.argument("key")
@click.argument("comment", nargs=-1)
@click.option("--role", type=click.Choice(ROLES), default="admin", show_default=True, help="What the key may do.")
def add(key: str, comment: tuple[str, ...], role: str) -> None:
    """Admit KEY, a public key as `flame keys own` prints it there; COMMENT is what people know it by.

    A key that is admitted already gets the role and the comment given.
    """
    from flame_kernel.security.authorized_key import Role
    from flame_kernel.security.key_text import KEY_TYPE, public_from_text

    words = key.removeprefix(KEY_TYPE).split()
    public = public_from_text(words[0] if words else "")
    entry = _authorized().add(public, Role.named(role), " ".join([*words[1:], *comment]))
    _tell(f"admitted {_described(entry)}")


@keys.command()
@click.argument("which")
@click.option("--all", "several", is_flag=True, help="Remove all that match, if there are several.")
def remove(which: str, several: bool) -> None:
    """Remove a key; its open connections end at once.

    WHICH is its fingerprint, its comment, or how one of them begins.
    """
    from flame_kernel.security.key_text import public_to_text

    authorized = _authorized()
    found = authorized.matching(which)
    if not found:
        raise ConfigurationError(f"no key in {authorized.path} is {which!r}; 'flame keys list' shows them")
    if len(found) > 1 and not several:
        raise ConfigurationError(
            f"{which!r} could be {len(found)} keys; say a fingerprint, or --all: "
            + ", ".join(_described(entry) for entry in found)
        )
    for entry in found:
        authorized.remove(public_to_text(entry.public))
    _tell(f"removed {', '.join(_described(entry) for entry in found)}")


@keys.command()
def own() -> None:
    """Print this machine's own public key as a client, for `flame keys add` on a server."""
    import socket

    from flame_kernel.security.folders import Folders, private
    from flame_kernel.security.key_text import KEY_TYPE, public_to_text
    from flame_kernel.security.keys import load_or_create

    folder = private(Folders.find(os.environ).config)
    pair = load_or_create(folder / "client.key", f"client key of {socket.gethostname()}")
    click.echo(f"{KEY_TYPE} {public_to_text(pair.public)} {socket.gethostname()}")


def _authorized() -> AuthorizedKeys:
    from flame_kernel.security.folders import Folders
    from flame_kernel.server.config import ServerConfig
    from flame_kernel.server.main import authorized_keys

    return authorized_keys(ServerConfig(Folders.find(os.environ)))


def _described(entry: AuthorizedKey) -> str:
    return f"{entry.comment or 'a key'} ({entry.fingerprint}, {entry.role.value})"


def _tell(done: str) -> None:
    from flame_kernel.security.folders import Folders
    from flame_kernel.server.control import look_at_keys

    answers = look_at_keys(Folders.find(os.environ).runtime)
    ended = sum(answers)
    click.echo(done)
    if ended:
        click.echo(f"{ended} open connection{'s' if ended > 1 else ''} ended")
