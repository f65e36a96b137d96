"""Credit: never more than a window under way, and never nobody's turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.flows import WINDOW, Allowance, Receipts


@given(st.lists(st.tuples(st.integers(1, 2 * WINDOW), st.integers(0, WINDOW)), max_size=60))
def test_a_sender_that_keeps_to_its_credit_never_sticks(steps: list[tuple[int, int]]) -> None:
    allowance, receipts = Allowance(), Receipts()
    held = 0
    for wanted, leaves in steps:
        sent = min(wanted, allowance.left)
        allowance.spend(sent)
        receipts.took(sent)
        held += sent
        assert held <= WINDOW
        held -= min(held, leaves)
        granted = receipts.due(held)
        if granted:
            allowance.grant(granted)
        # What a stream relies on: once no more than half a window is held, there's credit.
        assert allowance.left or held > WINDOW // 2


def test_more_than_the_window_is_refused() -> None:
    receipts = Receipts()
    receipts.took(WINDOW)
    with pytest.raises(ProtocolError, match="more came on a stream"):
        receipts.took(1)


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_credit_that_makes_no_sense_is_refused(count: int) -> None:
    with pytest.raises(ProtocolError, match="more credit came"):
        Allowance().grant(count)


def test_credit_in_crumbs_is_not_worth_a_message() -> None:
    receipts = Receipts()
    receipts.took(1000)

    assert receipts.due(0) == 0
