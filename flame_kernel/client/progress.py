"""How a copy's progress is shown: a bar where somebody looks, and only if it takes a while."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flame_kernel.client.copying import Meter

# A copy that ends sooner than this shows nothing, in seconds.
_AFTER_S = 0.5


class Bar(Meter):
    """A progress bar.

    Args:
        bar: tqdm's.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def expect(self, count: int) -> None:
        """So many bytes are to be copied."""
        self._bar.reset(count)

    def advance(self, count: int) -> None:
        """So many bytes more have arrived, or were there already."""
        self._bar.update(count)


@contextmanager
def meter(label: str, progress: bool | None) -> Iterator[Meter]:
    """Give a meter.

    Args:
        label: What is copied.
        progress: Whether it's shown; ``None`` where there's a notebook or a terminal.
    """
    if not (_somebody_looks() if progress is None else progress):
        yield Meter()
        return
    from tqdm.auto import tqdm  # only here: it takes as long to load as all the rest

    after = _AFTER_S if progress is None else 0.0
    with tqdm(desc=label, unit="B", unit_scale=True, unit_divisor=1024, delay=after) as bar:
        yield Bar(bar)


def _somebody_looks() -> bool:
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and ipython.get_ipython() is not None
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())
