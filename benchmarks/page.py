"""docs/performance.md: the part between its two marks is made of a run's results; the rest is written by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.catalogue import BY_KEY, CATALOGUE, FLOOR, OURS
from benchmarks.measure import ROWS_OF
from benchmarks.results import Results
from benchmarks.rows import GROUPS, ROWS, Group, Row
from benchmarks.verdict import Verdict, best_peer, verdict

BEGIN = "<!-- figures: made by `make bench`, not by hand -->"
END = "<!-- end of figures -->"

_NONE = "\N{EN DASH}"


def replace_figures(page: Path, chart: str, results: Results) -> None:
    """Put new figures into the page.

    Args:
        page: The page, with both marks.
        chart: The chart's path from the page's folder.
        results: The run's.

    Raises:
        ValueError: It has not both marks.
    """
    before, after = by_hand(page)
    page.write_text(f"{before}{BEGIN}\n\n{figures(results, chart)}\n{END}{after}", "utf-8")


def by_hand(page: Path) -> tuple[str, str]:
    """Return what is written by hand, before the figures and after them.

    Raises:
        ValueError: It has not both marks.
    """
    before, begin, rest = page.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no line {BEGIN!r} or no line {END!r} after it")
    return before, after


def figures(results: Results, chart: str) -> str:
    """Return the figures in Markdown."""
    parts = [
        _made(results),
        "## Remote Flame against the best peer and the floor",
        "A ratio is our figure by theirs. Where time or memory is measured it should be small, where a rate is, large.",
        "\n".join(_summary(results)),
        f"![Remote Flame and its peers: how fast each is, Remote Flame being 1]({chart})",
    ]
    for group in GROUPS:
        if any(row.key in results.samples for row in group.rows):
            parts += [f"## {group.title}", group.text, "\n".join(_everyone(results, group))]
    if results.failures:
        parts += ["## What did not work", "\n".join(_failures(results))]
    return "\n\n".join(parts) + "\n"


def shown(figure: float | None) -> str:
    """Return a figure with three digits that count."""
    if figure is None:
        return _NONE
    if abs(figure) >= 1000:
        return f"{float(f'{figure:.3g}'):,.0f}"
    return f"{figure:.0f}" if abs(figure) >= 100 else f"{figure:.1f}" if abs(figure) >= 10 else f"{figure:.2f}"


def _made(results: Results) -> str:
    facts = "; ".join(f"{word} {value}" for word, value in results.made.items())
    versions = ", ".join(f"{name} {version}" for name, version in sorted(results.versions.items(), key=_by_name))
    return f"A {results.effort} run: {facts}; rounds {results.rounds}.\n\nWith {versions}."


def _by_name(item: tuple[str, str]) -> str:
    return item[0].lower()


def _summary(results: Results) -> Iterator[str]:
    yield "| | Remote Flame | best peer | ratio | floor | ratio | target | reached |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in ROWS:
        if row.key not in results.samples:
            continue
        for ours in _ours_in(row):
            verdicts = [verdict(results, row, target) for target in row.targets if target.ours == ours]
            figure = results.figure(row.key, ours)
            cells = [
                row.title if ours == OURS else f"{row.title}, unix socket",
                _with_unit(figure, row),
                *_beside(results, row, figure, best_peer(results, row), name=True),
                *_beside(results, row, figure, FLOOR if ours == OURS else None, name=False),
                "<br>".join(one.text for one in verdicts),
                "<br>".join(_said(one) for one in verdicts),
            ]
            yield f"| {' | '.join(cells)} |"


def _ours_in(row: Row) -> list[str]:
    return [OURS, *dict.fromkeys(target.ours for target in row.targets if target.ours != OURS)]


def _beside(results: Results, row: Row, ours: float | None, key: str | None, *, name: bool) -> tuple[str, str]:
    theirs = results.figure(row.key, key) if key else None
    if key is None or theirs is None:
        return "", ""
    figure = f"{shown(theirs)} ({BY_KEY[key].title})" if name else shown(theirs)
    return figure, f"{ours / theirs:.2f}" if ours is not None and theirs else ""


def _said(verdict: Verdict) -> str:
    if verdict.ratio is None:
        return "not measured"
    return "met" if verdict.met else f"**missed: {shown(verdict.ratio)}**"


def _with_unit(figure: float | None, row: Row) -> str:
    if figure is None:
        return _NONE
    return f"{shown(figure)}{'' if row.unit == '/s' else ' '}{row.unit}"


def _everyone(results: Results, group: Group) -> Iterator[str]:
    """A line for each that takes part, a column for each row; ratios to Remote Flame in brackets."""
    rows = [row for row in group.rows if row.key in results.samples]
    if all(set(results.samples[row.key]) == {OURS} for row in rows):
        yield "| | Remote Flame |"
        yield "|---|---|"
        yield from (f"| {row.title} | {_with_unit(results.figure(row.key, OURS), row)} |" for row in rows)
        return
    heads = [f"{row.title}, {row.unit}" if row.unit != "/s" else f"{row.title} /s" for row in rows]
    yield f"| | {' | '.join(heads)} |"
    yield "|---" * (len(rows) + 1) + "|"
    for entry in CATALOGUE:
        if entry.key in results.peers and _has_any(results, entry.key, rows):
            yield f"| {entry.title} | {' | '.join(_cell(results, row, entry.key) for row in rows)} |"
        elif error := _could_not_start(results, entry.key):
            yield f"| {entry.title} | {error} |{' |' * (len(rows) - 1)}"


def _has_any(results: Results, key: str, rows: Iterable[Row]) -> bool:
    return any(results.figure(row.key, key) is not None or _failed(results, row, key) for row in rows)


def _could_not_start(results: Results, key: str) -> str:
    return next((_escaped(one.error) for one in results.failures if one.peer == key and not one.what), "")


def _failed(results: Results, row: Row, key: str) -> bool:
    return any(one.peer == key and row.key in ROWS_OF.get(one.what, ()) for one in results.failures)


def _cell(results: Results, row: Row, key: str) -> str:
    figure, ours = results.figure(row.key, key), results.figure(row.key, OURS)
    if figure is None:
        return "failed" if _failed(results, row, key) else _NONE
    return shown(figure) if key == OURS or not ours else f"{shown(figure)} ({figure / ours:.2f})"


def _failures(results: Results) -> Iterator[str]:
    for one in results.failures:
        yield f"- {BY_KEY[one.peer].title}{f', {one.what}' if one.what else ''}: {_escaped(one.error)}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
