"""How a copy's progress is shown: a bar where somebody looks, and only if it takes a while."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from flame_kernel.client.files.copying import Meter

# A copy that ends sooner than this shows nothing, in seconds.
_AFTER_S = 0.5


class Bar(Meter):
    """A progress bar.

    Args:
        make: Makes tqdm's, given the number of bytes; it's made once that is known, so that none shows before its time.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make
        self._bar: Any = None

    def expect(self, count: int) -> None:
        """So many bytes are to be copied."""
        self.close()
        self._bar = self._make(count)

    def advance(self, count: int) -> None:
        """So many bytes more have arrived, or were there already."""
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        """Leave it as it stands."""
        if self._bar is not None:
            self._bar.close()


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
    bar = Bar(partial(_bar, tqdm, label, after))
    try:
        yield bar
    finally:
        bar.close()


def _bar(tqdm: Any, label: str, after: float, count: int) -> Any:
    return tqdm(total=count, desc=label, unit="B", unit_scale=True, unit_divisor=1024, delay=after)


def _somebody_looks() -> bool:
    ipython = sys.modules.get("IPython")
    in_notebook = ipython is not None and ipython.get_ipython() is not None
    return in_notebook or (sys.stderr is not None and sys.stderr.isatty())
