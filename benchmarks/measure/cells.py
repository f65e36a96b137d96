"""Cells: from the request to the reply and idle status, with everything that was shown meanwhile taken in."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.effort import Effort
from benchmarks.subject import Subject
from benchmarks.timing import median_of, time_of

_PICTURE = """
import os
from IPython.display import Image, display
picture = Image(data=os.urandom(5_000_000), format="png")
"""
_SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(max=64)
"""


def nothing(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time a cell that does nothing."""
    kernel = subject.kernel
    kernel.cell("pass")
    return {"pass": median_of(lambda: kernel.cell("pass"), max(3, effort.calls // 10), effort.seconds) * 1e3}


def lines(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time a flood of output."""
    return {"lines": _timed(subject, "", "for i in range(10_000): print(i)")}


def picture(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time a picture of 5 MB."""
    return {"picture": _timed(subject, _PICTURE, "display(picture)")}


def widgets(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time 64 updates of a widget."""
    return {"widgets": _timed(subject, _SLIDER, "for i in range(64): slider.value = (slider.value + 1) % 64")}


def _timed(subject: Subject, before: str, code: str) -> float:
    kernel = subject.kernel
    kernel.cell(before)
    return time_of(lambda: kernel.cell(code)) * 1e3
