from __future__ import annotations

import io

import pytest

from flame_kernel.worker.publishing import spare


class Out:
    """What an ipykernel's stream says of itself."""

    def __init__(self) -> None:
        self._flush_pending = False
        self._subprocess_flush_pending = False
        self.flushed = 0

    def flush(self) -> None:
        self.flushed += 1


def test_a_flush_does_nothing_while_nothing_waits() -> None:
    out = Out()
    spare(out)
    out.flush()
    assert out.flushed == 0


@pytest.mark.parametrize("what", ["_flush_pending", "_subprocess_flush_pending"])
def test_what_waits_is_flushed(what: str) -> None:
    out = Out()
    spare(out)
    setattr(out, what, True)
    out.flush()
    assert out.flushed == 1


def test_a_stream_that_does_not_say_what_waits_is_left_as_it_is() -> None:
    stream = io.StringIO()
    flush = stream.flush
    spare(stream)
    assert stream.flush == flush
