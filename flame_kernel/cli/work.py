"""Commands that work in a session: ``flame put``, ``get``, ``console``, ``run`` and ``eval``."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flame_kernel.cli.style import INTERRUPTED

if TYPE_CHECKING:
    from flame_kernel import Flame

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")

# What input() and getpass() say where nobody is there to answer, as a call's caller isn't.
_NOBODY_ANSWERS = ("EOF when reading a line", "")

_SESSION = "The session's name; a private one, which ends with this command, unless told."
_KERNEL = (
    "What a session that has to be started runs: a kernelspec or environment by name (flame kernels HOST lists them), "
    "or an environment's path; the server's default unless told."
)

# IPython tells whoever calls sys.exit() how to leave IPython.
_BEFORE = "import sys, warnings\nsys.argv = {argv!r}\nwarnings.filterwarnings('ignore', message='To exit: use')"


def _in_session(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that name a session."""
    for option in (
        click.option("-k", "--kernel", help=_KERNEL),
        click.option("-s", "--session", help="The session's name; a private one, which ends with this, unless told."),
        click.option(
            "-H", "--host", help="The server: host:port, or an invite; FLAME_HOST or this machine unless told."
        ),
    ):
        command = option(command)
    return command


_links = click.option(
    "--links",
    type=click.Choice(["keep", "follow", "skip"]),
    default="keep",
    show_default=True,
    help="What to do with symbolic links in folders: copy the link, copy what it points to, leave it out.",
)
_quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")


@click.command()
@_in_session
@_links
@_quiet
@click.argument("local", nargs=-1, required=True)
def put(
    host: str | None, session: str | None, kernel: str | None, links: str, quiet: bool, local: tuple[str, ...]
) -> None:
    """Copy files and folders to a host: LOCAL... REMOTE.

    With a / at its end REMOTE is the folder that they go into; it's made if need be. Without REMOTE they go into the
    session's folder.
    """
    with _connected(host, session, kernel) as flame:
        what, where = _parted(local)
        _told(flame.put(what, where, links=links, progress=False if quiet else None))


@click.command()
@_in_session
@_links
@_quiet
@click.argument("remote", nargs=-1, required=True)
def get(
    host: str | None, session: str | None, kernel: str | None, links: str, quiet: bool, remote: tuple[str, ...]
) -> None:
    """Copy files and folders from a host: REMOTE... LOCAL.

    With a / at its end LOCAL is the folder that they go into; it's made if need be. Without LOCAL they go into this
    folder.
    """
    with _connected(host, session, kernel) as flame:
        what, where = _parted(remote)
        _told(flame.get(what, where, links=links, progress=False if quiet else None))


@click.command()
@click.option("-s", "--session", help=_SESSION)
@click.option("-k", "--kernel", help=_KERNEL)
@click.argument("host", required=False)
def console(host: str | None, session: str | None, kernel: str | None) -> None:
    """Open a console on HOST: FLAME_HOST or this machine unless told.

    The exit status is 1 if the session or the link to it ended before the console did.
    """
    with _connected(host, session, kernel) as flame, flame.console() as typed:
        typed.interact()
        died = typed.error is not None  # which was shown where it happened
    if died:
        sys.exit(1)


@click.command()
@_in_session
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(host: str | None, session: str | None, kernel: str | None, file: Path, arguments: tuple[str, ...]) -> None:
    """Run FILE in a session, as a cell; - for what comes on stdin. ARGUMENTS are its sys.argv."""
    from flame_kernel.cli.interrupts import told_if_slow
    from flame_kernel.cli.sources import read_source

    code = read_source(file)
    with _connected(host, session, kernel) as flame, told_if_slow(_interrupting(flame)):
        if flame.session.language == "python":
            flame.execute(f"exec({_BEFORE.format(argv=[str(file), *arguments])!r}, {{}})")  # leaves no names behind
        result = flame.run(code, check=False, show_result=False)
    if result.error is not None:
        if isinstance(result.error, SystemExit):
            raise result.error
        for output in result.outputs:
            if output["output_type"] == "error":
                _complain("\n".join(output["traceback"]))
        sys.exit(INTERRUPTED if isinstance(result.error, KeyboardInterrupt) else 1)


@click.command("eval")
@_in_session
@click.argument("expression")
def evaluate(host: str | None, session: str | None, kernel: str | None, expression: str) -> None:
    """Print the value of a Python EXPRESSION in a session, also while a cell runs there.

    It can't ask: input() over there ends with an error. What flame run runs can.
    """
    from flame_kernel.cli.interrupts import told_if_slow
    from flame_kernel.errors import SessionError

    with _connected(host, session, kernel) as flame:
        try:
            with told_if_slow(_interrupting(flame)):
                value = flame.evaluate(expression)
        except Exception as error:
            if error.__cause__ is None:
                raise
            if isinstance(error, EOFError) and str(error) in _NOBODY_ANSWERS:
                raise SessionError(
                    f"the expression asked for input, and nobody can be asked by flame eval ({_where(flame)}); what "
                    "flame run runs can ask"
                ) from None
            _complain(str(error.__cause__).lstrip("\n"))  # the remote traceback
            sys.exit(1)
    if value is not None:
        click.echo(repr(value))


@contextmanager
def _connected(host: str | None, session: str | None, kernel: str | None) -> Iterator[Flame]:
    from flame_kernel import connect

    with connect(host, session=session, kernel=kernel, report=False) as flame:
        try:
            yield flame
        except KeyboardInterrupt as left:
            # A remote one says nothing that matters, and of a private session nothing goes on.
            if left.__cause__ is None and str(left) and not flame.session.private:
                click.echo(f"flame: {left}", err=True)
            raise


def _interrupting(flame: Flame) -> str:
    left = "leaves and ends it" if flame.session.private else "leaves it running"
    return f"flame: interrupting what runs there, which takes a moment ({_where(flame)}); Ctrl-C again {left}"


def _where(flame: Flame) -> str:
    session = flame.session
    return session.address if session.private else f"{session.address}, session {session.name!r}"


def _parted(paths: tuple[str, ...]) -> tuple[list[str], str]:
    """Return what is copied, and where to."""
    return (list(paths[:-1]), paths[-1]) if len(paths) > 1 else (list(paths), "./")


def _told(done: Any) -> None:
    for name in done.skipped:
        click.echo(f"flame: left out {name}", err=True)


def _complain(text: str) -> None:
    click.echo(text if sys.stderr.isatty() else _COLOURS.sub("", text), err=True)
