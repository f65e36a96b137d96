"""What can be asked of a session, one small function each, in the session's own namespace."""

from __future__ import annotations

import inspect
import os
from collections import OrderedDict
from collections.abc import MutableMapping
from types import ModuleType
from typing import Any, Callable

from flame_kernel.buffers import size_of
from flame_kernel.errors import ProtocolError, SerializationError
from flame_kernel.files import ends
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.references import resolve, resolving
from flame_kernel.serialize import Parts, dump, load
from flame_kernel.worker import iterators
from flame_kernel.worker.about import about
from flame_kernel.worker.answers import ByPath, ByReference, Several, UpTo, failed
from flame_kernel.worker.attributes import attribute, find, follow, refers_to
from flame_kernel.worker.describing import describe
from flame_kernel.worker.failures import Sources
from flame_kernel.worker.modules import SentModules
from flame_kernel.worker.objects import Held, Objects
from flame_kernel.worker.operators import GIVES_ITSELF, OPERATORS

# Cells whose outcome nobody fetched are forgotten beyond this many.
_MAX_OUTCOMES = 32

# Operations whose first operand is a name, an expression or code.
_NAMED = frozenset(
    {
        Operation.EVALUATE,
        Operation.EXECUTE,
        Operation.REFER,
        Operation.PUSH,
        Operation.PULL,
        Operation.PULL_UP_TO,
        Operation.DELETE,
        Operation.OUTCOME,
    }
)

# How a pickle names what a client's proxy becomes; a pickle of up to so many bytes is searched for it.
_PROXY = resolve.__module__.encode("ascii")
_SHORT = 16 * 1024

# What can't be part of a batch: it belongs to a conversation rather than to the session.
_NOT_IN_A_BATCH = frozenset(
    {Operation.BATCH, Operation.HOLD, Operation.INTERRUPT, Operation.PULL_UP_TO, Operation.RELEASE}
)


_OPERATIONS = {operation.value: operation for operation in Operation}
_UNKNOWN: tuple[None, int] = (None, 0)
_CALL = int(Operation.CALL)


class Operations:
    """Carries out calls.

    Args:
        namespace: The session's namespace, which cells use too.
    """

    def __init__(self, namespace: MutableMapping[str, Any]) -> None:
        self._namespace = namespace
        self.objects = Objects(os.urandom(8))
        self._sources = Sources()
        self._modules = SentModules()
        self._outcomes: OrderedDict[str, tuple[Any, BaseException | None]] = OrderedDict()
        table: dict[Operation, Callable[..., Any]] = {
            Operation.EVALUATE: self.evaluate,
            Operation.EXECUTE: self.execute,
            Operation.CALL: self.call,
            Operation.GET: self.get,
            Operation.PUSH: self.push,
            Operation.PULL: self.pull,
            Operation.PULL_UP_TO: self.pull_up_to,
            Operation.OUTCOME: self.outcome,
            Operation.PING: self.ping,
            Operation.DELETE: self.delete,
            Operation.NAMES: self.names,
            Operation.REFER: self.refer,
            Operation.OPERATE: self.operate,
            Operation.DESCRIBE: self.describe,
            Operation.NEXT: self.next,
            Operation.CLOSE: self.close,
            Operation.SO_FAR: self.so_far,
            Operation.BATCH: self.batch,
            Operation.ABOUT: self.about,
            Operation.SENDMODULE: self._modules.send,
            Operation.GETMODULE: self._modules.get,
        }
        self._acts: dict[Operation, tuple[Callable[..., Any] | None, int]] = {
            operation: (act, act.__code__.co_argcount - 1) for operation, act in table.items()
        }

    def run(self, operation: Operation, operands: Any) -> Any:
        """Carry out one call.

        Args:
            operation: What to do.
            operands: With what, as ``Operation`` says.

        Returns:
            Its value.

        Raises:
            ProtocolError: The operands are not those of the operation.
            TypeError: What should be text is not.
        """
        if isinstance(operands, Parts):
            return ends.carry_out(operation, operands)
        act, count = self._acts.get(operation, _UNKNOWN)
        if act is None or not isinstance(operands, (tuple, list)) or len(operands) != count:
            raise ProtocolError(f"a call came without what {operation.name.lower()} needs")
        if operation in _NAMED and not isinstance(operands[0], str):
            raise TypeError(f"{operation.name.lower()} takes a string, not {operands[0]!r:.100}")
        return act(*operands)

    def load(self, form: int, parts: Any, plain: bool) -> Any:
        """Read operands; the client's proxies among them become what they stand for."""
        if parts and len(parts[0]) < _SHORT and _PROXY not in bytes(parts[0]):
            return load(form, parts, plain)  # most calls: nothing in it stands for something here
        with resolving(self._find):
            return load(form, parts, plain)

    def evaluate(self, expression: str) -> Any:
        """Return an expression's value."""
        return eval(self._sources.compile(expression, "eval"), self._globals())  # what it's for

    def execute(self, code: str) -> None:
        """Run statements."""
        exec(self._sources.compile(code, "exec"), self._globals())  # what it's for

    def call(self, root: Any, path: str, args: Any, kwargs: Any) -> Any:
        """Call something in a module, an object that is held, or what was sent."""
        if type(root) is str and type(path) is str:  # most calls
            return find(root, path)(*args, **kwargs)
        return (root if callable(root) else self._find(root, path))(*args, **kwargs)

    def get(self, root: Any, path: str) -> Any:
        """Return an attribute's value; a callable of a module, or a method, goes by its path."""
        before, _, name = _path(path).rpartition(".")
        owner = self._find(root, before)
        found = attribute(owner, name) if name else owner
        if isinstance(root, str) and not isinstance(found, ModuleType) and callable(found):
            return ByPath(found)
        if inspect.isroutine(found):
            return ByPath(found)
        return ByReference(found) if refers_to(found, owner) else found

    def operate(self, root: Any, path: str, operator: Any, args: Any) -> Any:
        """Apply an operator; what gives the object itself stays what it is."""
        found = self._find(root, path)
        if operator not in OPERATORS:
            raise ProtocolError("a call came with an operator that is unknown here")
        value = OPERATORS[operator](found, *args)
        return ByReference(value) if value is found and operator in GIVES_ITSELF else value

    def describe(self, root: Any, path: str) -> dict[str, Any]:
        """Return what there is to know of an object."""
        return describe(self._find(root, path))

    def refer(self, expression: str) -> Any:
        """Return an expression's value, to be kept here."""
        return ByReference(self.evaluate(expression))

    def next(self, root: Any, count: int) -> Any:
        """Return the next items of an iterator."""
        items, done, returned = iterators.advance(self._held(root), count)
        return Several((done, returned), items)

    def so_far(self, root: Any) -> Any:
        """Return the items that the next ones wait for."""
        return Several((False, None), iterators.so_far(self._held(root)))

    def close(self, root: Any) -> None:
        """Close an iterator."""
        iterators.close(self._held(root))

    def batch(self, calls: Any) -> Any:
        """Carry out calls, one after the other, up to the first that fails."""
        values: list[Any] = []
        call = self.call
        try:
            for number, operands in calls:
                if number == _CALL and type(operands) is tuple and len(operands) == 4:
                    values.append(call(*operands))  # as below, which takes as long as a small call
                    continue
                operation = _OPERATIONS.get(number) or Operation(number)
                if operation in _NOT_IN_A_BATCH or isinstance(operands, Parts):
                    raise ProtocolError(f"{operation.name.lower()} can't be part of a batch")
                values.append(self.run(operation, operands))
        except Exception as error:  # noqa: BLE001  # it's the answer
            return Several((error,), values)
        return Several((None,), values)

    def delete(self, name: str) -> None:
        """Take a name out of the namespace."""
        try:
            del self._namespace[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def names(self) -> list[str]:
        """Return the names in the namespace."""
        return list(map(str, list(self._namespace)))

    def push(self, name: str, value: Any) -> None:
        """Give a value a name in the namespace."""
        self._namespace[name] = value

    def pull(self, name: str) -> Any:
        """Return the value of a name in the namespace."""
        try:
            return self._namespace[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def pull_up_to(self, name: str, limit: Any) -> Any:
        """Return the value of a name, to be kept here if it's larger than a limit in bytes."""
        if type(limit) is not int:
            raise ProtocolError("a call came without the limit that pull_up_to needs")
        return UpTo(self.pull(name), limit)

    def about(self, packages: Any) -> dict[str, Any]:
        """Return what there is to know of this machine."""
        if not isinstance(packages, (tuple, list)) or not all(isinstance(name, str) for name in packages):
            raise ProtocolError("a call came without the names of packages")
        return about(packages)

    def outcome(self, msg_id: str, limit: int) -> tuple[str, Any, tuple[str, int, list[bytes]] | None]:
        """Return a cell's value, where it can cross and isn't larger than a limit in bytes, and its exception.

        The exception is written by itself: one that can be written may still not be readable, which must not spoil
        the rest.
        """
        value, raised = self._outcomes.pop(msg_id, (None, None))
        error = None if raised is None else failed(raised, plain=False)
        try:
            _, parts = dump(value)
        except SerializationError as reason:
            return str(reason), None, error
        total = size_of(parts)
        if total > limit:
            return f"the value has {total:,} bytes; up to {limit:,} are fetched unasked", None, error
        return "", value, error

    def ping(self) -> None:
        """Do nothing."""

    def keep_outcome(self, msg_id: str, value: Any, error: BaseException | None) -> None:
        """Keep what a cell gave until its client fetches it."""
        self._outcomes[msg_id] = (value, error)
        while len(self._outcomes) > _MAX_OUTCOMES:
            self._outcomes.popitem(last=False)

    def _globals(self) -> dict[str, Any]:
        return self._namespace  # type: ignore[return-value]  # IPython types it as a mapping; it is a dict

    def _find(self, root: Any, path: Any) -> Any:
        path = _path(path)
        return find(root, path) if isinstance(root, str) else follow(self._held(root).value, path)

    def _held(self, root: Any) -> Held:
        if not isinstance(root, (tuple, list)) or len(root) != 2:
            raise ProtocolError("a call came without an object to call")
        return self.objects.find(*root)


def _path(path: Any) -> str:
    if not isinstance(path, str):
        raise ProtocolError("a call came without the path of an attribute")
    return path
