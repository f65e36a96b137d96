from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from flame_kernel.protocol.calls import Outcome
from flame_kernel.worker.streams import Sink
from tests.unit.worker.telling import Told


class Out:
    """What the kernel has as stdout: an object whose write method can be replaced."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def installed(monkeypatch: pytest.MonkeyPatch) -> Out:
    """Make it the process's stdout; in the test itself, since pytest puts its own there after the fixtures."""
    out = Out()
    monkeypatch.setattr(sys, "stdout", out)
    return out


def collecting() -> tuple[Sink, list[tuple[Outcome, str]]]:
    call = Told()
    return Sink(call), call.said


def test_what_a_call_prints_goes_to_its_caller_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    out = installed(monkeypatch)
    sink, got = collecting()
    sys.stdout.write("before\n")
    with sink:
        sys.stdout.write("during\n")
    sys.stdout.write("after\n")

    assert got == [(Outcome.STDOUT, "during\n")]
    assert out.text == "before\nafter\n"


def test_other_threads_print_where_they_always_did(monkeypatch: pytest.MonkeyPatch) -> None:
    out = installed(monkeypatch)
    sink, got = collecting()
    with sink:
        thread = threading.Thread(target=lambda: sys.stdout.write("other\n"))
        thread.start()
        thread.join()

    assert got == []
    assert out.text == "other\n"


def test_calls_on_two_threads_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    mine, got_mine = collecting()
    other, got_other = collecting()
    inside, done = threading.Event(), threading.Event()

    def call() -> None:
        with other:
            inside.set()
            done.wait(30)
            sys.stdout.write("other\n")

    thread = threading.Thread(target=call)
    thread.start()
    inside.wait(30)
    with mine:
        sys.stdout.write("mine\n")
    done.set()
    thread.join()

    assert got_mine == [(Outcome.STDOUT, "mine\n")]
    assert got_other == [(Outcome.STDOUT, "other\n")]


def test_lines_are_sent_whole_and_the_rest_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    sink, got = collecting()
    with sink:
        sys.stdout.write("a")
        sys.stdout.write("b\n")
        sys.stdout.write("progress\r")
        sys.stdout.write("rest")
        assert [text for _, text in got] == ["ab\n", "progress\r"]

    assert [text for _, text in got] == ["ab\n", "progress\r", "rest"]


def test_long_text_without_a_line_end_does_not_wait_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    sink, got = collecting()
    for _ in range(5000):
        sink.write(Outcome.STDERR, "x")

    assert sum(len(text) for _, text in got) >= 4096


def test_the_rest_is_sent_also_when_the_call_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    sink, got = collecting()
    with suppress(ValueError), sink:
        sys.stdout.write("rest")
        raise ValueError("no")

    assert got == [(Outcome.STDOUT, "rest")]


def test_what_is_not_text_is_refused_by_the_stream_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch)
    sink, got = collecting()
    with sink, pytest.raises(TypeError):
        sys.stdout.write(5)  # type: ignore[arg-type]

    assert got == []


class Untaught(Out):
    """A stream whose write method can't be replaced."""

    @property
    def write(self) -> Callable[[str], int]:  # type: ignore[override]
        return super().write


def test_a_stream_that_cannot_be_taught_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Untaught()
    monkeypatch.setattr(sys, "stdout", own)
    sink, got = collecting()
    with sink:
        sys.stdout.write("text\n")

    assert own.text == "text\n"
    assert got == []


def test_what_is_printed_with_a_calls_context_after_its_end_is_the_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    out = installed(monkeypatch)
    sink, got = collecting()
    with sink:
        context = contextvars.copy_context()
        context.run(sys.stdout.write, "during\n")
    context.run(sys.stdout.write, "after\n")

    assert got == [(Outcome.STDOUT, "during\n")]
    assert out.text == "after\n"
