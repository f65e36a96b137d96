from __future__ import annotations

import pytest

from flame_kernel.errors import LimitExceeded
from flame_kernel.protocol.calls import Operation
from flame_kernel.worker.transfers import QUIET_S, Transfers
from tests.unit.clock import Clock


def test_one_more_than_may_copy_is_refused_until_one_has_left() -> None:
    transfers = Transfers(2, Clock())
    transfers.require(b"ann", Operation.FIND)
    transfers.require(b"bob", Operation.WRITE)

    with pytest.raises(LimitExceeded, match=r"2 copies .* \(limits\.transfers\)"):
        transfers.require(b"cy", Operation.SETTLE)
    transfers.require(b"ann", Operation.READ)  # who copies already goes on
    transfers.left(b"ann")
    transfers.require(b"cy", Operation.SETTLE)


def test_who_has_asked_for_nothing_for_a_while_makes_room() -> None:
    clock = Clock()
    transfers = Transfers(1, clock)
    transfers.require(b"ann", Operation.FIND)
    clock.now += QUIET_S - 1
    transfers.require(b"ann", Operation.READ)
    clock.now += QUIET_S - 1

    with pytest.raises(LimitExceeded):
        transfers.require(b"bob", Operation.FIND)
    clock.now += 1
    transfers.require(b"bob", Operation.FIND)
    with pytest.raises(LimitExceeded):
        transfers.require(b"ann", Operation.READ)


def test_a_slow_copy_keeps_its_place_while_nobody_wants_it() -> None:
    clock = Clock()
    transfers = Transfers(1, clock)
    transfers.require(b"ann", Operation.FIND)
    clock.now += 100 * QUIET_S

    transfers.require(b"ann", Operation.READ)


def test_calls_that_are_not_about_files_are_never_refused() -> None:
    transfers = Transfers(1, Clock())
    for operation in set(Operation) - set(range(Operation.FIND, Operation.SETTLE + 1)):
        for name in (b"ann", b"bob"):
            transfers.require(name, operation)
    transfers.require(b"cy", Operation.FIND)
