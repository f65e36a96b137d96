"""A listing of sessions: a sequence that shows itself as a table."""

from __future__ import annotations

import html
from collections.abc import Sequence
from datetime import datetime
from typing import overload

from flame_kernel.protocol.messages import SessionInfo

COLUMNS = ("NAME", "KERNEL", "HOST", "STATE", "SINCE", "CLIENTS", "UNSEEN", "MEMORY", "ENDS")


class Sessions(Sequence[SessionInfo]):
    """Sessions, as a listing shows them.

    Args:
        infos: What is known of each.

    Example:
        >>> print(Sessions([]))
        no sessions
    """

    def __init__(self, infos: Sequence[SessionInfo]) -> None:
        self._infos = tuple(infos)

    @overload
    def __getitem__(self, index: int) -> SessionInfo: ...

    @overload
    def __getitem__(self, index: slice) -> Sessions: ...

    def __getitem__(self, index: int | slice) -> SessionInfo | Sessions:
        return Sessions(self._infos[index]) if isinstance(index, slice) else self._infos[index]

    def __len__(self) -> int:
        return len(self._infos)

    def __str__(self) -> str:
        if not self._infos:
            return "no sessions"
        rows = [COLUMNS, *map(row, self._infos)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows
        )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        def line(kind: str, cells: Sequence[str]) -> str:
            return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

        return f"<table>{line('th', COLUMNS)}{''.join(line('td', row(info)) for info in self._infos)}</table>"


def row(info: SessionInfo) -> tuple[str, ...]:
    """Return a session's line of the table."""
    state = info.activity or info.state
    if info.cause:
        state = f"{info.state}: {info.cause}"
    clients = f"{info.clients} ({', '.join(dict.fromkeys(info.names))})" if info.names else str(info.clients)
    return (
        info.name,
        info.kernel,
        info.host,
        state,
        datetime.fromtimestamp(info.started).strftime("%Y-%m-%d %H:%M"),
        clients,
        str(info.unseen or "-"),
        "-" if info.memory is None else f"{info.memory / 2**20:,.0f} MiB",
        _lease(info),
    )


def _lease(info: SessionInfo) -> str:
    if info.ends_in is not None:
        return f"in {info.ends_in:.0f} s"
    return "with its client" if info.private else "never"
