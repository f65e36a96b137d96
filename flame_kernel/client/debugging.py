"""A debugger over there, after something went wrong: IPython's own, which asks for its commands here."""

from __future__ import annotations

from flame_kernel.client.cells.cells import request_for
from flame_kernel.client.cells.display import Display
from flame_kernel.client.connection import Connection
from flame_kernel.errors import CallsUnavailable

# How long ending a debugger may take that nobody can answer, in seconds.
_PATIENCE_S = 10.0


def debug(connection: Connection, display: Display) -> None:
    """Look at the frames of the last exception; see :meth:`flame_kernel.client.flame.Flame.debug`."""
    language = connection.welcome.language
    if language != "python":
        raise CallsUnavailable(f"there is a debugger for Python only, and this session runs {language}")
    # IPython's magic is its debugger whole: source lines, colours, expressions in each frame.
    request = request_for("%debug", silent=False, store_history=False, keep=False)
    try:
        connection.cells.follow(request, display)
    except Exception:
        if not connection.closed:
            connection.interrupt(_PATIENCE_S)  # nobody answers it any more
        raise
