"""``%flame_sessions``, ``%flame_attach``, ``%flame_interrupt``, ``%flame_restart``: sessions that go on over there."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import line_magic, magics_class, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Host
from flame_magics.base import FlameMagic
from flame_magics.connections import Connected
from flame_magics.usage import parse, say, short_errors


@magics_class
class SessionMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @argument("target", metavar="HOST", nargs="?", help="a server; that of the default connection unless told")
    @output_can_be_silenced
    @line_magic
    def flame_sessions(self, line: str) -> Any:
        """List a server's sessions: what they do, who is attached, what nobody has seen.

        Its twin is ``flame_kernel.Host(target).sessions(memory=True)``.

        Example::

            %flame_sessions
        """
        arguments = parse(self.flame_sessions, line)
        with short_errors(), Host(arguments.target or self.connections.target()) as host:
            return host.sessions(memory=True)

    @magic_arguments()
    @argument("session", metavar="SESSION", help="the session's name")
    @argument("target", metavar="HOST", nargs="?", help="its server; that of the default connection unless told")
    @argument("-n", "--name", help="what to call the connection; the session's name unless told")
    @argument("-f", "--follow", action="store_true", help="show what it goes on to show until no cell runs any more")
    @argument("--default", action="store_true", help="make it the default connection, which the first is")
    @line_magic
    def flame_attach(self, line: str) -> None:
        """Attach this notebook to a session that is there already, and show what nobody has seen of it.

        Its twins are ``flame_kernel.Host(target).attach(session)``, ``flame.missed()`` and ``flame.follow()``.

        Example::

            %flame_connect -n work -s analysis
            %flame_attach analysis -n again
        """
        arguments = parse(self.flame_attach, line)
        with short_errors():
            with Host(arguments.target or self.connections.target()) as host:
                flame = host.attach(arguments.session)
            name = arguments.name or arguments.session
            options = (arguments.session, flame.session.address)
            self.connections.add(Connected.by("%flame_attach", flame, name, *options), arguments.default)
            missed = flame.follow() if arguments.follow else flame.missed()
            if missed.question is not None:
                flame.answer(input(missed.question))
        if any(cell.running for cell in missed.cells):
            say(f"a cell still runs; {self.connections.find(name).again} -f follows it")

    @magic_arguments()
    @argument("name", metavar="NAME", nargs="?", help="which connection; the default one unless told")
    @line_magic
    def flame_interrupt(self, line: str) -> None:
        """Interrupt the cell that runs in a session, as the stop button does.

        Its twin is ``flame.session.interrupt()``.

        Example::

            %flame_interrupt
        """
        arguments = parse(self.flame_interrupt, line)
        with short_errors():
            self.connections.get(arguments.name).session.interrupt()

    @magic_arguments()
    @argument("name", metavar="NAME", nargs="?", help="which connection; the default one unless told")
    @line_magic
    def flame_restart(self, line: str) -> None:
        """Start a new process in place of a session's; its variables are gone.

        Its twin is ``flame.session.restart()``.

        Example::

            %flame_restart
        """
        arguments = parse(self.flame_restart, line)
        with short_errors():
            connected = self.connections.find(arguments.name)
            connected.flame.session.restart()
        say(f"session {connected.flame.session.name!r} on {connected.name} has a new process; its variables are gone")
