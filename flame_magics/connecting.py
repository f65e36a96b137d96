"""``%flame_connect``, ``%flame_status``, ``%flame_disconnect``: which machines this notebook works with."""

from __future__ import annotations

from IPython.core.magic import line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments

from flame_kernel import Flame, connect
from flame_magics.base import FlameMagic
from flame_magics.connections import Connected
from flame_magics.usage import parse, say, short_errors


@magics_class
class ConnectingMagics(FlameMagic):
    """Registers the magics."""

    @magic_arguments()
    @argument("target", nargs="?", help="host, host:port, an invite, or nothing for a server on this machine")
    @argument("-n", "--name", help="what to call the connection; the host's name unless told")
    @argument("-s", "--session", help="the name of a session to share; a private one unless told")
    @argument("-k", "--kernel", help="the kernelspec to run there")
    @argument("-o", "--observe", action="store_true", help="only look on; the session has to be there")
    @no_var_expand
    @line_magic
    def flame_connect(self, line: str) -> Flame:
        """Connect this notebook to a Flame server; %%flame cells run there from now on."""
        arguments = parse(self.flame_connect, line)
        with short_errors():
            flame = connect(
                arguments.target, session=arguments.session, kernel=arguments.kernel, observe=arguments.observe
            )
        name = arguments.name or flame.session.host
        self.connections.add(Connected(name, flame, arguments.target, "%flame_connect " + line))
        if flame.unseen:
            say(
                f"nobody has seen {flame.unseen} outputs of session {flame.session.name!r}: "
                f"%flame_attach {flame.session.name} shows them"
            )
        return flame

    @magic_arguments()
    @argument("name", nargs="?", help="which connection; the default one unless told")
    @no_var_expand
    @line_magic
    def flame_disconnect(self, line: str) -> None:
        """Close a connection; a private session ends with it."""
        arguments = parse(self.flame_disconnect, line)
        with short_errors():
            connected = self.connections.remove(arguments.name)
            connected.flame.close()
        print(f"disconnected from {connected.name}")  # noqa: T201  # what it's for

    @magic_arguments()
    @no_var_expand
    @line_magic
    def flame_status(self, line: str) -> None:
        """Show all connections."""
        parse(self.flame_status, line)
        for connected in self.connections.items():
            mark = "*" if connected.name == self.connections.default else " "
            print(f"{mark} {connected.name}: {connected.flame!r}")  # noqa: T201  # what it's for
        if not self.connections.items():
            print("not connected: %flame_connect HOST first")  # noqa: T201  # what it's for
