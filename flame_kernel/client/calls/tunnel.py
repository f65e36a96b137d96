"""This client's end of one forwarded connection: its socket here, and the call that stands for it over there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flame_kernel.client.calls.failures import from_answer
from flame_kernel.errors import FlameError, ForwardError, LinkLost, ProtocolError
from flame_kernel.ports.stream import Stream
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome
from flame_kernel.serialize import Parts, load


class Way(Protocol):
    """How a tunnel reaches the session; only ``call`` may be called on any thread."""

    def ask(self, operation: Operation, operands: Parts, waiter: Tunnel) -> None:
        """Ask for something that is answered; raises ``LinkLost`` when it's closed."""

    def say(self, operation: Operation, operands: Parts) -> None:
        """Say something that isn't answered; nothing happens when it's closed."""

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop."""

    def forget(self, tunnel: Tunnel) -> None:
        """A tunnel has ended."""

    def complain(self, tunnel: Tunnel, error: FlameError) -> None:
        """Tell the user why a tunnel could not be made."""


class Tunnel:
    """One forwarded connection.

    Args:
        way: The way to the session.
        number: What it is called there.
    """

    def __init__(self, way: Way, number: int) -> None:
        self.number = number
        self.stream = Stream()
        self.answered = False  # whether anything came from the other end
        self._way = way

    def open(self, operation: Operation, *operands: object) -> None:
        """Begin it, with a request whose first operand is its number."""
        self.stream.begin(self)
        try:
            self._way.ask(operation, Parts([self.number, *operands]), self)
        except LinkLost as error:
            self.stream.abort(error)

    def send(self, piece: bytes) -> None:
        """The socket here says something."""
        self._way.say(Operation.SEND, Parts([self.number], [piece]))

    def credit(self, count: int) -> None:
        """The socket here has room again."""
        self._way.say(Operation.CREDIT, Parts([self.number, count]))

    def over(self, error: Exception | None) -> None:
        """The socket here is closed."""
        if error is not None:
            self._way.say(Operation.ABANDON, Parts([self.number]))
        self._way.forget(self)

    def on_sent(self) -> bool:
        """It's about to be begun over there."""
        return True

    def on_answer(self, answer: CallAnswer) -> bool:
        """The other end says something; called on the pipeline's thread."""
        self._way.call(lambda: self._take(answer))
        return True

    def on_failed(self, error: FlameError) -> None:
        """The session or the way to it is gone; called on the pipeline's thread."""
        self._way.call(lambda: self.stream.abort(error))

    def _take(self, answer: CallAnswer) -> None:
        try:
            if answer.outcome is Outcome.PIECE:
                self.answered = True
                self.stream.take(answer.parts[0] if answer.parts else b"")
            elif answer.outcome is Outcome.NOTE:
                self.answered = True
                self.stream.grant(noted(answer, "credit"))
            elif answer.outcome is Outcome.ERROR:
                self._fail(from_answer(answer, "", plain=True))
            elif answer.outcome is Outcome.RESULT and not self.stream.over and not self.stream.ended:
                self.stream.abort()
        except FlameError as error:  # what came makes no sense
            self.stream.abort(error)

    def _fail(self, error: BaseException) -> None:
        error = error if isinstance(error, FlameError) else ForwardError(str(error))
        if not self.stream.over and not self.answered:
            self._way.complain(self, error)
        self.stream.abort(error)


def noted(answer: CallAnswer, name: str) -> int:
    """Return a number of a NOTE; 0 if it tells something else.

    Raises:
        ProtocolError: It can't be read.
    """
    told = load(answer.format, answer.parts, plain=True)
    if not isinstance(told, dict) or type(told.get(name, 0)) is not int:
        raise ProtocolError("a note about a port came from the session that can't be read")
    return int(told.get(name, 0))
