"""``%flame_push``, ``%flame_pull``, ``%flame_put``, ``%flame_get``: variables and files, there and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from IPython.core.magic import line_magic, magics_class, needs_local_scope
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Flame, is_remote
from flame_magics.base import FlameMagic
from flame_magics.usage import pairs, parse, say, short_errors, shorten, target_argument, targets_argument

# What put and get share.
_links = argument(
    "--links",
    choices=("keep", "follow", "skip"),
    default="keep",
    help="symbolic links in folders: copied as links, followed, or left out",
)
_quiet = argument("-q", "--quiet", action="store_true", help="no progress bar")


def push(flame: Flame, values: list[str] | None, *namespaces: dict[str, Any]) -> None:
    """Give variables of the notebook a name over there.

    Args:
        flame: The connection.
        values: Names, as ``pairs`` takes them.
        namespaces: Where the local names are looked up, the first that has one.

    Raises:
        NameError: One isn't defined here; nothing was pushed then.
    """
    wanted = pairs(values)
    for local, _ in wanted:
        if not any(local in namespace for namespace in namespaces):
            raise shorten(NameError(f"name {local!r} is not defined here, so it can't be pushed"))
    for local, remote in wanted:
        flame[remote] = next(namespace[local] for namespace in namespaces if local in namespace)


def pull(flame: Flame, values: list[str] | None, namespace: dict[str, Any], limit: int | None) -> None:
    """Give variables of the session a name in the notebook: whole, or as a handle if they are too large, which is said.

    Args:
        flame: The connection.
        values: Names, as ``pairs`` takes them.
        namespace: The notebook's.
        limit: Up to which size they come, in bytes; ``None`` for any.

    Raises:
        NameError: One isn't defined there; those before it have come.
    """
    for local, remote in pairs(values):
        try:
            value = flame.pull(remote, limit=limit)
        except NameError as error:
            if f"'{remote}'" in str(error):
                raise shorten(NameError(f"name {remote!r} is not defined on {flame.session.host}")) from None
            raise
        namespace[local] = value
        if is_remote(value):
            say(f"{local} is a handle: the object stays on {flame.session.host}, as it {_why(remote, limit)}")


def _why(remote: str, limit: int | None) -> str:
    if limit is None:
        return "can't be copied"
    return f"can't be copied or has over {limit:,} bytes (%flame_pull -w {remote} copies those all the same)"


@magics_class
class MovingMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @targets_argument
    @argument("names", nargs="+", metavar="VARIABLE", help="variables of the notebook: x, or x,y, or local=remote")
    @needs_local_scope
    @line_magic
    def flame_push(self, line: str, local_ns: dict[str, Any] | None = None) -> None:
        """Copy variables of the notebook into the session, each whole; its twin is ``flame.push``.

        Example::

            limit, words = 3, ["a", "b"]
            %flame_push limit words=theirs
        """
        arguments = parse(self.flame_push, line)
        with short_errors():
            for connected in self.connections.several(arguments.target):
                push(connected.flame, arguments.names, local_ns or {}, self.names)

    @magic_arguments()
    @target_argument
    @argument(
        "names", nargs="+", metavar="REMOTE_VARIABLE", help="variables of the session: x, or x,y, or local=remote"
    )
    @argument(
        "-w", "--whole", action="store_true", help="whatever their size; else what is too large comes as a handle"
    )
    @line_magic
    def flame_pull(self, line: str) -> None:
        """Copy variables of the session into the notebook.

        Each comes whole. One of more than ``%config FlameMagics.pull_limit`` bytes, or that can't be copied, comes as a
        handle instead: it is used as the object itself, which stays there. A line says so. Its
        twin is ``flame.pull``.

        Example::

            %flame_pull limit here=theirs
        """
        arguments = parse(self.flame_pull, line)
        with short_errors():
            flame = self.connections.get(arguments.target)
            limit = None if arguments.whole else self.connections.settings.pull_limit
            pull(flame, arguments.names, self.names, limit)

    @magic_arguments()
    @targets_argument
    @_links
    @_quiet
    @argument("local", nargs="+", metavar="LOCAL_PATH", help="files and folders, with ~ and wildcards")
    @argument("remote", metavar="REMOTE_PATH", help="where to; a / at its end for: into this folder")
    @line_magic
    def flame_put(self, line: str) -> Any:
        """Copy files and folders to the session's host, with a bar if it takes a while; its twin is ``flame.put``.

        A copy that was cut short goes on when it's made again. A file appears whole or not at all.

        Example::

            %flame_put -q report.csv raw/ inbox/
        """
        arguments = parse(self.flame_put, line)

        def put(flame: Flame) -> Any:
            return flame.put(arguments.local, arguments.remote, links=arguments.links, progress=_progress(arguments))

        return self._copy(arguments.target, put)

    @magic_arguments()
    @target_argument
    @_links
    @_quiet
    @argument("remote", nargs="+", metavar="REMOTE_PATH", help="files and folders, with ~ and wildcards")
    @argument("local", metavar="LOCAL_PATH", help="where to; a / at its end for: into this folder")
    @line_magic
    def flame_get(self, line: str) -> Any:
        """Copy files and folders from the session's host, with the rules of ``%flame_put``; its twin is ``flame.get``.

        Example::

            %flame_get -q inbox/report.csv fetched.csv
        """
        arguments = parse(self.flame_get, line)

        def get(flame: Flame) -> Any:
            return flame.get(arguments.remote, arguments.local, links=arguments.links, progress=_progress(arguments))

        return self._copy(arguments.target, get, only_one=True)

    def _copy(self, wanted: str | None, copy: Callable[[Flame], Any], only_one: bool = False) -> Any:
        with short_errors(OSError):
            if only_one:
                return copy(self.connections.get(wanted))
            copied = {connected.name: copy(connected.flame) for connected in self.connections.several(wanted)}
        return copied if len(copied) > 1 else next(iter(copied.values()))


def _progress(arguments: Any) -> bool | None:
    return False if arguments.quiet else None
