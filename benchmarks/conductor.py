"""The run: every measurement with each peer in turn, round after round."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.answers import Absent, Answer, Failed, Figures, Ready
from benchmarks.catalogue import OURS, Entry
from benchmarks.effort import EFFORTS
from benchmarks.measure import AT_LAST, FIRST, IN_TURNS, ONCE_A_ROUND
from benchmarks.processes import MARK, end_family
from benchmarks.results import Failure, Results

Report = Callable[[str], None]

# How long a peer may take to end before it is ended, in seconds.
_FAREWELL_S = 10.0


class Runner:
    """A peer's process, seen from the conductor.

    Args:
        entry: The peer.
        effort: The name of the effort.
        logs: The folder for what it prints.
    """

    def __init__(self, entry: Entry, effort: str, logs: Path) -> None:
        self.key = entry.key
        self.gone = False
        self._mark = uuid.uuid4().hex
        self._folder = tempfile.mkdtemp(prefix="fb-")  # short, because unix sockets are in it
        self._pipe: Any
        self._pipe, theirs = Pipe()
        command = [sys.executable, "-m", "benchmarks.runner", entry.key, effort, self._folder, str(theirs.fileno())]
        with theirs, open(logs / f"{entry.key}.log", "wb") as log:
            self._process = subprocess.Popen(
                command,
                env={**_clean_environ(), MARK: self._mark},
                cwd=Path(__file__).parents[1],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def measure(self, name: str, patience_s: float) -> Answer:
        """Ask for a measurement and wait for it."""
        with suppress(BrokenPipeError):  # reading says it as well
            self._pipe.send(name)
        return self.answer(patience_s)

    def answer(self, patience_s: float) -> Answer:
        """Wait for an answer; a peer that gives none is ended."""
        try:
            if self._pipe.poll(patience_s):
                answer: Answer = self._pipe.recv()
                return answer
            error = f"no answer within {patience_s:g} s"
        except (EOFError, ConnectionError):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL_S)
            error = f"its process ended with status {self._process.returncode}"
        self.end(0)
        return Failed(error)

    def dismiss(self) -> None:
        """Let the peer end by itself."""
        self.gone = True
        self._pipe.close()

    def end(self, farewell_s: float = _FAREWELL_S) -> None:
        """End the peer and whatever it has started, and has left behind."""
        self.dismiss()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(farewell_s)
        end_family(self._mark)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Run:
    """A run of the benchmarks; a context manager that leaves no process behind.

    Args:
        entries: Who takes part.
        results: Where figures and failures are noted; they say with how much effort.
        logs: The folder for what the peers print.
        report: Told what goes on.
    """

    def __init__(self, entries: Sequence[Entry], results: Results, logs: Path, report: Report) -> None:
        self._entries = entries
        self._effort = EFFORTS[results.effort]
        self._results = results
        self._logs = logs
        self._report = report
        self._runners: list[Runner] = []

    def __enter__(self) -> Run:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end(self._runners)

    def run(self) -> None:
        """Make all measurements."""
        begun = time.monotonic()
        self._start()
        self._report(f"{len(self._runners)} of {len(self._entries)} are up after {time.monotonic() - begun:.0f} s")
        longest = 0.0
        for number in range(self._effort.rounds):
            now = time.monotonic()
            if number and now - begun + longest > self._effort.budget_s:
                self._report("no time is left for another round")
                break
            self._round(number)
            longest = max(longest, time.monotonic() - now)
            self._results.rounds = number + 1
            self._report(f"round {number + 1} of {self._effort.rounds}: {time.monotonic() - now:.0f} s")
        self._finish()
        self._report(f"measured in {time.monotonic() - begun:.0f} s")

    def _round(self, number: int) -> None:
        turns = self._effort.turns
        first = number * turns
        several = ((first + turn, IN_TURNS) for turn in range(turns))
        for place, names in ((first, FIRST), *several, (first, ONCE_A_ROUND)):
            for name in names:
                self._measure(name, self._in_turn(place), self._effort.patience_s)

    def _start(self) -> None:
        self._runners = [Runner(entry, self._results.effort, self._logs) for entry in self._entries]
        for runner in list(self._runners):
            answer = runner.answer(self._effort.patience_s)
            if isinstance(answer, Ready):
                self._results.versions.update(answer.versions)
            elif isinstance(answer, Failed):
                self._drop(runner, "", answer.error)

    def _finish(self) -> None:
        """Make the last measurements, which are of Remote Flame alone, when nobody else is left."""
        others = [runner for runner in self._runners if runner.key != OURS]
        self._runners = [runner for runner in self._runners if runner.key == OURS]
        self._end(others)
        for name in AT_LAST:
            self._measure(name, self._runners, self._effort.last_s)

    def _end(self, runners: Sequence[Runner]) -> None:
        for runner in runners:
            runner.dismiss()
        for runner in runners:
            runner.end()

    def _in_turn(self, number: int) -> list[Runner]:
        """Return the peers, each turn beginning with another, so that nobody always follows the same."""
        begin = number * 5 % max(1, len(self._runners))
        return self._runners[begin:] + self._runners[:begin]

    def _measure(self, name: str, runners: Iterable[Runner], patience_s: float) -> None:
        for runner in list(runners):
            if runner.gone:
                continue
            answer = runner.measure(name, patience_s)
            if isinstance(answer, Figures):
                for row, figure in answer.figures.items():
                    self._results.note(row, runner.key, figure)
            elif isinstance(answer, Failed):
                self._drop(runner, name, answer.error)
            else:
                assert isinstance(answer, Absent)

    def _drop(self, runner: Runner, what: str, error: str) -> None:
        failure = Failure(runner.key, what, error)
        if failure not in self._results.failures:
            self._results.failures.append(failure)
            self._report(f"{runner.key}: {what or 'can not be measured'}: {error}")
        if not what:
            runner.end()
        if runner.gone:
            self._runners.remove(runner)


def _clean_environ() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FLAME_", "JPY_"))}
    # Installed packages are compiled, everybody's: else what is measured of a start is Python's compiler.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**kept, "PYTHONUNBUFFERED": "1"}
