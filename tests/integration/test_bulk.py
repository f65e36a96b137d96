"""Large values and files: nobody on their way needs memory for more of them than a window; they arrive as they were.

The servers of tests have no direct ports, so all of it passes the server.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from flame_kernel import Flame
from tests.integration.servers import FlameServer

SIZE = 256_000_000

# A window of 16 MiB, encrypted and decrypted copies of it, and what an allocator holds back.
BESIDE = 100_000_000


class Peaks:
    """The most memory that processes have had since a moment, beyond what they had then."""

    def __init__(self, **processes: int) -> None:
        self._processes = processes
        for pid in processes.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak is what it has now
        self._before = self._most()

    def grown(self) -> dict[str, int]:
        return {name: most - self._before[name] for name, most in self._most().items()}

    def _most(self) -> dict[str, int]:
        found = {}
        for name, pid in self._processes.items():
            (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line]
            found[name] = int(line.split()[1]) * 1024
        return found


@contextmanager
def bounded(server: FlameServer, flame: Flame, client: int = BESIDE, session: int = BESIDE) -> Iterator[None]:
    """Make sure how much memory something takes; the server never gets more than what is beside a value."""
    assert server.program is not None
    pids = {"client": os.getpid(), "server": server.program.process.pid}
    peaks = Peaks(**pids, session=flame.evaluate("__import__('os').getpid()"))
    yield
    grown = peaks.grown()
    assert grown["client"] < client, grown
    assert grown["session"] < session, grown
    assert grown["server"] < BESIDE, grown


def test_a_value_takes_its_own_memory_at_its_ends_and_none_in_between(client: FlameServer, own: Flame) -> None:
    value = np.random.default_rng(1).bytes(SIZE)
    assert own.link.way == "through the server"
    with bounded(client, own, session=SIZE + BESIDE):
        own["value"] = value
    with bounded(client, own, client=SIZE + BESIDE):
        back = own["value"]

    assert type(back) is bytes
    assert back == value
    assert own.evaluate("type(value)") is bytes
    with bounded(client, own):
        digest = own.evaluate("__import__('hashlib').sha256(value).hexdigest()")
    assert digest == hashlib.sha256(value).hexdigest()


def test_an_answer_that_comes_later_takes_no_more(client: FlameServer, own: Flame) -> None:
    own.execute(f"value = bytes({SIZE})\ndef give(): return value")
    give = own.module("__main__").give
    with bounded(client, own, client=SIZE + BESIDE):
        back = own.submit(give).result(60)
    assert back == bytes(SIZE)


def test_a_file_takes_no_memory_of_its_size(client: FlameServer, own: Flame, tmp_path: Path) -> None:
    here, there, back = tmp_path / "here.bin", tmp_path / "there.bin", tmp_path / "back.bin"
    here.write_bytes(np.random.default_rng(2).bytes(SIZE))
    with bounded(client, own):
        own.put(here, str(there))
        own.get(str(there), back)

    assert back.read_bytes() == here.read_bytes()


@pytest.mark.parametrize("count", [3, 10_000, 1_000_000])
def test_an_array_can_be_written_to_wherever_it_arrives(flame: Flame, count: int) -> None:
    flame["numbers"] = np.arange(count)
    flame.execute("numbers += 1")
    back = flame["numbers"]
    back += 1

    assert np.array_equal(back, np.arange(count) + 2)


def test_bytes_are_the_same_wherever_they_stand_among_operands(flame: Flame) -> None:
    large, small = os.urandom(3_000_000), b"small"
    flame.execute("def show(*args, **kwargs): return args, kwargs")

    assert flame.module("__main__").show(large, small, (large, [large]), key=large) == (
        (large, small, (large, [large])),
        {"key": large},
    )
    flame["pair"] = (large, small)
    assert flame["pair"] == (large, small)
    assert flame.evaluate("type(pair[0])") is bytes


def test_what_must_not_be_written_to_stays_so(flame: Flame) -> None:
    fixed = np.arange(1_000_000)
    fixed.flags.writeable = False
    flame["fixed"] = fixed

    assert flame.evaluate("fixed.flags.writeable") is False
    assert flame["fixed"].flags.writeable is False
