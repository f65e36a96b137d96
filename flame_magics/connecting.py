"""``%flame_connect``, ``%flame_status``, ``%flame_disconnect``: which machines this notebook works with."""

from __future__ import annotations

from IPython.core.magic import line_magic, magics_class, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Flame, connect
from flame_magics.base import FlameMagic
from flame_magics.connections import Connected
from flame_magics.status import Status
from flame_magics.usage import parse, say, short_errors


@magics_class
class ConnectingMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @argument(
        "target",
        metavar="HOST",
        nargs="?",
        help="host, host:port, an invite, embedded for this machine's own server, or nothing: FLAME_HOST, or embedded",
    )
    @argument("-n", "--name", help="what to call the connection; the host's name unless told")
    @argument("-s", "--session", help="the name of a session to share; a private one unless told")
    @argument(
        "-k",
        "--kernel",
        help="what to run there: a kernelspec or environment, by name or path; the server's default unless told",
    )
    @argument("-o", "--observe", action="store_true", help="only look on; the session has to be there")
    @argument(
        "--default",
        action="store_true",
        help="make it the default connection, which the first is; with -n alone, that of an open one",
    )
    @output_can_be_silenced
    @line_magic
    def flame_connect(self, line: str) -> Flame:
        """Connect this notebook to a Flame server, beside those it is connected to already.

        Returns the connection, which shows itself as a card: host, Python, versions that differ from here, processors,
        memory, graphics cards, session and link. Its twin is ``flame_kernel.connect``.

        Example::

            %flame_connect
            %flame_connect embedded -n work -s analysis --default
        """
        arguments = parse(self.flame_connect, line)
        with short_errors():
            new = arguments.target or arguments.session or arguments.kernel or arguments.observe
            if arguments.default and arguments.name and not new:
                return self.connections.set_default(arguments.name)
            flame = connect(
                arguments.target,
                session=arguments.session,
                kernel=arguments.kernel,
                observe=arguments.observe,
                report=False,  # the card does
            )
        session = flame.session
        options = [session.address, *_given("-s", arguments.session), *_given("-k", arguments.kernel)]
        options += ["-o"] if arguments.observe else []
        name = self.connections.name_for(flame, arguments.name or None)
        self.connections.add(Connected.by("%flame_connect", flame, name, *options), arguments.default)
        if flame.unseen:
            where = "" if self.connections.target() == session.address else f" {session.address}"
            say(
                f"nobody has seen {flame.unseen} outputs of session {session.name!r}: "
                f"%flame_attach {session.name}{where} shows them"
            )
        return flame

    @magic_arguments()
    @argument("name", metavar="NAME", nargs="?", help="which connection; the default one unless told")
    @argument("--kill", action="store_true", help="end the session as well, with its process, for everyone")
    @line_magic
    def flame_disconnect(self, line: str) -> None:
        """Close a connection; a private session ends with it, a named one goes on unless it's killed.

        Its twins are ``flame.close()`` and ``flame.session.close()``.

        Example::

            %flame_connect -n scratch
            %flame_disconnect scratch
        """
        arguments = parse(self.flame_disconnect, line)
        with short_errors():
            connected = self.connections.remove(arguments.name)
            session = connected.flame.session
            if connected.flame.closed:
                ended = "which had ended"
            elif arguments.kill or session.private:
                ended = f"session {session.name!r} has ended"
            else:
                ended = f"session {session.name!r} goes on; {connected.again} connects again"
            if arguments.kill and not connected.flame.closed:
                session.close()
            connected.flame.close()
        say(f"disconnected from {connected.name}: {ended}")

    @magic_arguments()
    @line_magic
    def flame_status(self, line: str) -> Status:
        """Show all connections: where they lead, and whether their links are up.

        Example::

            %flame_status
        """
        parse(self.flame_status, line)
        return Status(self.connections.items(), self.connections.default)


def _given(option: str, value: str | None) -> list[str]:
    return [] if value is None else [option, value]
