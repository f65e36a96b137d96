"""The far end of a copy: requests about files on one calls lane, several of them under way at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.failures import from_answer
from flame_kernel.client.calls.lane import Lane
from flame_kernel.errors import NotPermitted, RemoteError
from flame_kernel.files.chunks import CHUNK
from flame_kernel.files.ends import Reply, reply
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome, encode_request
from flame_kernel.serialize import Parts, dump, load

# What may be under way: enough that a link never idles, little enough that memory does not matter.
MAX_BYTES = 8 * CHUNK
MAX_REQUESTS = 16

# How many bytes a request without content counts for.
_SMALL = 1024


class RemoteEnd:
    """A session as an end of a copy.

    Args:
        lane: The lane, which nobody else uses meanwhile.
        where: What to call the place in messages.
        deadline: Until when, in ``time.monotonic()`` seconds; ``None`` for as long as it takes.
        timeout: The same as a span, for the message of the error.
    """

    def __init__(self, lane: Lane, where: str, deadline: float | None, timeout: float | None) -> None:
        self.where = where
        self._lane = lane
        self._deadline = deadline
        self._timeout = timeout
        self._under_way: dict[int, tuple[int, Callable[[Reply], None] | None]] = {}
        self._bytes = 0

    def ask(self, operation: Operation, *operands: Any, data: Buffer | None = None) -> Reply:
        """Ask for something and wait for the answer."""
        answers: list[Reply] = []
        self.post(operation, *operands, data=data, then=answers.append)
        while not answers:
            self._take()
        return answers[0]

    def post(
        self,
        operation: Operation,
        *operands: Any,
        data: Buffer | None = None,
        weight: int = 0,
        then: Callable[[Reply], None] | None = None,
    ) -> None:
        """Ask for something whose answer may come later."""
        weight += _SMALL
        while self._under_way and (len(self._under_way) >= MAX_REQUESTS or self._bytes + weight > MAX_BYTES):
            self._take()
        form, parts = dump(Parts(list(operands), () if data is None else (data,)))
        number = self._lane.post(encode_request(operation, form, parts, plain=True), self._deadline)
        self._under_way[number] = (weight, then)
        self._bytes += weight

    def drain(self) -> None:
        """Wait for all answers."""
        while self._under_way:
            self._take()

    def _take(self) -> None:
        answer = self._lane.answer(self._deadline, self._timeout)
        if answer.call not in self._under_way or answer.outcome not in (Outcome.RESULT, Outcome.ERROR):
            return  # of an earlier call that was given up
        weight, then = self._under_way.pop(answer.call)
        self._bytes -= weight
        told = self._read(answer)
        if then is not None:
            then(told)

    def _read(self, answer: CallAnswer) -> Reply:
        if answer.outcome is Outcome.ERROR:
            error = from_answer(answer, self.where, plain=True)
            if isinstance(error, RemoteError) and error.ename == NotPermitted.__name__:
                raise NotPermitted(error.evalue)
            raise error
        # Plain data on every connection: what carries files has no need of pickles.
        return reply(load(answer.format, answer.parts, plain=True), self.where)
