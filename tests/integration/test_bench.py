"""``make bench`` from end to end, as little of it as there can be: that it works, not how fast anything is."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest

from benchmarks.answers import Failed
from benchmarks.catalogue import BY_KEY
from benchmarks.conductor import Runner
from benchmarks.page import BEGIN, END
from benchmarks.results import Results, load
from benchmarks.rows import ROWS

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "benchmarks"]
PEERS = ["flame", "pyzmq-curve", "pyzmq", "rpyc", "pyro5"]

CALLS = {"call", "evaluate", "raise", "echo", "clients", "connect", "import"}
BULK = {"put_bytes", "get_bytes", "put_array", "get_array"}
CELLS = {"pass", "lines", "picture", "widgets"}
OF_FLAME = {*CELLS, "start", "connect_new", "help", "cpu_1", "server_1", "session"}
OF_FLAME |= {"crowd_1", "size_100", "size_10000"}
OF_FLAME |= {"journal_1000000", "journal_server_1000000", "unseen_1000000"}


def left_running(mark: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BENCH_TEST") == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def broken(package: str, folder: Path, code: str) -> Path:
    """Make a package that is found before the one that is installed, if it is."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of our own server, the floors, a peer, and a peer that does not work leaves."""
    folder = tmp_path_factory.mktemp("bench")
    mark = uuid.uuid4().hex
    shadow = broken("Pyro5", folder / "shadow", "raise ImportError('nothing for this | Python')")
    (folder / "performance.md").write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    arguments = ["--results", str(folder / "results.json"), "--page", str(folder / "performance.md")]
    run = subprocess.run(
        [*COMMAND, "--trial", "--peers", ",".join(PEERS), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(shadow), "BENCH_TEST": mark},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert left_running(mark) == []
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return load(folder / "results.json")


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "performance.md").read_text("utf-8")


def rows_of(results: Results, peer: str) -> set[str]:
    return {row for row, figures in results.samples.items() if peer in figures}


def test_everyone_who_works_has_a_figure_wherever_there_is_something_to_measure(results: Results) -> None:
    assert rows_of(results, "flame") >= CALLS | BULK | OF_FLAME
    assert rows_of(results, "pyzmq") == CALLS | BULK | {"pipeline", "batch"}
    assert rows_of(results, "pyzmq-curve") == rows_of(results, "pyzmq") | CELLS
    assert rows_of(results, "rpyc") == CALLS | BULK | {"pipeline", "iterate"}
    assert set(results.samples) <= {row.key for row in ROWS}
    # What is below a clock's resolution, or a machine's noise, may come out as nothing.
    noisy = {"cpu_1", "import"}
    figures = {row: by_peer for row, by_peer in results.samples.items() if row not in noisy}
    assert all(figure > 0 for by_peer in figures.values() for samples in by_peer.values() for figure in samples)


def test_what_is_quick_is_measured_in_several_turns(results: Results) -> None:
    assert results.rounds == 1
    rows = ("call", "widgets", "connect", "start", "help")
    assert [len(results.samples[row]["flame"]) for row in rows] == [2, 2, 2, 1, 1]


def test_what_does_not_work_is_in_the_table_with_its_error(results: Results, page: str) -> None:
    assert [(failure.peer, failure.what) for failure in results.failures] == [("pyro5", "")]
    assert results.failures[0].error == "ImportError: nothing for this | Python"
    assert "| Pyro5, msgpack | ImportError: nothing for this \\| Python |" in page


def test_figures_stand_between_the_marks_of_the_page(page: str, folder: Path) -> None:
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert "old" not in page
    for title in ("Calls", "Bulk", "Cells", "Starts", "Scale", "What did not work"):
        assert f"\n## {title}\n" in page
    assert "| a call | " in page
    assert "pyzmq with CURVE | **missed: " in page or "pyzmq with CURVE | met" in page
    assert "(images/performance.svg)" in page
    assert "RPyC, tuned" in (folder / "images" / "performance.svg").read_text("utf-8")


def test_page_is_made_again_without_measuring(page: str, folder: Path) -> None:
    command = [*COMMAND, "--render", "--results", str(folder / "results.json")]
    subprocess.run([*command, "--page", str(folder / "performance.md")], cwd=ROOT, check=True, capture_output=True)
    assert (folder / "performance.md").read_text("utf-8") == page


WITH_A_CHILD = """
import os, subprocess, sys, threading
subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"], start_new_session=True)
"""


@pytest.mark.parametrize(
    ("code", "patience_s", "error"),
    [
        ("threading.Event().wait()", 3.0, "no answer within 3 s"),
        ("os._exit(3)", 30.0, "its process ended with status 3"),
    ],
    ids=["hangs", "dies"],
)
def test_peer_that_hangs_or_dies_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, patience_s: float, error: str
) -> None:
    mark = uuid.uuid4().hex
    monkeypatch.setenv("PYTHONPATH", str(broken("Pyro4", tmp_path, WITH_A_CHILD + code)))
    monkeypatch.setenv("BENCH_TEST", mark)
    runner = Runner(BY_KEY["pyro4"], "trial", tmp_path)
    assert runner.answer(patience_s) == Failed(error)
    assert runner.gone
    assert left_running(mark) == []


def test_unknown_peer_is_refused_with_those_that_are_known() -> None:
    run = subprocess.run([*COMMAND, "--peers", "flame,nobody"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "unknown: nobody; known are flame, " in run.stderr


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("no marks", "has no line")])
def test_a_page_that_can_t_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, content: str | None, said: str
) -> None:
    page = tmp_path / "page.md"
    if content is not None:
        page.write_text(content)
    command = [*COMMAND, "--trial", "--page", str(page)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 2
    assert said in run.stderr
    assert "are up after" not in run.stderr
