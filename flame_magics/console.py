"""``%flame_console`` and ``%flame_debug``: a prompt over there."""

from __future__ import annotations

from IPython.core.error import StdinNotImplementedError
from IPython.core.magic import line_magic, magics_class
from IPython.core.magic_arguments import magic_arguments

from flame_magics.base import FlameMagic
from flame_magics.usage import parse, short_errors, target_argument


@magics_class
class ConsoleMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @target_argument
    @line_magic
    def flame_console(self, line: str) -> None:
        """Open a console: each line runs in the session as a cell does; ``exit()`` ends it, and the session goes on.

        In a notebook its prompt is the notebook's input field; in a terminal it has a history and completes.

        Its twin is ``flame.console().interact()``.

        Example::

            %flame_console
        """
        arguments = parse(self.flame_console, line)
        with short_errors(StdinNotImplementedError), self.connections.get(arguments.target).console() as console:
            console.interact()

    @magic_arguments()
    @target_argument
    @line_magic
    def flame_debug(self, line: str) -> None:
        """Look at the frames over there that the last error came from, as ``%debug`` does with local ones.

        ``up`` and ``down`` go from frame to frame, ``p`` shows an expression's value, ``q`` ends it. Its twin is
        ``flame.debug()``.

        Example::

            %flame_debug
        """
        arguments = parse(self.flame_debug, line)
        with short_errors(StdinNotImplementedError):
            self.connections.get(arguments.target).debug()
