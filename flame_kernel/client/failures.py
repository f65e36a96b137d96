"""Remote exceptions, raised here: their own type where it loads, and the remote frames above the caller's."""

from __future__ import annotations

import re
import traceback
from functools import partial
from pathlib import Path
from types import TracebackType

from flame_kernel.errors import RemoteError, RemoteTraceback, SerializationError
from flame_kernel.protocol.calls import CallAnswer, Failure
from flame_kernel.serialize import load

_PACKAGES = tuple(str(Path(__file__).resolve().parents[2] / name) for name in ("flame_kernel", "flame_magics"))

# IPython colours its tracebacks; Python's own, and the logs they end up in, have no colours.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def from_answer(answer: CallAnswer, where: str, plain: bool) -> BaseException:
    """Return the exception that a call raised.

    Args:
        answer: The ERROR answer.
        where: What to call the place it happened, such as ``gpu1:9999, session 'work'``.
        plain: Whether nothing may be unpickled.

    Returns:
        An exception of its own type if that can be loaded here, else a :class:`RemoteError`.
    """
    failure = Failure.decode(answer.parts[0] if answer.parts else b"")
    error: object = None
    if len(answer.parts) > 1 and not plain:
        try:
            error = load(answer.format, answer.parts[1:])
        except SerializationError:
            error = None
    if not isinstance(error, BaseException):
        error = RemoteError(failure.ename, failure.evalue, failure.traceback)
    return marked(error, where, failure.traceback)


def marked(error: BaseException, where: str, text: str) -> BaseException:
    """Give an exception its remote half.

    Plain Python prints the cause first and then the caller's frames; IPython asks the exception how it wants to be
    shown.

    Args:
        error: What will be raised here.
        where: What to call the place it happened.
        text: The remote traceback.

    Returns:
        The same exception.
    """
    told = f"Remote traceback ({where}):\n{text.rstrip()}"
    error.__cause__ = RemoteTraceback(_COLOURS.sub("", told))
    # functools.partial, not a closure: the exception has to stay picklable.
    error._render_traceback_ = partial(_render, error, told)  # type: ignore[attr-defined]
    return error


def _render(error: BaseException, told: str) -> list[str]:
    lines = told.split("\n")
    callers = _callers(error.__traceback__)
    if callers:
        lines += ["", "Called from here:", *callers]
    return lines


def _callers(tb: TracebackType | None) -> list[str]:
    frames = []
    for frame in traceback.extract_tb(tb):
        ours = frame.filename.startswith(_PACKAGES) or "/IPython/" in frame.filename.replace("\\", "/")
        # How IPython spells a magic, which nobody has typed.
        magic = (frame.line or "").startswith("get_ipython().run_")
        if not ours and not magic:
            frames.append(frame)
    return "".join(traceback.format_list(frames)).rstrip("\n").split("\n") if frames else []
