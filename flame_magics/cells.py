"""``%%flame``, ``%flame`` and ``%flame_result``: code and expressions that run over there."""

from __future__ import annotations

import keyword
import re
from argparse import Namespace
from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import CellFuture, CellGoesOn, CellLeft, CellResult, Flame, Group, is_remote
from flame_magics.base import FlameMagic, Loaded
from flame_magics.connections import Connected
from flame_magics.groups import in_words
from flame_magics.results import RemoteResult, ShownAsThere
from flame_magics.status import Status
from flame_magics.usage import names, parse, say, short_errors, shorten, targets_argument, wrong

# How an expression says where it is evaluated.
_TARGET = re.compile(r"(?:-t|--target)[ =]\s*(\w[\w.:,/-]*)\s+(.+)", re.DOTALL)

_CONDITIONS = frozenset(keyword.kwlist)  # `-t if x else y` is an expression too


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
        self._in_background: list[tuple[Flame, CellFuture]] = []

    def load(self) -> None:
        """Put into the shell what is more than a magic."""
        self._shown.load()

    def unload(self) -> None:
        """Take it out again."""
        self._shown.unload()

    @magic_arguments()
    @targets_argument
    @argument(
        "-i",
        "--input",
        metavar="VARIABLE",
        action="append",
        default=[],
        help="local variables to push there first: x,y",
    )
    @argument(
        "-o",
        "--output",
        metavar="REMOTE_VARIABLE",
        action="append",
        default=[],
        help="remote variables to pull here afterwards: df,local=remote; whole, or a handle of what is too large",
    )
    @argument("-O", "--keep", metavar="VARIABLE", help="the name that gets what the cell gave: outputs, value, error")
    @argument("--bg", action="store_true", help="don't wait: return a future, whose display follows the cell in place")
    @argument("--timeout", metavar="S", type=float, help="wait this many seconds; the cell goes on over there")
    @argument("--quiet", action="store_true", help="show nothing of what it shows, and not its value")
    @argument("expression", nargs="*", help="as a line magic: an expression, whose value is returned")
    @needs_local_scope
    @no_var_expand
    @output_can_be_silenced
    @line_cell_magic
    def flame(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Run a cell in a remote session, or return the value of a remote expression; alone, show the status.

        Outputs appear as they come, and the last expression is the cell's ``Out[n]``. An error over there fails the
        cell. The stop button interrupts it there; pressed twice it leaves the session, which goes on. Its twins are
        ``flame.run``, ``flame.start`` for ``--bg``, ``flame_kernel.Group`` for several, and ``flame.evaluate``.

        Example::

            x, y = 1, 2

            %%flame -i x,y -o total
            total = x + y

            y = %flame total * 2
        """
        if cell is None:
            return self._evaluate(line)
        arguments = parse(self.flame, line)
        if arguments.expression:
            raise wrong(self.flame, f"a cell's first line has options only, not {' '.join(arguments.expression)!r}")
        with short_errors():
            chosen = self.connections.several(arguments.target)
            pushed = self._find(names(arguments.input), local_ns or {})
            code = _numbered(line, cell, chosen)
            if len(chosen) > 1:
                return self._run_on_several(chosen, arguments, code, pushed)
            return self._run_on_one(chosen[0], arguments, code, pushed)

    @magic_arguments()
    @argument(
        "number", nargs="?", type=int, help="which cell that was run with --bg: 1 is the first; the latest unless told"
    )
    @argument("--now", action="store_true", help="show what there is, and don't wait for the rest")
    @no_var_expand
    @output_can_be_silenced
    @line_magic
    def flame_result(self, line: str) -> Any:
        """Show a cell that runs in the background, or that took longer than its timeout, until it's done.

        Returns its value; an error of the cell is raised here. The stop button stops the waiting, not the cell. Its
        twin is ``CellFuture.show()``.

        Example::

            %%flame --bg
            sum(range(10))

            %flame_result
        """
        arguments = parse(self.flame_result, line)
        if not self._in_background:
            raise wrong(self.flame_result, "no cell was run with --bg or has outlasted its timeout")
        number = len(self._in_background) if arguments.number is None else arguments.number
        if not 1 <= number <= len(self._in_background):
            raise wrong(self.flame_result, f"there is no cell {number}; there are 1 to {len(self._in_background)}")
        flame, future = self._in_background[number - 1]
        if arguments.now and not future.done():
            return future
        with short_errors():
            try:
                result = future.show()
            except KeyboardInterrupt as stopped:
                if future.done():
                    raise  # the cell's own
                raise _line(stopped, f"the cell goes on ({future.where}); %flame_result shows the rest") from None
            except BaseExceptionGroup as raised:
                group = raised
            else:
                return self._value(flame, result)
            raise in_words(group, future.cell)

    def _run_on_one(self, connected: Connected, arguments: Namespace, code: str, pushed: dict[str, Any]) -> Any:
        flame = connected.flame
        for name, value in pushed.items():
            flame.push(name, value)
        if arguments.bg:
            future = flame.start(code, title=f"cell {len(self._in_background) + 1} on {connected.name}")
            self._in_background.append((flame, future))
            self._keep(arguments.keep, future)
            return future
        try:
            result = flame.run(code, check=False, quiet=arguments.quiet, show_result=False, timeout=arguments.timeout)
        except CellGoesOn as late:
            self._in_background.append((flame, late.cell))
            raise _line(
                late, f"{late}; %flame_result shows the rest, %flame_interrupt {connected.name} ends it"
            ) from None
        except CellLeft as left:
            raise _line(left, self._leave(connected)) from None
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
            self._in_background += [(group[name], future) for name, future in futures.items()]
            self._keep(arguments.keep, futures)
            for future in futures.values():
                future.show_in_place()
            return None
        try:
            result = group.run(code, check=False, quiet=arguments.quiet, timeout=arguments.timeout)
        except CellLeft as left:
            raise _line(left, "; ".join(map(self._leave, chosen))) from None
        self._keep(arguments.keep, result)
        late = {name: error for name, error in result.errors.items() if isinstance(error, CellGoesOn)}
        self._in_background += [(group[name], error.cell) for name, error in late.items()]
        result.check()
        self._pull(group, arguments)
        value = result.value
        return None if arguments.quiet or all(one is None for one in value.values()) else value

    def _evaluate(self, line: str) -> Any:
        if not line.strip():
            return Status(self.connections.items(), self.connections.default)
        target, expression = _split(line.strip())
        with short_errors():
            chosen = self.connections.several(target)
            if len(chosen) > 1:
                return Group({connected.name: connected.flame for connected in chosen}).evaluate(expression)
            try:
                return chosen[0].flame.evaluate(expression)
            except BaseExceptionGroup as raised:
                group = raised
            raise in_words(group)

    def _find(self, wanted: list[str], local_names: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name in wanted:
            if name not in local_names and name not in self.names:
                raise shorten(NameError(f"name {name!r} is not defined here, so it can't be pushed"))
            found[name] = local_names[name] if name in local_names else self.names[name]
        return found

    def _pull(self, source: Flame | Group, arguments: Namespace) -> None:
        limit = self.connections.settings.pull_limit
        for pair in names(arguments.output):
            local, _, remote = (part.strip() for part in pair.partition("="))
            value = self.names[local] = source.pull(remote or local, limit=limit)
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
        return f"left session {session.name!r}, which goes on; {left.again} comes back"


def _numbered(line: str, cell: str, chosen: list[Connected]) -> str:
    """Return a cell so that its lines have the numbers over there that they have in the notebook."""
    # A cell magic has to come first.
    if cell.lstrip().startswith("%%") or any(one.flame.session.language != "python" for one in chosen):
        return cell
    return f"# %%flame {line}".rstrip() + f"\n{cell}"


def _split(line: str) -> tuple[str | None, str]:
    """Return the connection that an expression is for, if it says so, and the expression.

    Example:
        >>> _split("-t gpu1 df.shape"), _split("-t + 1")
        (('gpu1', 'df.shape'), (None, '-t + 1'))
    """
    found = _TARGET.fullmatch(line)
    if found is None or found[1] in _CONDITIONS:
        return None, line
    return found[1], found[2]


def _line(error: BaseException, text: str) -> BaseException:
    """Return an exception as a line that says what to do."""
    error.args = (text,)
    return shorten(error)
