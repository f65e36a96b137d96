"""What is particular to the life of a session; test_link looks at its table together with the others."""

from __future__ import annotations

from flame_kernel.protocol.session import SESSION, SessionEvent, SessionState


def test_a_session_that_is_not_over_can_always_be_closed() -> None:
    assert all((state, SessionEvent.CLOSE) in SESSION for state in SessionState if state is not SessionState.ENDED)


def test_only_a_live_session_dies_and_only_a_settled_one_restarts() -> None:
    dying = {state for state, event in SESSION if event is SessionEvent.DIE}
    restarting = {state for state, event in SESSION if event is SessionEvent.RESTART}

    assert dying == {SessionState.STARTING, SessionState.READY, SessionState.RESTARTING}
    assert restarting == {SessionState.READY, SessionState.DEAD}
