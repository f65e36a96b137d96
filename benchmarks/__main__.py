"""``python -m benchmarks``: measure, and write the page; or write it again from the results of an earlier run."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.catalogue import BY_KEY, CATALOGUE
from benchmarks.conductor import Run
from benchmarks.effort import EFFORTS
from benchmarks.page import by_hand, replace_figures
from benchmarks.results import Results, load

_ROOT = Path(__file__).resolve().parents[1]
_BUILD = _ROOT / "build" / "bench"
_PAGE = _ROOT / "docs" / "performance.md"
_CHART = "images/performance.svg"


def main() -> None:
    """Measure and write."""
    arguments = _parser().parse_args()
    if arguments.render:
        results = load(arguments.results)
    else:
        results = _measured(arguments.peers, arguments.effort, arguments.results)
    from benchmarks.chart import draw  # matplotlib takes its time

    draw(results, arguments.page.parent / _CHART)
    replace_figures(arguments.page, _CHART, results)
    print(f"figures: {arguments.results}, page: {arguments.page}")
    if ours := [failure for failure in results.failures if BY_KEY[failure.peer].kind == "ours"]:
        sys.exit(f"Remote Flame did not work: {ours[0].what or 'start'}: {ours[0].error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Remote Flame beside its peers.")
    effort = parser.add_mutually_exclusive_group()
    for name, help_text in (("quick", "fewer rounds: under two minutes"), ("trial", "see that it works; no figures")):
        effort.add_argument(f"--{name}", action="store_const", dest="effort", const=name, help=help_text)
    parser.set_defaults(effort="full")
    known = ", ".join(BY_KEY)
    parser.add_argument("--peers", type=_peers, default=list(BY_KEY), metavar="KEYS", help=f"who takes part: {known}")
    parser.add_argument("--results", type=Path, default=_BUILD / "results.json", help="where the figures go")
    parser.add_argument("--page", type=_page, default=_PAGE, help="the page to put them into")
    parser.add_argument("--render", action="store_true", help="measure nothing; write the page from --results")
    return parser


def _peers(text: str) -> list[str]:
    keys = text.split(",")
    if unknown := [key for key in keys if key not in BY_KEY]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known are {', '.join(BY_KEY)}")
    return keys


def _page(text: str) -> Path:
    page = Path(text)
    try:
        by_hand(page)  # now, not after all has been measured
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return page


def _measured(peers: list[str], effort: str, path: Path) -> Results:
    assert effort in EFFORTS
    results = Results(_circumstances(), effort, peers)
    entries = [entry for entry in CATALOGUE if entry.key in peers]
    with Run(entries, results, path.parent / "logs", _report) as run:
        run.run()
    results.save(path)
    return results


def _circumstances() -> dict[str, str]:
    return {
        "on": f"{datetime.now(UTC):%Y-%m-%d}",
        "Python": platform.python_version(),
        "system": platform.system(),
        "cores": str(os.cpu_count()),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
