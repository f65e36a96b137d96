"""Moves the notebook to another session: after the cells before the one that says so, and before those behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from flame_kernel.client.links.target import Embedded, parse
from flame_kernel.kernel.answers import Answers
from flame_kernel.kernel.door import Door, Goal, Left
from flame_kernel.kernel.moves import Move, Moves
from flame_kernel.kernel.unfinished import stops_on_error
from flame_kernel.protocol.jupyter import Channel, Envelope


class Mover:
    """Carries out cells that move the notebook.

    Args:
        door: Leads to the sessions.
        answers: Makes the answers of ours.
        moves: Where the notebook was moved to is kept here.
        first: Which session the notebook had in mind at first.
        environ: The environment; FLAME_HOST counts.
        pass_on: Passes on what came meanwhile.
    """

    def __init__(
        self,
        door: Door,
        answers: Answers,
        moves: Moves,
        first: Goal,
        environ: Mapping[str, str],
        pass_on: Callable[[Channel, Envelope], None],
    ) -> None:
        self._door = door
        self._answers = answers
        self._moves = moves
        self._first = first
        self._environ = environ
        self._pass_on = pass_on
        self._held: list[Envelope] | None = None

    @property
    def moving(self) -> bool:
        """Whether a move is under way: what comes on shell is held until it's done."""
        return self._held is not None

    def hold(self, envelope: Envelope) -> None:
        """Keep what came on shell until the move is done."""
        assert self._held is not None
        self._held.append(envelope)

    async def move(self, request: Envelope, move: Move) -> None:
        """Carry out a cell.

        Args:
            request: The cell.
            move: What it says.
        """
        go_on = False
        try:
            # As in any kernel the cells before this one end first; when one of them fails, those behind it don't run.
            if await self._door.finished():
                go_on = await self._move(request, move) or not stops_on_error(request)
            else:
                self._abort(request)
        finally:
            held, self._held = self._held or [], None
            for envelope in held:
                if go_on or envelope.header().msg_type != "execute_request":
                    self._pass_on(Channel.SHELL, envelope)
                else:
                    self._abort(envelope)

    def begin(self) -> None:
        """Hold what comes on shell from now on."""
        self._held = []

    async def _move(self, request: Envelope, move: Move) -> bool:
        moved = False
        with self._answers.executing(request):
            left = await self._door.move(goal_of(move, self._first, self._environ))
            # An invite has done its work, and its secret need not be kept.
            self._moves.remember(msgspec.structs.replace(move, target=self._door.where) if "#" in move.target else move)
            text = f"this notebook now runs on {self._door.where}\n"
            if left is not None:
                text += self._about(left)
            self._answers.stream(text, request.parts[0], "stdout")
            moved = True
        return moved

    def _about(self, left: Left) -> str:
        back = "embedded" if isinstance(left.goal.target, Embedded) else left.where
        if left.goal.session != self._first.session:
            back += f" -s {left.goal.session}"
        return (
            f"session {left.goal.session!r} on {left.where} goes on with its variables; "
            f"%flame_connect {back} leads back to it\n"
        )

    def _abort(self, request: Envelope) -> None:
        self._answers.reply(Channel.SHELL, request, "execute_reply", {"status": "aborted"})


def goal_of(move: Move, goal: Goal, environ: Mapping[str, str]) -> Goal:
    """Return the session that a notebook wants after a move.

    Args:
        move: Where it was moved to.
        goal: Which session it had in mind at first.
        environ: The environment; FLAME_HOST counts.

    Raises:
        FlameError: The move names no server.
    """
    return Goal(parse(move.target, environ), move.session or goal.session, move.kernel)
