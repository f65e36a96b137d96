from __future__ import annotations

import enum
from typing import Any

import pytest

from flame_kernel.errors import ProtocolError
from flame_kernel.protocol.flows import FLOW, FlowEvent, FlowState
from flame_kernel.protocol.link import LINK, PEER, LinkEvent, LinkState, Machine, PeerEvent, PeerState
from flame_kernel.protocol.session import SESSION, SessionEvent, SessionState

Table = dict[tuple[Any, Any], Any]

TABLES = [
    pytest.param(LINK, LinkState, LinkEvent, LinkState.DOWN, {LinkState.ENDED}, id="link"),
    pytest.param(PEER, PeerState, PeerEvent, PeerState.NEW, {PeerState.GONE}, id="peer"),
    pytest.param(FLOW, FlowState, FlowEvent, FlowState.OPEN, {FlowState.ENDED}, id="flow"),
    pytest.param(SESSION, SessionState, SessionEvent, SessionState.STARTING, {SessionState.ENDED}, id="session"),
]
each_table = pytest.mark.parametrize(("table", "states", "events", "begin", "ends"), TABLES)


@each_table
def test_every_state_can_be_reached_and_left_but_for_the_last(
    table: Table, states: type[enum.Enum], events: type[enum.Enum], begin: enum.Enum, ends: set[enum.Enum]
) -> None:
    reached = {begin}
    while more := {after for (before, _), after in table.items() if before in reached} - reached:
        reached |= more

    assert reached == set(states)
    assert {before for before, _ in table} == set(states) - ends
    assert {event for _, event in table} == set(events)


@each_table
def test_the_last_state_can_be_reached_from_everywhere(
    table: Table, states: type[enum.Enum], events: type[enum.Enum], begin: enum.Enum, ends: set[enum.Enum]
) -> None:
    leads = set(ends)
    while more := {before for (before, _), after in table.items() if after in leads} - leads:
        leads |= more

    assert leads == set(states)


@each_table
def test_what_is_not_in_the_table_is_not_allowed(
    table: Table, states: type[enum.Enum], events: type[enum.Enum], begin: enum.Enum, ends: set[enum.Enum]
) -> None:
    for state in states:
        for event in events:
            machine = Machine(table, state)
            if (state, event) in table:
                assert machine.allows(event)
                assert machine.fire(event) is machine.state is table[state, event]
            else:
                assert not machine.allows(event)
                with pytest.raises(ProtocolError, match=f"'{event.value}' is not allowed while {state.value}"):
                    machine.fire(event)
                assert machine.state is state


def test_a_link_that_is_not_over_can_always_be_closed() -> None:
    assert all((state, LinkEvent.CLOSE) in LINK for state in LinkState if state is not LinkState.ENDED)
