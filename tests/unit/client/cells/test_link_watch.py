"""The line that tells who waits that the link is lost, and that it's back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flame_kernel.client.cells.display import Silent
from flame_kernel.client.cells.link_watch import LinkWatch


class Clock:
    """Time that passes when it's told to, and what is to be done later."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], object]]] = []

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        self.due.append((self.now + seconds, function))

    def passes(self, seconds: float) -> None:
        self.now += seconds
        ready = [function for when, function in self.due if when <= self.now]
        self.due = [(when, function) for when, function in self.due if when > self.now]
        for function in ready:
            function()


class Lines(Silent):
    """Keeps the lines that it's told to show."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, bool]] = []

    def notice(self, text: str, display_id: str, update: bool) -> None:
        self.lines.append((text, display_id, update))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> LinkWatch:
    return LinkWatch(clock.later, lambda: clock.now)


LOST = "[flame] link to gpu1 lost, the session goes on …"


def test_a_loss_is_told_once_and_its_end_in_the_same_place(watch: LinkWatch, clock: Clock) -> None:
    shown = Lines()
    with watch.telling(shown):
        watch.changed(False, "gpu1")
        watch.changed(False, "gpu1")  # another attempt that failed
        clock.passes(1)
        clock.passes(11)
        watch.changed(True, "gpu1")
    (lost, display_id, first), (found, same_id, second) = shown.lines
    assert (lost, first, second) == (LOST, False, True)
    assert found == "[flame] link to gpu1 was lost; back after 12 s"
    assert display_id
    assert same_id == display_id


def test_a_cut_that_is_mended_at_once_is_none(watch: LinkWatch, clock: Clock) -> None:
    shown = Lines()
    with watch.telling(shown):
        watch.changed(False, "gpu1")
        clock.passes(0.5)
        watch.changed(True, "gpu1")
        clock.passes(5)
    assert shown.lines == []


def test_who_begins_to_wait_later_is_told_as_well_and_who_has_ended_is_not(watch: LinkWatch, clock: Clock) -> None:
    early, late = Lines(), Lines()
    with watch.telling(early):
        watch.changed(False, "gpu1")
    clock.passes(5)
    assert not watch.up
    assert watch.describe() == "lost 5 s ago; the session goes on"
    with watch.telling(late):
        assert [text for text, _, _ in late.lines] == [LOST]
        watch.changed(True, "gpu1")
    assert early.lines == []
    assert len(late.lines) == 2
    assert watch.describe() == "up"


def test_a_second_loss_is_another_line(watch: LinkWatch, clock: Clock) -> None:
    shown = Lines()
    with watch.telling(shown):
        for _ in range(2):
            watch.changed(False, "gpu1")
            clock.passes(2)
            watch.changed(True, "gpu1")
    assert [update for _, _, update in shown.lines] == [False, True, False, True]
    assert len({display_id for _, display_id, _ in shown.lines}) == 2
