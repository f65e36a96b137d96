"""Futures of calls: what ``concurrent.futures`` keeps of one is made when something looks for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import gc
import pickle
import threading
import weakref
from concurrent.futures import CancelledError, Future
from contextlib import suppress

import pytest

from flame_kernel.client.calls.futures import FlameFuture, Settled
from flame_kernel.client.calls.pipeline import Order
from flame_kernel.errors import LinkLost
from flame_kernel.protocol.calls import CallAnswer, Outcome

ANSWER = CallAnswer(Outcome.RESULT, 0, 1, ())


class Line:
    """Takes note of what is interrupted and hurried."""

    def __init__(self) -> None:
        self.completing = threading.RLock()
        self.interrupted: list[Order] = []
        self.hurried = 0

    def interrupt(self, order: Order) -> None:
        self.interrupted.append(order)

    def hurry(self) -> None:
        self.hurried += 1


class Answers:
    """Gives the same for each answer."""

    def __init__(self, settled: Settled) -> None:
        self.settled = settled

    def settle(self, answer: CallAnswer) -> Settled | None:
        return self.settled

    def show(self, answer: CallAnswer) -> None:
        raise AssertionError


def future_of(value: object = None, error: BaseException | None = None) -> FlameFuture:
    return FlameFuture(Answers((value, error)), Line())


def test_what_came_is_there_for_who_asks_before_and_after() -> None:
    before, after = future_of(5), future_of(6)
    seen: list[Future[int]] = []
    before.add_done_callback(seen.append)
    assert not before.done()
    assert not seen

    for future in (before, after):
        assert future.on_answer(ANSWER)
        assert future.done()
        assert not future.cancelled()
        assert not future.cancel()
    after.add_done_callback(seen.append)

    assert (before.result(), after.result()) == (5, 6)
    assert before.exception() is after.exception() is None
    assert seen == [before, after]


def test_an_exception_is_raised_each_time() -> None:
    for ask_first in (False, True):
        future = future_of(error=ValueError("no"))
        if ask_first:
            assert future.running() is False
            with pytest.raises(TimeoutError):
                future.result(0)
        future.on_answer(ANSWER)
        assert isinstance(future.exception(), ValueError)
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                future.result()


def test_an_exception_that_was_raised_does_not_keep_its_future_alive() -> None:
    gc.disable()
    try:
        future = future_of(error=ValueError("no"))
        future.on_answer(ANSWER)
        gone = weakref.ref(future)
        with suppress(ValueError):
            future.result()
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_a_future_is_known_to_whatever_waits_for_futures() -> None:
    settled, failed, late = future_of(1), future_of(error=KeyError("k")), future_of(2)
    settled.on_answer(ANSWER)
    failed.on_failed(LinkLost("gone"))

    done, pending = concurrent.futures.wait([settled, failed, late], timeout=0)
    assert (done, pending) == ({settled, failed}, {late})
    thread = threading.Thread(target=late.on_answer, args=(ANSWER,))
    thread.start()
    assert {*concurrent.futures.as_completed([settled, failed, late], timeout=20)} == {settled, failed, late}
    thread.join()
    assert isinstance(failed.exception(), LinkLost)
    assert "finished returned int" in repr(late)

    async def wrapped() -> object:
        other = future_of(3)
        waiting = asyncio.wrap_future(other)
        other.on_answer(ANSWER)
        return await waiting

    assert asyncio.run(wrapped()) == 3


def test_a_future_that_was_cancelled_stays_so_whatever_comes() -> None:
    for asked in (False, True):
        future = future_of(1)
        future.order = order = Order((), future, oneway=False)
        if asked:
            future.add_done_callback(lambda done: None)
        assert future.on_sent()
        assert future.running()
        assert future.cancel()
        assert not future.on_sent()
        assert future.on_answer(ANSWER)

        assert future.cancelled()
        assert future.done()
        with pytest.raises(CancelledError):
            future.result()
        assert future._line.interrupted == [order]  # type: ignore[attr-defined]


def test_threads_that_look_at_the_same_time_see_the_same() -> None:
    for _ in range(200):
        future = future_of(7)
        begin = threading.Barrier(4)
        found: list[object] = []

        def look(of: FlameFuture = future, begin: threading.Barrier = begin, found: list[object] = found) -> None:
            begin.wait(20)
            found.append(concurrent.futures.wait([of], timeout=20).done == {of} and of.result())

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        begin.wait(20)
        future.on_answer(ANSWER)
        for thread in threads:
            thread.join(20)
        assert found == [7, 7, 7]


def test_a_future_has_no_other_attributes_and_does_not_cross() -> None:
    future = future_of(1)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = future.nonsense  # type: ignore[attr-defined,unused-ignore]
    with pytest.raises(TypeError, match="cannot pickle"):
        pickle.dumps(future_of(1))
    future.on_answer(ANSWER)
    assert copy.copy(future).result() == 1
