"""``%flame_module``, ``%flame_sendmodule``, ``%flame_getmodule``: modules over there, and their source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import Code

from flame_magics.base import FlameMagic
from flame_magics.connections import Connected, Connections
from flame_magics.usage import parse, say, short_errors, target_argument, targets_argument

# How long sending a module again may keep a cell waiting, in seconds.
_PATIENCE_S = 10.0


class Source(str):
    """Source that shows itself as code, and is text for everything else."""

    def _repr_html_(self) -> str:
        shown: str = Code(str(self), language="python")._repr_html_()
        return shown

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


@magics_class
class ModuleMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @target_argument
    @argument("module", metavar="REMOTE_MODULE", help="its dotted name")
    @argument(
        "alias", nargs="*", metavar="as ALIAS", help="what to call it here; the last part of its name unless told"
    )
    @line_magic
    def flame_module(self, line: str) -> None:
        """Put a module of the session into the notebook: what is called, read or set in it happens over there.

        Its twin is ``flame.module``.

        Example::

            %flame_module os.path as remote_path
            remote_path.join("a", "b")
        """
        arguments = parse(self.flame_module, line)
        alias = arguments.alias or ["as", arguments.module.rpartition(".")[2]]
        if len(alias) != 2 or alias[0] != "as" or not alias[1].isidentifier():
            raise UsageError("usage: %flame_module [-t NAME] REMOTE_MODULE [as ALIAS]")
        with short_errors(ImportError):
            flame = self.connections.get(arguments.target)
            module = flame.module(arguments.module)
            module.__name__  # noqa: B018  # it's imported now, and not when it's first used
        self.names[alias[1]] = module
        say(f"{alias[1]} is the module {arguments.module} on {flame.session.host}")

    @magic_arguments()
    @targets_argument
    @argument("--once", action="store_true", help="don't send it again when it changes")
    @argument("modules", nargs="+", metavar="LOCAL_MODULE", help="names, files or folders of packages")
    @line_magic
    def flame_sendmodule(self, line: str) -> None:
        """Send modules of this machine as they are now, so that code over there can import them.

        When one of them changes on disk, it's sent again before the next cell runs, and takes the place of the old one
        for all that have imported the module. What was taken out of it by ``from tools import f`` stays as it was until
        that is run again. Its twins are ``flame.sendmodule`` and ``flame.resend``.

        Example::

            %flame_sendmodule tools.py
        """
        arguments = parse(self.flame_sendmodule, line)
        with short_errors(ImportError):
            for connected in self.connections.several(arguments.target):
                for module in arguments.modules:
                    name = connected.flame.sendmodule(module, follow=not arguments.once)
                    say(f"{name} is on {connected.flame.session.host}")

    @magic_arguments()
    @target_argument
    @argument("-o", "--output", metavar="LOCAL_PATH", help="a file to write it to, instead of showing it")
    @argument("module", metavar="REMOTE_MODULE", help="its dotted name")
    @line_magic
    def flame_getmodule(self, line: str) -> Source | None:
        """Show the source of a module over there; it is text for a notebook that gives it a name.

        Its twin is ``flame.getmodule``.

        Example::

            %flame_getmodule tools
            source = %flame_getmodule this
        """
        arguments = parse(self.flame_getmodule, line)
        with short_errors(ImportError, OSError):
            source = self.connections.get(arguments.target).getmodule(arguments.module)
            if arguments.output is None:
                return Source(source)
            Path(arguments.output).expanduser().write_text(source, encoding="utf-8")
        say(f"{arguments.output} holds the source of {arguments.module}")
        return None


class Resending:
    """Sends modules again that were edited, before a cell runs.

    Args:
        shell: The running IPython.
        connections: The notebook's connections.
    """

    def __init__(self, shell: InteractiveShell, connections: Connections) -> None:
        self._shell = shell
        self._connections = connections
        self._failed: dict[str, str] = {}

    def load(self) -> None:
        """Begin."""
        self._shell.events.register("pre_run_cell", self._before)

    def unload(self) -> None:
        """End."""
        self._shell.events.unregister("pre_run_cell", self._before)

    def _before(self, info: Any) -> None:
        for connected in self._connections.items():
            if not connected.flame.closed:
                self._resend(connected, str(getattr(info, "raw_cell", "")))

    def _resend(self, connected: Connected, cell: str) -> None:
        host = connected.flame.session.host
        try:
            for name in connected.flame.resend(timeout=_PATIENCE_S):
                say(f"{name} has changed and was sent to {host} again")
            self._failed.pop(connected.name, None)
        except Exception as error:  # noqa: BLE001  # a module raises what it likes; the cell goes on
            told = f"{type(error).__name__}: {error}"
            # It's tried before every cell until it's mended, but those that don't concern it need not be told again.
            if "flame" in cell or self._failed.get(connected.name) != told:
                sys.stderr.write(f"[flame] {host} has a module as it was before it was edited here: {told}\n")
            self._failed[connected.name] = told
