from __future__ import annotations

import asyncio
import threading

import pytest

from flame_kernel.cluster.members import labels, on_thread
from flame_kernel.errors import SessionError


@pytest.mark.parametrize(
    ("targets", "called"),
    [
        (["gpu1", "gpu2:9000"], ["gpu1", "gpu2"]),
        (["gpu1:1", "gpu1:2", "gpu2:1"], ["gpu1:1", "gpu1:2", "gpu2"]),
        (["flame://gpu1:9999/#c2VjcmV0", "ssh://ann@gpu2"], ["gpu1", "gpu2"]),
        (["[::1]:9999", "embedded"], ["[::1]", "embedded"]),
    ],
)
def test_hosts_are_called_by_their_names_where_that_tells_them_apart(targets: list[str], called: list[str]) -> None:
    assert labels(targets) == called


@pytest.mark.parametrize("targets", [["gpu1", "gpu1"], ["gpu1", "ssh://gpu1"], ["gpu1:2", "gpu1:2", "gpu2"]])
def test_a_host_that_is_named_twice_is_refused(targets: list[str]) -> None:
    with pytest.raises(SessionError, match="is named twice; workers_per_host="):
        labels(targets)


async def test_blocking_work_is_waited_for_and_its_error_raised() -> None:
    assert await on_thread(lambda: threading.current_thread().daemon)

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await on_thread(fail)


async def test_work_that_nobody_waits_for_any_more_ends_unheard() -> None:
    gate, done = threading.Event(), threading.Event()

    def slow() -> None:
        gate.wait(20)
        done.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(on_thread(slow), 0.01)
    gate.set()
    assert await asyncio.to_thread(done.wait, 20)
    await asyncio.sleep(0)  # what it would say comes to nothing
