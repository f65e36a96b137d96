"""How a call is interrupted: while it runs the user's code, and only then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flame_kernel.protocol.calls import Asked, Operation
from flame_kernel.serialize import Format
from flame_kernel.worker import running
from flame_kernel.worker.running import Call, Running, State

_ASKED = Asked(Operation.EVALUATE, Format.PICKLE, plain=False, oneway=False, rich=False)


class Caller:
    name = b"c" * 16


@pytest.fixture(autouse=True)
def each_interrupt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_AGAIN_AFTER_S", -1.0)


@pytest.fixture
def call() -> Call:
    return Call(Caller(), 7, _ASKED, [])  # type: ignore[arg-type]


def outcome_of(call: Call, work: Callable[[], object]) -> str:
    """Carry a call out as the worker does."""
    try:
        call.begin()
        work()
        call.end()
    except KeyboardInterrupt:
        call.state = State.ENDED
        try:  # noqa: SIM105  # to call suppress is where it may arrive as well
            call.end()
        except KeyboardInterrupt:
            pass
        return "interrupted"
    return "whole"


def spin(seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def in_thread(work: Callable[[], object]) -> Callable[[], Any]:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(work()), daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(30)
        assert got, "it has not ended"
        return got[0]

    return wait


def test_a_call_that_runs_is_interrupted(call: Call) -> None:
    begun = threading.Event()
    wait = in_thread(lambda: outcome_of(call, lambda: (begun.set(), spin())))
    begun.wait(10)
    assert call.interrupt()
    assert wait() == "interrupted"
    assert not call.interrupt()


def test_a_call_that_was_interrupted_before_it_began_does_not_run(call: Call) -> None:
    assert call.interrupt()
    assert outcome_of(call, lambda: pytest.fail("it ran")) == "interrupted"


def test_an_interrupt_waits_until_a_stretch_is_over_that_must_not_be_torn_apart(call: Call) -> None:
    inside, goes_on, whole = threading.Event(), threading.Event(), []

    def work() -> None:
        with call:
            inside.set()
            goes_on.wait(10)
            whole.append(True)
        pytest.fail("it went on")

    wait = in_thread(lambda: outcome_of(call, work))
    inside.wait(10)
    assert call.interrupt()
    goes_on.set()
    assert wait() == "interrupted"
    assert whole == [True]


def test_a_stretch_on_another_thread_is_no_matter_of_the_calls(call: Call) -> None:
    begun, inside, goes_on = threading.Event(), threading.Event(), threading.Event()

    def beside() -> str:
        with call:
            inside.set()
            goes_on.wait(10)
        return "whole"

    wait = in_thread(lambda: outcome_of(call, lambda: (begun.set(), spin())))
    begun.wait(10)
    other = in_thread(beside)
    inside.wait(10)
    assert call.interrupt()
    assert wait() == "interrupted"
    goes_on.set()
    assert other() == "whole"


def test_a_call_is_found_by_conversation_and_number(call: Call) -> None:
    calls = Running()
    assert not calls.interrupt(b"c" * 16, 7)
    calls.add(call)
    assert calls.interrupt(b"c" * 16, 7)
    assert not calls.interrupt(b"d" * 16, 7)
    calls.remove(call)
    assert not calls.interrupt(b"c" * 16, 7)


@pytest.fixture
def threads_change_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("threads_change_often")
def test_whenever_interrupts_come_they_hit_the_users_code_alone() -> None:
    """Calls one after the other, with stretches of both kinds, under a hail of interrupts."""
    now: list[Call | None] = [None]
    over = threading.Event()
    torn: list[str] = []

    def hail() -> None:
        while not over.is_set():
            call = now[0]
            if call is not None:
                call.interrupt()

    def users_code(call: Call, stretches: int) -> None:
        for _ in range(stretches):
            step = 0
            with call:
                try:
                    for step in range(20):  # noqa: B007
                        pass
                except KeyboardInterrupt:
                    torn.append("a stretch")
            if step != 19:
                torn.append("half a stretch")

    interrupter = threading.Thread(target=hail, daemon=True)
    interrupter.start()
    outcomes = {"interrupted": 0, "whole": 0}
    try:
        end = time.monotonic() + 1.0
        while time.monotonic() < end or not all(outcomes.values()):
            stretches = sum(outcomes.values()) % 4
            now[0] = call = Call(Caller(), 7, _ASKED, [])  # type: ignore[arg-type]
            try:
                outcomes[outcome_of(call, lambda call=call, n=stretches: users_code(call, n))] += 1  # type: ignore[misc]
                for _ in range(20):  # it stays the one that is interrupted, and nothing may come of it
                    pass
            except KeyboardInterrupt:
                torn.append("what follows a call")
    finally:
        over.set()
        interrupter.join(10)
    assert torn == []
