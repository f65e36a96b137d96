"""What a cell asks of the frontend in its reply: to show help in its pager, or to offer code as the next cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flame_kernel.client.cells.display import Display


def payloads(reply: Mapping[str, Any] | None) -> Sequence[dict[str, Any]]:
    """Return what a cell's reply asks for; nothing while there is none."""
    asked = (reply or {}).get("payload")
    return [payload for payload in asked if isinstance(payload, dict)] if isinstance(asked, list) else ()


def carry_out(payload: Mapping[str, Any], display: Display) -> None:
    """Do on a display what a cell asks for.

    What else there is belongs to the session's own machine (a file to be edited), or ends a frontend (``exit``): that
    a cell over there asks for it is no reason to do it here.
    """
    source = payload.get("source")
    if source == "page" and isinstance(payload.get("data"), dict):
        start = payload.get("start")
        display.page(payload["data"], start if isinstance(start, int) else 0)
    elif source == "set_next_input":
        display.set_next_input(str(payload.get("text", "")), bool(payload.get("replace")))
