"""``%flame``: the value of an expression that is evaluated over there.

What stands behind the options is Python, in which nothing is expanded and quotes are quotes. So the two are told apart
before any of it is read.
"""

from __future__ import annotations

import keyword
import re
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import line_magic, magics_class, needs_local_scope, no_var_expand, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Group
from flame_magics.base import FlameMagic
from flame_magics.connections import Connected
from flame_magics.groups import in_words
from flame_magics.status import Status
from flame_magics.usage import expanded, one_line, parse, short_errors, targets_argument, wrong

# A word that makes no sense in Python behind `-t`, which is an expression too: `-t if x else y`, `-t (x)`.
_WORD = r"""(?P<word>"[^"]*"|'[^']*'|[\w${][\w.:,/${}-]*)(?=\s|$)"""

_TARGET = re.compile(rf"(?:-t|--target)[ =]\s*{_WORD}\s*")
_OPTION = re.compile(r"--quiet(?=\s|$)\s*|--timeout(?:\s+|=(?!=))\S*\s*")
_OF_CELLS = re.compile(rf"(?P<long>--(?:bg|input|output|keep))(?=[\s=]|$)|(?P<short>-[ioO])\s+{_WORD}")

# What does for an expression what the option does for a cell.
_INSTEAD = {
    "-i": "%flame_push NAME pushes a variable",
    "--input": "%flame_push NAME pushes a variable",
    "--bg": "%%flame --bg runs a cell in the background",
}
_ASSIGN = "NAME = %flame EXPRESSION keeps the value"

# What Python says where there is nothing to read from.
_NO_INPUT = "EOF when reading a line"


def split(line: str) -> tuple[str, str]:
    """Return the options of a line, and the expression behind them.

    Raises:
        UsageError: An option belongs to cells.

    Example:
        >>> split("-t gpu1 --timeout 3 df.shape"), split("-t + 1")
        (('-t gpu1 --timeout 3', 'df.shape'), ('', '-t + 1'))
    """
    place = 0
    while True:
        if misplaced := _OF_CELLS.match(line, place):
            name = misplaced["long"] or misplaced["short"]
            if misplaced["long"] or not keyword.iskeyword(misplaced["word"]):
                raise UsageError(f"{name} belongs to %%flame cells; {_INSTEAD.get(name, _ASSIGN)}")
        found = _TARGET.match(line, place)
        if found is None or keyword.iskeyword(found["word"]):
            found = _OPTION.match(line, place)
        if found is None:
            return line[:place].strip(), line[place:]
        place = found.end()


@magics_class
class ExpressionMagics(FlameMagic):
    """Registers the magic."""

    @magic_arguments()
    @targets_argument
    @argument("--timeout", metavar="S", type=float, help="wait this many seconds; the call goes on over there")
    @argument("--quiet", action="store_true", help="don't give the value; as a ; at the end does")
    @argument("expression", nargs="?", metavar="EXPRESSION", help="Python, in which nothing is expanded")
    @needs_local_scope
    @no_var_expand
    @output_can_be_silenced
    @line_magic
    def flame(self, line: str, local_ns: dict[str, Any] | None = None) -> Any:
        """Return the value of a remote expression; alone, show the status.

        It is a call: it runs beside cells, and can't ask the user anything. ``$x`` and ``{x}`` are expanded in the
        options only. The stop button interrupts it at the next bytecode over there: in C code, such as ``time.sleep``,
        when that returns. Pressed twice it gives up waiting, and the call goes on. What else ``%%flame`` takes belongs
        to cells. Its twin is ``flame.evaluate``.

        Example::

            y = %flame total * 2
            %flame --timeout 10 sum(range(10))
        """
        if not line.strip():
            return Status(self.connections.items(), self.connections.default)
        options, expression = split(line.strip())
        arguments = parse(self.flame, expanded(options, {**self.names, **(local_ns or {})}))
        if not expression:
            raise wrong(self.flame, "there is no expression")
        with short_errors():
            chosen = self.connections.several(arguments.target)
            try:
                value = self._evaluate(chosen, expression, arguments.timeout)
            except BaseExceptionGroup as raised:
                group = raised
            else:
                return None if arguments.quiet else value
            raise in_words(group)

    def _evaluate(self, chosen: list[Connected], expression: str, timeout: float | None) -> Any:
        try:
            if len(chosen) > 1:
                group = Group({connected.name: connected.flame for connected in chosen})
                return group.evaluate(expression, timeout=timeout)
            return chosen[0].flame.evaluate(expression, timeout=timeout)
        except TimeoutError as late:
            if len(chosen) == 1 or hasattr(late, "_render_traceback_"):  # ours has its words, a remote one its frames
                raise
            names = ", ".join(connected.name for connected in chosen)
            raise one_line(late, f"no answer from all of {names} within {timeout:g} s; the calls go on there") from None
        except EOFError as error:
            if str(error) != _NO_INPUT:
                raise
            raise one_line(error, "input() can't ask in an expression, which is a call; a %%flame cell can") from None
        except KeyboardInterrupt as stopped:
            # What came from over there says so. The second stop has words: it has left the call. Without them the call
            # was torn apart here, and is being interrupted there.
            if hasattr(stopped, "_render_traceback_") or len(chosen) > 1 or not stopped.args:
                raise
            one = chosen[0]
            raise one_line(
                stopped,
                f"gave up waiting: the call goes on in session {one.flame.session.name!r}; {one.name} stays usable, "
                f"and {one.left().again} attaches to it from another notebook",
            ) from None
