"""Rich output of calls, shown where the call was made."""

from __future__ import annotations

from typing import Any

from flame_kernel.client.cells.display import Display
from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.jupyter import read_json


def show_displayed(display: Display, told: str) -> None:
    """Show what a call displayed, updated or cleared.

    Args:
        display: What shows it.
        told: A DISPLAY answer's text: JSON with the type of a Jupyter message and its content.
    """
    try:
        message = read_json(told.encode("utf-8"))
    except ProtocolError:
        message = None
    kind, content = _taken_apart(message)
    if kind == "clear_output":
        display.clear(bool(content.get("wait")))
    elif kind in ("display_data", "update_display_data") and isinstance(content.get("data"), dict):
        display.data(content, update=kind == "update_display_data")
    else:
        display.stream("stderr", "[flame] a call displayed something that this version of Flame can't show\n")


def _taken_apart(message: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(message, dict) and isinstance(message.get("content"), dict):
        return str(message.get("type")), message["content"]
    return "", {}
