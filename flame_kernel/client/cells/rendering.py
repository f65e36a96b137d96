"""Outputs of a cell as one piece of HTML or text, for what is shown in place while it changes."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

# Pictures that HTML can hold, base64-encoded.
_PICTURES = ("image/png", "image/jpeg", "image/gif")

Outputs = Sequence[dict[str, Any]]


def as_html(outputs: Outputs, lines: int | None = None) -> str:
    """Return outputs as HTML.

    Args:
        outputs: As nbformat 4 writes them.
        lines: How many lines of a stream are shown at most, the latest; ``None`` for all.

    Example:
        >>> as_html([{"output_type": "stream", "name": "stdout", "text": "a < b"}])
        '<pre>a &lt; b</pre>'
    """
    return "".join(_html(output, lines) for output in outputs)


def as_text(outputs: Outputs, lines: int | None = None) -> str:
    r"""Return outputs as text; the arguments are those of :func:`as_html`.

    Example:
        >>> as_text([{"output_type": "stream", "name": "stdout", "text": "1\n2\n3\n"}], lines=1)
        '… 2 earlier lines\n3\n'
    """
    return "".join(_text(output, lines) for output in outputs)


def needs_front_end(output: dict[str, Any]) -> bool:
    """Whether an output is shown by code in the front end, as a widget is, and can't be part of other HTML.

    Example:
        >>> needs_front_end({"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}})
        True
    """
    data = output.get("data", {})
    return any(kind.startswith("application/") and kind != "application/json" for kind in data)


def _html(output: dict[str, Any], lines: int | None) -> str:
    data = output.get("data", {})
    if "text/html" in data and not needs_front_end(output):
        return f"<div>{_whole(data['text/html'])}</div>"
    for kind in _PICTURES:
        if kind in data:
            return f'<img src="data:{kind};base64,{"".join(str(data[kind]).split())}"/>'
    if "image/svg+xml" in data:
        return f"<div>{_whole(data['image/svg+xml'])}</div>"
    text = _text(output, lines)
    colour = ' style="background:rgba(255,0,0,0.1)"' if output.get("name") == "stderr" else ""
    return f"<pre{colour}>{html.escape(text)}</pre>" if text else ""


def _text(output: dict[str, Any], lines: int | None) -> str:
    kind = output["output_type"]
    if kind == "stream":
        return _latest(_written(_ESCAPES.sub("", str(output["text"]))), lines)
    if kind == "error":
        return _ESCAPES.sub("", "\n".join(output.get("traceback", ()))) + "\n"
    text = output.get("data", {}).get("text/plain")
    return "" if text is None else f"{_whole(text)}\n"


def _written(text: str) -> str:
    """Return text as it stands after its carriage returns, such as those of a progress bar."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _latest(text: str, lines: int | None) -> str:
    if lines is None:
        return text
    all_lines = text.splitlines(keepends=True)
    if len(all_lines) <= lines:
        return text
    return f"… {len(all_lines) - lines} earlier lines\n" + "".join(all_lines[-lines:])


def _whole(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)
