"""``%%flame`` and ``%flame_result``: cells that run over there."""

from __future__ import annotations

import argparse
import shlex
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import CellFuture, CellGoesOn, CellLeft, CellResult, Flame, Group, is_remote
from flame_magics.background import Background
from flame_magics.base import FlameMagic, Loaded
from flame_magics.connections import Connected
from flame_magics.groups import in_words
from flame_magics.results import RemoteResult, ShownAsThere
from flame_magics.usage import (
    expanded,
    one_line,
    pairs,
    parse,
    say,
    short_errors,
    shorten,
    targets_argument,
    variable,
    wrong,
)


@magics_class
class CellMagics(FlameMagic):
    """Registers the magics.

    Args:
        shell: The running IPython.
        extension: What they belong to.
    """

    def __init__(self, shell: InteractiveShell, extension: Loaded) -> None:
        super().__init__(shell, extension)
        self._shown = ShownAsThere(shell)
        self._background = Background()

    def load(self) -> None:
        """Put into the shell what is more than a magic."""
        self._shown.load()

    def unload(self) -> None:
        """Take it out again."""
        self._shown.unload()

    @magic_arguments("%flame")
    @targets_argument
    @argument(
        "-i",
        "--input",
        metavar="VARIABLE",
        action="append",
        default=[],
        help="local variables to push there first: x,local=remote",
    )
    @argument(
        "-o",
        "--output",
        metavar="REMOTE_VARIABLE",
        action="append",
        default=[],
        help="remote variables to pull here afterwards: df,local=remote; whole, or a handle of what is too large; "
        "with --bg they come with %%flame_result",
    )
    @argument("-O", "--keep", metavar="VARIABLE", help="the name that gets what the cell gave: outputs, value, error")
    @argument("--bg", action="store_true", help="don't wait: return a future, whose display follows the cell in place")
    @argument("--timeout", metavar="S", type=float, help="wait this many seconds; the cell goes on over there")
    @argument("--quiet", action="store_true", help="show nothing of what it shows, and not its value")
    @argument("expression", nargs="*", help=argparse.SUPPRESS)
    @needs_local_scope
    @no_var_expand
    @output_can_be_silenced
    @cell_magic
    def flame(self, line: str, cell: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Run a cell in a remote session.

        Outputs appear as they come, and the last expression is the cell's ``Out[n]``. An error over there fails the
        cell. The stop button interrupts it there; pressed twice it leaves the session, which goes on. Its twins are
        ``flame.run``, ``flame.start`` for ``--bg``, and ``flame_kernel.Group`` for several.

        Its first line is expanded as that of other magics is, the code is not. A cell with ``--bg``, or on several
        connections, can't ask the user anything.

        Example::

            x, y = 1, 2

            %%flame -i x,y -o total
            total = x + y
        """
        namespace = {**self.names, **(local_ns or {})}
        arguments = parse(self.flame, expanded(line, namespace))
        if arguments.expression:
            raise wrong(self.flame, f"a cell's first line has options only, not {' '.join(arguments.expression)!r}")
        with short_errors():
            if arguments.keep is not None:
                variable(arguments.keep)
            pairs(arguments.output)  # what is wrong is told before anything happens
            pushed = _find(pairs(arguments.input), namespace)
            chosen = self.connections.several(arguments.target)
            code = _numbered(line, cell, chosen)
            if len(chosen) > 1:
                return self._run_on_several(chosen, arguments, code, pushed)
            return self._run_on_one(chosen[0], arguments, code, pushed)

    @magic_arguments()
    @argument(
        "number", nargs="?", type=int, help="which cell that was run with --bg: 1 is the first; the latest unless told"
    )
    @argument("--now", action="store_true", help="show what there is, and don't wait for the rest")
    @output_can_be_silenced
    @line_magic
    def flame_result(self, line: str) -> Any:
        """Show a cell that runs in the background, or that took longer than its timeout, until it's done.

        Returns its value; an error of the cell is raised here. What its ``-o`` names is pulled then, as it is by then.
        The stop button stops the waiting, not the cell. Its twin is ``CellFuture.show()``.

        Example::

            %%flame --bg -o ten
            ten = sum(range(5))

            %flame_result
        """
        arguments = parse(self.flame_result, line)
        if not self._background:
            raise wrong(self.flame_result, "no cell was run with --bg or has outlasted its timeout")
        found = self._background.find(arguments.number)
        if found is None:
            raise wrong(
                self.flame_result, f"there is no cell {arguments.number}; there are 1 to {len(self._background)}"
            )
        future = found.future
        if arguments.now and not future.done():
            return future
        with short_errors():
            try:
                result = future.show()
            except KeyboardInterrupt as stopped:
                if future.done():
                    raise  # the cell's own
                raise one_line(stopped, f"the cell goes on ({future.where}); %flame_result shows the rest") from None
            except BaseExceptionGroup as raised:
                group = raised
            else:
                found.awaited.come()
                return self._value(found.flame, result)
            raise in_words(group, future.cell)

    def _run_on_one(self, connected: Connected, arguments: Namespace, code: str, pushed: dict[str, Any]) -> Any:
        flame = connected.flame
        for name, value in pushed.items():
            flame.push(name, value)
        if arguments.bg:
            future = flame.start(code, title=f"cell {len(self._background) + 1} on {connected.name}")
            self._put_aside({connected.name: flame}, {connected.name: future}, arguments, flame)
            self._keep(arguments.keep, future)
            return future
        try:
            result = flame.run(code, check=False, quiet=arguments.quiet, show_result=False, timeout=arguments.timeout)
        except CellGoesOn as late:
            self._put_aside({connected.name: flame}, {connected.name: late.cell}, arguments, flame)
            raise one_line(
                late, f"{late}; %flame_result shows the rest, %flame_interrupt {connected.name} ends it"
            ) from None
        except CellLeft as left:
            raise one_line(left, self._leave(connected)) from None
        self._keep(arguments.keep, result)
        if result.error is not None:
            raise in_words(result.error, None if arguments.quiet else result)
        self._pull(flame, arguments)
        return None if arguments.quiet else self._value(flame, result)

    def _run_on_several(self, chosen: list[Connected], arguments: Namespace, code: str, pushed: dict[str, Any]) -> Any:
        group = Group({connected.name: connected.flame for connected in chosen})
        for name, value in pushed.items():
            group.push(name, value)
        if arguments.bg:
            futures = group.start(code)
            self._put_aside(group, futures, arguments, group)
            self._keep(arguments.keep, futures)
            for future in futures.values():
                future.show_in_place()
            return None
        try:
            result = group.run(code, check=False, quiet=arguments.quiet, timeout=arguments.timeout)
        except CellLeft as left:
            raise one_line(left, "; ".join(map(self._leave, chosen))) from None
        self._keep(arguments.keep, result)
        late = {name: error.cell for name, error in result.errors.items() if isinstance(error, CellGoesOn)}
        if late:
            wanted = len(late) == len(result.errors)  # what failed on one is pulled from none
            self._put_aside(group, late, arguments, group if wanted else None)
        result.check()
        self._pull(group, arguments)
        value = result.value
        return None if arguments.quiet or all(one is None for one in value.values()) else value

    def _put_aside(
        self,
        flames: Mapping[str, Flame],
        futures: Mapping[str, CellFuture],
        arguments: Namespace,
        source: Flame | Group | None,
    ) -> None:
        """Leave a cell to ``%flame_result``, and with it what ``-o`` names; that is pulled from the source."""
        wanted = tuple(local for local, _ in pairs(arguments.output)) if source is not None else ()

        def pull() -> None:
            if source is not None:
                self._pull(source, arguments)

        how = self._background.add(flames, futures, wanted, pull)
        if wanted:
            say(f"{', '.join(wanted)}: not fetched yet; comes with {how}")

    def _pull(self, source: Flame | Group, arguments: Namespace) -> None:
        limit = self.connections.settings.pull_limit
        for local, remote in pairs(arguments.output):
            value = self.names[local] = source.pull(remote, limit=limit)
            if any(map(is_remote, value.values() if isinstance(source, Group) else (value,))):
                say(f"{local} is a handle: the value stays over there, as it can't cross or has over {limit:,} bytes")

    def _keep(self, name: str | None, what: Any) -> None:
        if name is not None:
            self.names[name] = what

    def _value(self, flame: Flame, result: CellResult) -> Any:
        if result.result is None:
            return None
        if result.note:
            return RemoteResult(flame, result)
        self._shown.expect(result.value, result)
        return result.value

    def _leave(self, connected: Connected) -> str:
        session = connected.flame.session
        if not session.linked:
            return f"the cell goes on in session {session.name!r}; the link to {connected.name} is lost, and comes back"
        left = connected.left()
        session.detach()
        self.connections.leave(connected)
        ended = shlex.join(("flame", "kill", session.address, session.name))
        return f"left session {session.name!r}, which goes on until somebody ends it ({ended}); {left.again} comes back"


def _numbered(line: str, cell: str, chosen: list[Connected]) -> str:
    """Return a cell so that its lines have the numbers over there that they have in the notebook."""
    # A cell magic has to come first.
    if cell.lstrip().startswith("%%") or any(one.flame.session.language != "python" for one in chosen):
        return cell
    return f"# %%flame {line}".rstrip() + f"\n{cell}"


def _find(wanted: list[tuple[str, str]], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return variables of the notebook by the names that they get over there."""
    for name, _ in wanted:
        if name not in namespace:
            raise shorten(NameError(f"name {name!r} is not defined here, so it can't be pushed"))
    return {remote: namespace[local] for local, remote in wanted}
