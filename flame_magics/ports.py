"""``%flame_forward``: ports of a session's machine, reached from the notebook's."""

from __future__ import annotations

import re
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments

from flame_magics.base import FlameMagic
from flame_magics.usage import parse, say, short_errors, target_argument

_PORT = re.compile(r"(\d+)(?::(\d+))?", re.ASCII)
_LAST_PORT = 65_535


@magics_class
class PortMagics(FlameMagic):
    """Registers the magic."""

    @magic_arguments()
    @argument("port", nargs="?", metavar="PORT[:AT]", help="the service's port, and the port to reach it at")
    @argument("-r", "--reverse", action="store_true", help="the service is here, and is to be reached over there")
    @argument("--to", metavar="ADDRESS", default="localhost", help="where the service is, seen from its side")
    @argument("--bind", metavar="ADDRESS", default="127.0.0.1", help="where to listen")
    @argument("-c", "--close", action="store_true", help="end the forwarding of this port, or of all")
    @target_argument
    @line_magic
    def flame_forward(self, line: str) -> Any:
        """Let a port of the session's machine be reached on this one; without a port list what is forwarded.

        Its twins are ``flame.forward`` and ``flame.forwards``.

        Example::

            %flame_forward 8787
            %flame_forward 6006:7007
            %flame_forward -r 5432
            %flame_forward -c 8787
        """
        arguments = parse(self.flame_forward, line)
        port, at = _pair(arguments.port)
        with short_errors():
            flame = self.connections.get(arguments.target)
            if port is not None and not arguments.close:
                return flame.forward(port, at, host=arguments.to, bind=arguments.bind, reverse=arguments.reverse)
        for forward in flame.forwards:
            if not arguments.close:
                say(str(forward))
            elif port in (None, forward.wanted.port):
                forward.close()
        return None


def _pair(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    found = _PORT.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is no port: say 8787, or 8787:8000 for another one to reach it at")
    port, at = int(found[1]), int(found[2]) if found[2] else None
    for number, least in ((port, 1), (at, 0)):  # to reach it at 0 is to reach it at any that is free
        if number is not None and not least <= number <= _LAST_PORT:
            raise UsageError(f"{number} is no port: they are numbered from 1 to {_LAST_PORT}")
    return port, at
