"""How Python shows an exception that nobody caught: without the frames of this library, which explain nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from flame_kernel.errors import FlameError, RemoteTraceback

_PACKAGE = str(Path(__file__).resolve().parents[1])


def show_short() -> None:
    """Let Python's own report leave out our frames; a hook that somebody else has put there is left alone."""
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report


def _report(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
    if isinstance(error, FlameError) or isinstance(error.__cause__, RemoteTraceback):
        error.__traceback__ = tb = without_ours(tb) or tb
    sys.__excepthook__(kind, error, tb)


def without_ours(tb: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of this library."""
    theirs = []
    while tb is not None:
        if not tb.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            theirs.append(tb)
        tb = tb.tb_next
    kept = None
    for entry in reversed(theirs):
        kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return kept
