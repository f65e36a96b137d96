"""Batches: many calls in one message, and their results in another."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol

from flame_kernel.client.calls.chains import Chain
from flame_kernel.client.calls.failures import raised
from flame_kernel.client.calls.handles import Handle
from flame_kernel.client.calls.proxies import Caller
from flame_kernel.client.calls.work import work
from flame_kernel.errors import FlameError
from flame_kernel.protocol.calls import Failure, Operation
from flame_kernel.protocol.references import Reference

_CALL = int(Operation.CALL)


class BatchCaller(Caller, Protocol):
    """Makes the call that carries a batch."""

    plain: bool

    def refer(self, reference: Reference) -> Any:
        """Return what stands for a reference here."""


class Later:
    """The result of one call of a batch, once the batch has been made."""

    __slots__ = ("_error", "_value")  # which it has once it's settled: a batch may be of very many
    _value: Any
    _error: BaseException | None

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return hasattr(self, "_error")

    def result(self) -> Any:
        """Return the call's value, or raise its exception.

        Raises:
            FlameError: The batch has not been made yet, or ended before this call.
        """
        try:
            error = self._error
        except AttributeError:
            raise FlameError("the batch has not been made yet: its `with` block has to end first") from None
        if error is not None:
            raise error
        return self._value

    def settle(self, value: Any, error: BaseException | None = None) -> None:
        """Take the result."""
        self._value, self._error = value, error


class Batch:
    """Calls that are made together when the ``with`` block ends, one after the other, on one thread over there.

    The first that fails ends the batch: its exception is raised at the end of the block, the calls before it have their
    results, and those after it are not made.

    Args:
        calls: Makes the call that carries the batch.
        timeout: How long all of them may take, in seconds; ``None`` for as long as it takes.
    """

    def __init__(self, calls: BatchCaller, timeout: float | None) -> None:
        self._calls = calls
        self._timeout = timeout
        self._wanted: list[tuple[int, tuple[Any, ...]]] = []
        self._results: list[Later] = []

    def evaluate(self, expression: str) -> Later:
        """Add an expression."""
        return self._add(Operation.EVALUATE, expression)

    def execute(self, code: str) -> Later:
        """Add statements."""
        return self._add(Operation.EXECUTE, code)

    def call(self, what: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Later:
        """Add a call of something remote, or of a function of this side, which is sent there."""
        return self._add(*work(what, args, kwargs))

    def module(self, name: str) -> Chain:
        """Return a module whose functions are called as part of the batch."""
        return Chain(self._call, name)

    def builtin(self, name: str) -> Chain:
        """Return a builtin that is called as part of the batch."""
        return Chain(self._call, "builtins", name)

    def __setitem__(self, name: str, value: Any) -> None:
        """Add giving a value a name."""
        self._add(Operation.PUSH, name, value)

    def __getitem__(self, name: str) -> Later:
        """Add fetching a name's value."""
        return self._add(Operation.PULL, name)

    def __len__(self) -> int:
        return len(self._wanted)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is None and self._wanted:
            failed = self._make()
            if failed is not None:
                raise failed

    def _call(self, *operands: Any) -> Later:
        return self._later(_CALL, operands)

    def _add(self, operation: Operation, *operands: Any) -> Later:
        return self._later(int(operation), operands)

    def _later(self, number: int, operands: tuple[Any, ...]) -> Later:
        self._wanted.append((number, operands))
        self._results.append(later := Later())
        return later

    def _make(self) -> BaseException | None:
        made, mixed, values = self._unpacked(self._calls.call(Operation.BATCH, self._wanted, timeout=self._timeout))
        if mixed:
            values = [self._calls.refer(value) if isinstance(value, Reference) else value for value in values]
        for later, value in zip(self._results, values, strict=False):
            later.settle(value)
        if made is None:
            return None
        error = made if isinstance(made, BaseException) else self._raised(*made)
        self._results[len(values)].settle(None, error)
        for later in self._results[len(values) + 1 :]:
            later.settle(None, FlameError("this call was not made: one before it in the batch failed"))
        return error

    def _raised(self, description: str, form: int, parts: list[bytes]) -> BaseException:
        failure = Failure.decode(description.encode("utf-8"))
        return raised(failure, form, parts, self._calls.where, self._calls.plain)

    def _unpacked(self, answer: Any) -> tuple[Any, bool, list[Any]]:
        if not isinstance(answer, Handle):
            made, mixed, values = answer
            return made, mixed, values
        # Something in it can't be loaded here: one by one, then.
        listing = answer.values
        return answer.head[0], False, [listing[index] for index in range(len(listing))]
