"""A start without what is not needed: most of what a bridge does before it answers is to import modules."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# msgspec loads it where it is installed, for what `typing` lacks on older Pythons than ours: a tenth of the start.
_NOT_NEEDED = "typing_extensions"


@contextmanager
def imports() -> Iterator[None]:
    """Import modules meanwhile, for a process that is just starting and needs them until its end."""
    masked = _NOT_NEEDED not in sys.modules
    if masked:
        # What Python's import system offers for "there is no such module".
        sys.modules[_NOT_NEEDED] = None  # type: ignore[assignment]
    # All of it stays, so looking for what can go is in vain.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        if masked:
            del sys.modules[_NOT_NEEDED]
