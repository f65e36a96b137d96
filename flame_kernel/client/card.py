"""A connection's card: in a notebook what the other end is, at a glance."""

from __future__ import annotations

import html
from collections.abc import Sequence

from flame_kernel.client.about import About, about
from flame_kernel.client.connection import Connection
from flame_kernel.errors import FlameError
from flame_kernel.versions import describe

# A card is shown without being asked for: it must not keep anybody waiting, in seconds.
_PATIENCE_S = 5.0

_GIB = 1024**3

Rows = list[tuple[str, str]]


def card(connection: Connection) -> tuple[str, str]:
    """Return a connection's card.

    Args:
        connection: The connection.

    Returns:
        It as text, and as HTML.
    """
    found = None
    if not connection.closed and connection.welcome.calls and connection.welcome.role != "observe":
        try:
            found = about(connection, _PATIENCE_S)
        except FlameError:  # what is known without asking has to do
            found = None
    rows = rows_of(connection, found)
    return as_text(rows), as_html(rows, None if found is None else _differing(found))


def rows_of(connection: Connection, found: About | None) -> Rows:
    """Return what a card says: names and values.

    Args:
        connection: The connection.
        found: What its machine told, if it did.
    """
    welcome = connection.welcome
    rows = [("host", f"{welcome.host} ({connection.endpoint.name})")]
    if found is not None:
        rows += [
            ("python", f"{found.python}, {found.executable}"),
            ("cpu", f"{found.processors} x {found.processor}" if found.processor else str(found.processors)),
        ]
        if found.memory_total is not None and found.memory_available is not None:
            rows.append(("memory", f"{_gib(found.memory_available)} of {_gib(found.memory_total)} free"))
        rows += [("gpu", _graphics(found))] if found.gpus else []
    kept = "private, ends with this connection" if connection.private else "stays when this connection ends"
    session = f"{welcome.session} ({welcome.kernel}; {kept})"
    rows.append(("session", session if not welcome.owner else f"{session}, of {welcome.owner}"))
    if found is not None and found.differs:
        rows.append(("differs", _differing(found)))
    rows.append(("link", connection.link.describe() + (_trip(found) if found is not None else "")))
    return rows


def as_text(rows: Rows) -> str:
    """Return a card as text."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def as_html(rows: Rows, quiet: str | None) -> str:
    """Return a card as HTML.

    Args:
        rows: What it says.
        quiet: A value that is shown in grey.
    """
    lines = "".join(
        f'<tr{_GREY if value == quiet else ""}><td style="text-align:left"><b>{html.escape(name)}</b></td>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table class="flame-card">{lines}</table>'


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table as HTML."""

    def line(kind: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{kind}>{html.escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    return f"<table>{line('th', head)}{''.join(line('td', cells) for cells in lines)}</table>"


_GREY = ' style="opacity:0.6"'


def _differing(found: About) -> str:
    return describe(found.differs)


def _graphics(found: About) -> str:
    cards = []
    for one in found.gpus:
        figures = ""
        if one.memory_used is not None and one.memory_total is not None:
            figures = f" ({_gib(one.memory_total - one.memory_used)} of {_gib(one.memory_total)} free)"
        cards.append(one.name + figures)
    return ", ".join(cards)


def _gib(size: int) -> str:
    return f"{size / _GIB:.1f} GiB"


def _trip(found: About) -> str:
    return f", {found.round_trip * 1000:.1f} ms there and back"
