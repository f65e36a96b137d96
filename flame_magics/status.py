"""The connections of a notebook, as a table."""

from __future__ import annotations

import html
from collections.abc import Sequence

from flame_magics.connections import Connected

_COLUMNS = ("", "NAME", "SERVER", "SESSION", "KERNEL", "STATE")


class Status:
    """Connections, as ``%flame_status`` shows them.

    Args:
        connections: The connections.
        default: The name of the default one.
    """

    def __init__(self, connections: Sequence[Connected], default: str) -> None:
        self.rows = [_row(connected, default) for connected in connections]

    def __repr__(self) -> str:
        if not self.rows:
            return "not connected: %flame_connect HOST first"
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *self.rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in (_COLUMNS, *self.rows)
        )
        return "\n".join(lines)

    def _repr_html_(self) -> str | None:
        if not self.rows:
            return None

        def line(kind: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

        return f"<table>{line('th', _COLUMNS)}{''.join(line('td', row) for row in self.rows)}</table>"


def _row(connected: Connected, default: str) -> tuple[str, ...]:
    session = connected.flame.session
    if connected.flame.closed:
        state = f"ended: {connected.again} connects again"
    else:
        state = "link up" if session.linked else "link lost, the session goes on"
    return (
        "*" if connected.name == default else "",
        connected.name,
        session.address,
        f"{session.name} (private)" if session.private else session.name,
        session.kernel,
        state,
    )
