"""What can be asked of a session, one small function each, in the session's own namespace."""

from __future__ import annotations

import builtins
import importlib
import reprlib
from collections import OrderedDict
from collections.abc import MutableMapping
from functools import reduce
from types import ModuleType
from typing import Any, Callable

from flame_kernel.buffers import size
from flame_kernel.errors import ProtocolError, SerializationError
from flame_kernel.files import ends
from flame_kernel.protocol.calls import Operation
from flame_kernel.serialize import Parts, dump
from flame_kernel.worker.failures import Sources
from flame_kernel.worker.modules import SentModules

# Cells whose outcome nobody fetched are forgotten beyond this many.
_MAX_OUTCOMES = 32

_PREVIEW = reprlib.Repr()
_PREVIEW.maxother = _PREVIEW.maxstring = 200


class Operations:
    """Carries out calls.

    Args:
        namespace: The session's namespace, which cells use too.
    """

    def __init__(self, namespace: MutableMapping[str, Any]) -> None:
        self._namespace = namespace
        self._sources = Sources()
        self._modules = SentModules()
        self._outcomes: OrderedDict[str, tuple[Any, BaseException | None]] = OrderedDict()
        self._table: dict[Operation, Callable[..., Any]] = {
            Operation.EVALUATE: self.evaluate,
            Operation.EXECUTE: self.execute,
            Operation.CALL: self.call,
            Operation.GET: self.get,
            Operation.PUSH: self.push,
            Operation.PULL: self.pull,
            Operation.OUTCOME: self.outcome,
            Operation.PING: self.ping,
            Operation.SENDMODULE: self._modules.send,
            Operation.GETMODULE: self._modules.get,
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
        """
        if isinstance(operands, Parts):
            return ends.carry_out(operation, operands)
        act = self._table.get(operation)
        if (
            act is None
            or not isinstance(operands, (tuple, list))
            or not all(isinstance(name, str) for name in operands[:1])
        ):
            raise ProtocolError(f"a call came without what {operation.name.lower()} needs")
        return act(*operands)

    def evaluate(self, expression: str) -> Any:
        """Return an expression's value."""
        return eval(self._sources.compile(expression, "eval"), self._globals())  # what it's for

    def execute(self, code: str) -> None:
        """Run statements."""
        exec(self._sources.compile(code, "exec"), self._globals())  # what it's for

    def call(self, module: str, path: str, args: Any, kwargs: Any) -> Any:
        """Call something in a module."""
        return self._find(module, path)(*args, **kwargs)

    def get(self, module: str, path: str) -> tuple[str, Any]:
        """Return what kind of thing an attribute is, and its value where it's data."""
        found = self._find(module, path)
        if isinstance(found, ModuleType):
            return "module", found.__name__
        if callable(found):
            return "callable", _PREVIEW.repr(found)
        try:
            dump(found)
        except SerializationError:
            return "object", _PREVIEW.repr(found)
        return "value", found

    def push(self, name: str, value: Any) -> None:
        """Give a value a name in the namespace."""
        self._namespace[name] = value

    def pull(self, name: str) -> Any:
        """Return the value of a name in the namespace."""
        try:
            return self._namespace[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def outcome(self, msg_id: str, limit: int) -> tuple[str, Any, BaseException | None]:
        """Return a cell's value, where it can cross and isn't larger than a limit in bytes, and its exception."""
        value, error = self._outcomes.pop(msg_id, (None, None))
        if error is not None:
            try:
                dump(error)
            except SerializationError:
                error = None
        try:
            _, parts = dump(value)
        except SerializationError as reason:
            return str(reason), None, error
        total = sum(map(size, parts))
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

    def _find(self, module: str, path: str) -> Any:
        start = builtins if module == "builtins" else importlib.import_module(module)
        return reduce(_attribute, path.split("."), start) if path else start


def _attribute(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        if isinstance(owner, ModuleType):
            submodule = f"{owner.__name__}.{name}"
            try:
                return importlib.import_module(submodule)
            except ModuleNotFoundError as error:
                if error.name != submodule:
                    raise
        raise
