"""The chart: how fast everyone is, Remote Flame being 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.catalogue import BY_KEY, CATALOGUE, FLOOR, OURS
from benchmarks.results import Results
from benchmarks.rows import GROUPS, Row

_ROWS = tuple(row for group in GROUPS[:3] for row in group.rows) + GROUPS[3].rows[:1] + GROUPS[3].rows[2:3]
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "flame",  # the same figures give the same file
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": "#888888",
}
_INK = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22")


def draw(results: Results, path: Path) -> None:
    """Draw the chart as SVG.

    Args:
        results: The run's.
        path: Where to put it.
    """
    rows = [row for row in _ROWS if results.figure(row.key, OURS)]
    others = [entry for entry in CATALOGUE if entry.key in results.peers and entry.kind == "peer"]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.5, 1.4 + 0.3 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(1, color="#d62728", linewidth=2, label="Remote Flame", zorder=1)
        axes.scatter(
            *_points(results, rows, FLOOR), marker="|", s=160, color="#333333", label=BY_KEY[FLOOR].title, zorder=2
        )
        for entry, ink in zip(others, _INK, strict=False):
            axes.scatter(*_points(results, rows, entry.key), s=34, color=ink, label=entry.title, zorder=3, alpha=0.85)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_yticks(range(len(rows)), [row.title.replace("`", "") for row in rows])
        axes.invert_yaxis()
        axes.grid(axis="both", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("slower  ←  speed, Remote Flame being 1  →  faster")
        figure.legend(loc="outside upper center", ncols=5, frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None}, facecolor="white")


def _points(results: Results, rows: list[Row], key: str) -> tuple[list[float], list[int]]:
    """Return a peer's speeds relative to ours, and the lines on which they stand."""
    speeds, lines = [], []
    for line, row in enumerate(rows):
        theirs, ours = results.figure(row.key, key), results.figure(row.key, OURS)
        if theirs and ours:
            speeds.append(theirs / ours if row.more else ours / theirs)
            lines.append(line)
    return speeds, lines
