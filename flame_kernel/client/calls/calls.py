"""Calls into a session: what is asked, on which lane, and what becomes of the answer."""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import zmq

from flame_kernel.buffers import Buffer
from flame_kernel.client.calls.conversing import WorkerConversation
from flame_kernel.client.calls.failures import from_answer
from flame_kernel.client.calls.forwards import Forwards
from flame_kernel.client.calls.futures import Ahead, FlameFuture, Settled
from flame_kernel.client.calls.handles import Held
from flame_kernel.client.calls.iteration import proxy
from flame_kernel.client.calls.lane import Lane, Lanes
from flame_kernel.client.calls.pipeline import Pipeline
from flame_kernel.client.calls.proxies import RemoteObject
from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import FlameError, SerializationError
from flame_kernel.protocol.calls import CallAnswer, Operation, Outcome
from flame_kernel.protocol.references import MODULE, Reference
from flame_kernel.serialize import load
from flame_kernel.transport.interface import Endpoint
from flame_kernel.transport.waking import Wake

# In Python 3.11 looking up an enum's member takes as long as a small call.
_ERROR, _RESULT = Outcome.ERROR, Outcome.RESULT

# Handles that were collected are given back together, this long after the first of them, in seconds.
_RELEASE_AFTER_S = 0.1


class Place(Protocol):
    """The session that is called, as its connection knows it."""

    @property
    def endpoint(self) -> Endpoint:
        """Where its server is, and the keys."""

    @property
    def session(self) -> str:
        """Its name."""

    @property
    def ways(self) -> Ways:
        """The ways to its worker."""

    @property
    def most_bytes(self) -> int:
        """The largest message that the server takes, in bytes; 0 when it did not say."""

    def require_calls(self) -> None:
        """Raise an error if no calls may be made."""

    @property
    def conversation(self) -> str:
        """What the server knows the client's conversation with it by, whatever it is called by now."""

    @property
    def where(self) -> str:
        """What to call it in messages."""

    def show(self, stream: Outcome, text: str) -> None:
        """Show what a call prints, or what it displays."""

    def later(self, seconds: float, function: Callable[[], object]) -> None:
        """Have a function called after a while, on another thread; it may be asked for at any time on any thread."""


class Calls:
    """Makes calls.

    Args:
        context: The ZeroMQ context.
        place: The session.
        plain: Whether only plain data may cross.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], place: Place, plain: bool) -> None:
        self._context = context
        self._place = place
        self.plain = plain
        self._client = os.urandom(16)
        self._lanes = Lanes(self._lane, self._interrupt)
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._released: deque[int] = deque()
        self._over: FlameError | None = None
        self.forwards = Forwards(self._ports_lane, lambda: place.where, lambda line: place.show(Outcome.STDERR, line))

    @property
    def where(self) -> str:
        """What to call the place in messages."""
        return self._place.where

    def call(self, operation: Operation, *operands: Any, timeout: float | None = None) -> Any:
        """Make a call and return its value, or raise its exception.

        Args:
            operation: What to ask for.
            operands: With what.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.
        """
        if self._over is not None:
            raise self._over
        self._place.require_calls()
        try:
            value, error = self._lanes.call(operation, operands, timeout, self._place.show, self._settle_on)
        except (FlameError, KeyboardInterrupt) as ours:
            raise ours.with_traceback(None)  # how we got there is nothing to the user  # noqa: B904
        if error is None:
            if timeout is not None and isinstance(value, RemoteObject):
                value._flame_within(timeout)
            return value
        try:
            raise error
        finally:
            del error  # else it and this frame would keep each other alive

    def submit(self, operation: Operation, *operands: Any) -> FlameFuture:
        """Make a call and return the future of its value."""
        pipeline = self._require_pipeline()
        future = FlameFuture(self, pipeline)
        future.order = pipeline.submit(operation, operands, future)
        return future

    def ask(self, operation: Operation, *operands: Any) -> Ahead:
        """Make a call, to wait for its answer later."""
        pipeline = self._require_pipeline()
        ahead = Ahead(self, pipeline, self._place.endpoint.name)
        ahead.order = pipeline.submit(operation, operands, ahead)
        return ahead

    def post(self, operation: Operation, *operands: Any) -> None:
        """Make a call that nobody waits for; that it may not have arrived is told on stderr."""
        self._require_pipeline().submit(operation, operands, _Posted(self._place), oneway=True)

    def refer(self, reference: Reference) -> Any:
        """Return what stands for a reference here."""
        if reference.kind == MODULE:
            return RemoteObject(self, reference.type)
        if reference.number == 0:
            return reference
        held = Held(reference.number, self._release)
        if self._over is None:
            self._require_pipeline().start()  # it keeps telling the session that this client is there
        return proxy(self, reference, held)

    def settle(self, answer: CallAnswer) -> Settled | None:
        """Make a value of an answer, or the exception to be raised; ``None`` when it can't be loaded here."""
        outcome, form, _, parts = answer
        if outcome is _ERROR:
            return None, from_answer(answer, self.where, self.plain)
        try:
            return load(form, parts, self.plain) if outcome is _RESULT else self._referred(parts), None
        except SerializationError as error:
            if self.plain:
                return None, error
            return None
        except FlameError as error:
            return None, error

    def show(self, answer: CallAnswer) -> None:
        """Show what a call printed or displayed."""
        text = bytes(answer.parts[0]).decode("utf-8", "replace") if answer.parts else ""
        self._place.show(answer.outcome, text)

    def borrowed(self) -> AbstractContextManager[Lane]:
        """Give a lane that's free, for a conversation of one's own."""
        if self._over is not None:
            raise self._over
        self._place.require_calls()
        return self._lanes.borrowed()

    def renew(self) -> None:
        """The session's process was replaced."""
        self._lanes.renew()

    def finish(self, error: FlameError) -> None:
        """Make no more calls; those that are tried raise an error."""
        if self._over is None:
            self._over = error
            self.forwards.finish(error)

    def close(self) -> None:
        """End all lanes."""
        self.forwards.close()
        with self._lock:
            pipeline = self._pipeline
        if pipeline is not None:
            pipeline.close()
        self._lanes.close()

    def _lane(self, wake: Wake) -> Lane:
        place = self._place
        return Lane(
            self._context,
            place.endpoint,
            place.session,
            self.plain,
            self._client,
            wake,
            place.conversation,
            place.most_bytes,
            place.ways,
        )

    def _require_pipeline(self) -> Pipeline:
        if self._over is not None:
            raise self._over
        self._place.require_calls()
        if self._pipeline is None:
            with self._lock:
                if self._pipeline is None:
                    self._pipeline = self._make_pipeline(self.plain)
        return self._pipeline

    def _ports_lane(self) -> Pipeline:
        if self._over is not None:
            raise self._over
        self._place.require_calls()
        return self._make_pipeline(plain=True)

    def _make_pipeline(self, plain: bool) -> Pipeline:
        wake, place = Wake(), self._place
        talk = WorkerConversation(
            self._context, place.endpoint, place.session, self._client, wake, place.conversation, place.ways
        )
        return Pipeline(talk, wake, plain, place.most_bytes)

    def _settle_on(self, lane: Lane, answer: CallAnswer) -> Settled:
        settled = self.settle(answer)
        if settled is not None:
            return settled
        # The worker still has the value; from now on it holds it for us.
        held = lane.call(Operation.HOLD, (answer.call,), None, self._place.show)
        if held.outcome is Outcome.REFERENCE:
            return self._referred(held.parts), None
        try:
            load(answer.format, answer.parts, self.plain)
        except SerializationError as error:
            return None, SerializationError(f"{error}; flame.ref(…) gives a handle of it")
        return None, None

    def _referred(self, parts: Sequence[Buffer]) -> Any:
        return self.refer(Reference.decode(parts[0] if parts else b""))

    def _interrupt(self, conversation: str, number: int) -> None:
        self._require_pipeline().submit(Operation.INTERRUPT, (conversation, number), None, oneway=True)

    def _release(self, number: int) -> None:
        """Take note of a handle that was collected; the garbage collector calls, so nothing may be waited for."""
        if self._over is None:
            self._released.append(number)
            if len(self._released) == 1:
                self._place.later(_RELEASE_AFTER_S, self._give_back)

    def _give_back(self) -> None:
        released = [self._released.popleft() for _ in range(len(self._released))]
        if self._over is None and released:
            pairs = list(Counter(released).items())
            self._require_pipeline().submit(Operation.RELEASE, (pairs,), None, oneway=True)


class _Posted:
    """Told what becomes of a call that nobody waits for.

    Args:
        place: Where it was made.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def on_sent(self) -> bool:
        """It's about to be sent."""
        return True

    def on_answer(self, answer: CallAnswer) -> bool:
        """Nothing comes."""
        return True

    def on_failed(self, error: FlameError) -> None:
        """It may not have arrived."""
        self._place.show(Outcome.STDERR, f"[flame] a oneway call may not have run ({self._place.where}): {error}\n")
