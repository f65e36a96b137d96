"""``%flame_sessions``, ``%flame_attach``, ``%flame_interrupt``, ``%flame_restart``: sessions that go on over there."""

from __future__ import annotations

from typing import Any

from IPython.core.magic import line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Host
from flame_magics.base import FlameMagic
from flame_magics.connections import Connected
from flame_magics.usage import parse, say, short_errors


@magics_class
class SessionMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @argument("target", nargs="?", help="a server; that of the default connection unless told")
    @no_var_expand
    @line_magic
    def flame_sessions(self, line: str) -> Any:
        """List a server's sessions: what they do, who is attached, what nobody has seen."""
        arguments = parse(self.flame_sessions, line)
        with short_errors(), Host(arguments.target or self.connections.target()) as host:
            return host.sessions(memory=True)

    @magic_arguments()
    @argument("session", help="the session's name")
    @argument("target", nargs="?", help="its server; that of the default connection unless told")
    @argument("-n", "--name", help="what to call the connection; the session's name unless told")
    @argument("-f", "--follow", action="store_true", help="show what it goes on to show until no cell runs any more")
    @no_var_expand
    @line_magic
    def flame_attach(self, line: str) -> None:
        """Attach this notebook to a session that is there already, and show what nobody has seen of it."""
        arguments = parse(self.flame_attach, line)
        with short_errors():
            target = arguments.target or self.connections.target()
            with Host(target) as host:
                flame = host.attach(arguments.session)
            name = arguments.name or arguments.session
            self.connections.add(Connected(name, flame, target, f"%flame_attach {line}"))
            missed = flame.follow() if arguments.follow else flame.missed()
            if missed.question is not None:
                flame.answer(input(missed.question))
        if any(cell.running for cell in missed.cells):
            say("a cell still runs; %flame_attach -f follows it")
