"""A cell that is only ``%flame_connect TARGET`` moves the notebook to another host; it stays there over restarts."""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path

import msgspec

from flame_kernel.errors import ConfigurationError

_MAGIC = "%flame_connect"


class Move(msgspec.Struct, frozen=True):
    """Where a cell wants the notebook to be.

    Attributes:
        target: The server, as ``connect`` takes it; empty for FLAME_HOST or this machine.
        session: The session's name there; empty for the notebook's own.
        kernel: The kernelspec if the session has to be started; empty for the server's default.
    """

    target: str = ""
    session: str = ""
    kernel: str = ""


def read(code: str) -> Move | None:
    """Read a cell.

    Args:
        code: The cell.

    Returns:
        Where it wants the notebook to be; ``None`` when it's a cell like any other.

    Raises:
        ConfigurationError: It's the magic, but with options that it doesn't have.

    Example:
        >>> read("%flame_connect gpu1:9999 -k ir")
        Move(target='gpu1:9999', session='', kernel='ir')
    """
    line = code.strip()
    if "\n" in line or not (line == _MAGIC or line.startswith(_MAGIC + " ")):
        return None
    try:
        # shlex would take an invite's '#' for a comment only if asked to.
        words = shlex.split(line.removeprefix(_MAGIC))
    except ValueError as error:
        raise _usage() from error
    found = {"": "", "-s": "", "-k": ""}
    option = ""
    for word in words:
        if word in ("-s", "-k", "--session", "--kernel") and not option:
            option = word.replace("--session", "-s").replace("--kernel", "-k")
        elif found[option]:
            raise _usage()
        else:
            found[option] = word
            option = ""
    if option:
        raise _usage()
    return Move(found[""], found["-s"], found["-k"])


def _usage() -> ConfigurationError:
    return ConfigurationError(f"in a Remote Flame notebook say: {_MAGIC} [TARGET] [-s SESSION] [-k KERNEL]")


class Moves:
    """Remembers where a notebook was moved to, for the bridge that follows this one.

    Args:
        folder: Where to keep it; only the user can enter it.
        notebook: The name of the notebook's session.
    """

    def __init__(self, folder: Path, notebook: str) -> None:
        self._path = folder / hashlib.blake2b(notebook.encode("utf-8"), digest_size=16).hexdigest()

    def latest(self) -> Move | None:
        """Return where the notebook was moved to last, ``None`` when it was not."""
        try:
            target, session, kernel = self._path.read_text("utf-8").split("\n")
        except (FileNotFoundError, ValueError):
            return None
        return Move(target, session, kernel)

    def remember(self, move: Move) -> None:
        """Remember where the notebook is now."""
        self._path.write_text(f"{move.target}\n{move.session}\n{move.kernel}", "utf-8")

    def forget(self) -> None:
        """Forget it: the notebook's session has ended."""
        self._path.unlink(missing_ok=True)
