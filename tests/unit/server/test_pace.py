from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from flame_kernel.server.pace import GATHER_S, Pace


class Loop:
    """An event loop whose time a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[asyncio.TimerHandle, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, call, (), self)  # type: ignore[arg-type]
        self.timers.append((timer, call))
        return timer

    def _timer_handle_cancelled(self, timer: asyncio.TimerHandle) -> None:
        self.timers = [entry for entry in self.timers if entry[0] is not timer]

    def get_debug(self) -> bool:
        return False

    def turn(self, seconds: float) -> None:
        self.now += seconds
        due = [entry for entry in self.timers if entry[0].when() <= self.now]
        self.timers = [entry for entry in self.timers if entry not in due]
        for _, call in due:
            call()


class Kept:
    """What waits to be sent, and what was sent together."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.pace = Pace(self._send, self.loop)  # type: ignore[arg-type]
        self.kept: list[str] = []
        self.sent: list[list[str]] = []

    def say(self, *outputs: str, patient: bool = True) -> None:
        for output in outputs:
            self.kept.append(output)
            self.pace.said(patient)

    def _send(self) -> None:
        self.sent.append(self.kept)
        self.kept = []


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_the_first_output_leaves_at_once_and_those_close_behind_it_together(kept: Kept) -> None:
    kept.say("1", "2", "3")
    assert kept.sent == [["1"]]

    kept.loop.turn(GATHER_S)

    assert kept.sent == [["1"], ["2", "3"]]
    assert not kept.loop.timers


def test_outputs_that_go_on_leave_once_for_each_span(kept: Kept) -> None:
    for _ in range(40):
        kept.say("x")
        kept.loop.turn(GATHER_S / 10)

    assert len(kept.sent) <= 4 + 1
    assert sum(map(len, kept.sent)) + len(kept.kept) == 40


def test_an_output_after_a_pause_leaves_at_once(kept: Kept) -> None:
    kept.say("1")
    kept.loop.turn(2 * GATHER_S)
    kept.say("2")

    assert kept.sent == [["1"], ["2"]]


def test_what_begins_or_ends_a_cell_never_waits_and_takes_along_what_does(kept: Kept) -> None:
    kept.say("1", "2")
    kept.say("idle", patient=False)

    assert kept.sent == [["1"], ["2", "idle"]]
    assert not kept.loop.timers


def test_nothing_is_sent_for_who_rests(kept: Kept) -> None:
    kept.say("1", "2")
    kept.pace.rest()
    kept.loop.turn(GATHER_S)

    assert kept.sent == [["1"]]
