"""Calls: small things there and back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from benchmarks.effort import Effort
from benchmarks.peer import Peer
from benchmarks.subject import Subject
from benchmarks.timing import median_of, rate_of

_KIBIBYTE = os.urandom(1024)

# So many items are as little as a call.
_ITEMS = 20


def call(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time calls of a function."""
    client = subject.client
    assert round(client.call()) == 22, "math.sqrt(500) came out wrong"
    return {"call": median_of(client.call, effort.calls, effort.seconds) * 1e6}


def evaluate(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time expressions."""
    client = subject.client
    assert client.evaluate("2 ** 10") == 1024, "2 ** 10 came out wrong"
    return {"evaluate": median_of(lambda: client.evaluate("2 ** 10"), effort.calls, effort.seconds) * 1e6}


def fail(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time exceptions of the far side."""
    client = subject.client

    def attempt() -> None:
        try:
            client.evaluate("1 // 0")
        except client.errors:
            return
        raise AssertionError("1 // 0 did not raise")

    return {"raise": median_of(attempt, effort.calls, effort.seconds) * 1e6}


def echo(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time 1 KB there and back."""
    client = subject.client
    assert bytes(client.echo(_KIBIBYTE)) == _KIBIBYTE, "the echo differs"
    return {"echo": 1 / median_of(lambda: client.echo(_KIBIBYTE), effort.calls, effort.seconds)}


def clients(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Count the echoes of several clients."""
    subject.client.echo(_KIBIBYTE)
    return {"clients": echoes_of(subject.peer, effort.clients, effort)}


def pipeline(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Count calls that don't wait for each other."""
    return {"pipeline": rate_of(subject.client.pipeline, effort.burst, effort.seconds)}


def batch(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Count calls in one message."""
    return {"batch": rate_of(subject.client.batch, effort.burst, effort.seconds)}


def iterate(subject: Subject, effort: Effort) -> Mapping[str, float]:
    """Time the items of a generator."""
    client = subject.client

    def items(count: int) -> None:
        assert client.iterate(count) == count, "items are missing"

    return {"iterate": 1e6 / rate_of(items, _ITEMS * effort.burst, effort.seconds)}


def echoes_of(peer: Peer, clients: int, effort: Effort) -> float:
    """Return how many echoes of 1 KB a second several clients have together, on a thread each."""
    together = threading.Barrier(clients)
    seconds = max(effort.seconds, 0.1)

    def work() -> tuple[int, float]:
        client = peer.connect()
        try:
            client.echo(_KIBIBYTE)
            together.wait(effort.patience_s)
            count, begun = 0, time.perf_counter()
            while (taken := time.perf_counter() - begun) < seconds:
                client.echo(_KIBIBYTE)
                count += 1
            together.wait(effort.patience_s)  # nobody's farewell shall cost the others time
            return count, taken
        except BaseException:
            together.abort()
            raise
        finally:
            client.close()

    with ThreadPoolExecutor(clients) as pool:
        done = list(pool.map(lambda _: work(), range(clients)))
    return sum(count for count, _ in done) / max(taken for _, taken in done)
