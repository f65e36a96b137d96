"""A target beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.catalogue import BY_KEY, OURS
from benchmarks.results import Results
from benchmarks.rows import BEST, PEERS, Row, Target

_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Verdict:
    """How a target fared.

    Attributes:
        text: The target, for people.
        ratio: What was reached; ``None`` if something that it needs was not measured.
        met: Whether that is enough.
    """

    text: str
    ratio: float | None
    met: bool


def verdict(results: Results, row: Row, target: Target) -> Verdict:
    """Return how a target of a row fared."""
    ours = results.figure(row.key, target.ours)
    sign = "≥" if row.more else "≤"
    if not target.of:
        text = f"{sign} {target.bound:g} {row.unit}"
        return Verdict(text, ours, _met(row, target, ours))
    text = f"{sign} {target.bound:g} {_TIMES} {_whose(row, target)}"
    theirs = _reference(results, row, target)
    ratio = ours / theirs if ours is not None and theirs else None
    return Verdict(text, ratio, _met(row, target, ratio))


def best_peer(results: Results, row: Row, but: tuple[str, ...] = ()) -> str | None:
    """Return the key of the best peer in a row."""
    figures = {key: results.figure(row.key, key) for key in PEERS if key not in but}
    return row.best({key: figure for key, figure in figures.items() if figure is not None})


def _reference(results: Results, row: Row, target: Target) -> float | None:
    who = best_peer(results, row, target.but) if target.of == BEST else target.of
    return results.figure(target.row or row.key, who) if who else None


def _whose(row: Row, target: Target) -> str:
    if target.of == BEST:
        return BEST + "".join(f" but {BY_KEY[key].title}" for key in target.but)
    if target.of == OURS:
        return "our own call"
    return BY_KEY[target.of].title


def _met(row: Row, target: Target, reached: float | None) -> bool:
    if reached is None:
        return False
    return reached >= target.bound if row.more else reached <= target.bound
