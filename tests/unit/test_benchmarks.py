"""What the benchmarks make of their figures: ratios, targets, tables. How figures come about is tested by a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.catalogue import BY_KEY, CATALOGUE
from benchmarks.measure import ALL, ROWS_OF
from benchmarks.page import BEGIN, END, figures, replace_figures, shown
from benchmarks.results import Failure, Results, load
from benchmarks.rows import BEST, ROWS, Row, Target
from benchmarks.verdict import best_peer, verdict

TIME = Row("call", "a call", "µs")
RATE = Row("put_bytes", "bytes there", "MB/s", more=True)


@pytest.fixture
def results() -> Results:
    results = Results({"on": "a day"}, "full", list(BY_KEY), 3, {"b": "2", "a": "1"})
    given = {
        "call": {"flame": [90.0, 100.0, 500.0], "pyzmq-curve": [80.0], "rpyc": [200.0], "pyro5": [125.0]},
        "raise": {"flame": [130.0]},
        "put_bytes": {"flame": [300.0], "flame-unix": [450.0], "dask": [500.0], "pyro4": [250.0]},
        "connect": {"flame": [10.0]},
    }
    for row, by_peer in given.items():
        for peer, samples in by_peer.items():
            for sample in samples:
                results.note(row, peer, sample)
    results.failures = [
        Failure("zerorpc", "", "ImportError: no | such thing"),
        Failure("rpyc", "bytes", "OSError: <it>"),
    ]
    return results


@pytest.mark.parametrize(
    ("row", "target", "ratio", "met"),
    [
        (TIME, Target(1.25, "pyzmq-curve"), 1.25, True),
        (TIME, Target(1.2, "pyzmq-curve"), 1.25, False),
        (TIME, Target(0.8, BEST), 0.8, True),
        (RATE, Target(0.6, BEST), 0.6, True),
        (RATE, Target(0.7, BEST), 0.6, False),
        (RATE, Target(1.2, BEST, but=("dask",)), 1.2, True),
        (RATE, Target(0.9, BEST, ours="flame-unix"), 0.9, True),
        (Row("raise", "", "µs"), Target(1.3, "flame", "call"), 1.3, True),
        (Row("connect", "", "ms"), Target(10.0), 10.0, True),
        (Row("connect", "", "ms"), Target(9.0), 10.0, False),
        (TIME, Target(1.0, "execnet"), None, False),
        (TIME, Target(1.0, BEST, ours="flame-unix"), None, False),
        (Row("start", "", "ms"), Target(1.0, BEST), None, False),
    ],
)
def test_target_is_held_against_the_medians(
    results: Results, row: Row, target: Target, ratio: float | None, met: bool
) -> None:
    found = verdict(results, row, target)
    assert found.ratio == pytest.approx(ratio)
    assert found.met is met


def test_best_peer_is_neither_a_floor_nor_ourselves(results: Results) -> None:
    assert best_peer(results, TIME) == "pyro5"
    assert best_peer(results, RATE) == "dask"
    assert best_peer(results, Row("raise", "", "µs")) is None


def test_tables_have_everyone_with_ratios_dashes_and_errors(results: Results) -> None:
    page = figures(results, "chart.svg")
    assert "| a call | 100 µs | 125 (Pyro5, msgpack) | 0.80 | 80.0 | 1.25 |" in page
    assert "| pyzmq with CURVE | 80.0 (0.80) | \N{EN DASH} |" in page
    assert "| RPyC, tuned | failed |" in page  # the group of bytes
    assert "| zerorpc | ImportError: no \\| such thing |" in page
    assert "- RPyC, tuned, bytes: OSError: &lt;it>" in page
    assert "With a 1, b 2." in page
    assert "A full run: on a day; rounds 3." in page


def test_page_keeps_what_is_written_by_hand(tmp_path: Path, results: Results) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"one\n{BEGIN}\nold\n{END}\ntwo\n")
    replace_figures(page, "chart.svg", results)
    first = page.read_text()
    assert first.startswith("one\n")
    assert first.endswith("two\n")
    assert "old" not in first
    replace_figures(page, "chart.svg", results)
    assert page.read_text() == first
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no line"):
        replace_figures(page, "chart.svg", results)


def test_the_project_s_own_page_has_its_marks(tmp_path: Path, results: Results) -> None:
    page = tmp_path / "page.md"
    page.write_text((Path(__file__).parents[2] / "docs" / "performance.md").read_text("utf-8"), "utf-8")
    replace_figures(page, "images/performance.svg", results)


def test_results_are_the_same_when_they_are_read_again(tmp_path: Path, results: Results) -> None:
    results.save(tmp_path / "deep" / "results.json")
    assert load(tmp_path / "deep" / "results.json") == results


@pytest.mark.parametrize(
    ("figure", "text"),
    [(None, "\N{EN DASH}"), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (123456.0, "123,000")],
)
def test_figures_have_three_digits_that_count(figure: float | None, text: str) -> None:
    assert shown(figure) == text


def test_measurements_rows_and_targets_fit_together() -> None:
    keys = {row.key for row in ROWS}
    assert len(keys) == len(ROWS)
    assert {row for name in ALL for row in ROWS_OF[name]} == keys
    for row in ROWS:
        for target in row.targets:
            assert target.of in {"", BEST, *BY_KEY}
            assert BY_KEY[target.ours].kind == "ours"
            assert target.row in {"", *keys}
    assert len(BY_KEY) == len(CATALOGUE)
