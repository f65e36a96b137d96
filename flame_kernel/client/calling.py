"""What of a session is called: modules, builtins, expressions, statements, variables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from flame_kernel.client.aio import AsyncFlame
from flame_kernel.client.batch import Batch
from flame_kernel.client.calls.futures import FlameFuture
from flame_kernel.client.calls.proxies import RemoteObject
from flame_kernel.client.calls.work import work
from flame_kernel.client.connection import Connection
from flame_kernel.client.modules import Modules
from flame_kernel.errors import FlameError, RemoteTraceback, SerializationError
from flame_kernel.protocol.calls import Operation
from flame_kernel.serialize import type_name


class Calling:
    """The half of :class:`Flame` that makes calls; a class of its own because it is long.

    Args:
        connection: The connection to the session.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # All remote modules, by their names: flame.modules.os.path.join("a", "b"). No property: IPython completes none.
        self.modules = Modules(self.module, self.evaluate)

    def module(self, name: str, *, timeout: float | None = None) -> RemoteObject:
        """Return a remote module; it's imported there when it is first used.

        Args:
            name: Its dotted name.
            timeout: How long each use of it may take, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.module("os.path").join("a", "b")
            'a/b'
            >>> flame.module("os").name
            'posix'
        """
        return RemoteObject(self._connection.calls, name, timeout=timeout)

    def builtin(self, name: str, *, timeout: float | None = None) -> RemoteObject:
        """Return a remote builtin.

        Args:
            name: Its name.
            timeout: How long each use of it may take, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.builtin("max")([22, 99, 1])
            99
        """
        return RemoteObject(self._connection.calls, "builtins", name, timeout=timeout)

    @property
    def builtins(self) -> RemoteObject:
        """All remote builtins.

        Example:
            >>> flame.builtins.max([22, 99, 1])
            99
        """
        return self.module("builtins")

    def invokeModule(  # Pyro's name
        self,
        dotted: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call something by its dotted name; the modules on the way are imported.

        Args:
            dotted: Such as ``os.path.join``.
            args: Its arguments.
            kwargs: Its keyword arguments.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.invokeModule("os.path.join", ["a", "b"])
            'a/b'
        """
        module, _, path = dotted.partition(".")
        return self._connection.calls.call(
            Operation.CALL, module, path, tuple(args), dict(kwargs or {}), timeout=timeout
        )

    def invokeBuiltin(  # Pyro's name
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
    ) -> Any:
        """Call a builtin by its name; the arguments are those of :meth:`invokeModule`.

        Example:
            >>> flame.invokeBuiltin("max", [[22, 99, 1]])
            99
        """
        return self.invokeModule(f"builtins.{name}", args, kwargs, timeout=timeout)

    def execute(self, code: str, *, timeout: float | None = None) -> None:
        """Run statements in the session's namespace, on a thread of their own.

        Args:
            code: Python statements.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: It took too long; it goes on over there.
            Exception: Whatever the code raises, as its own type where that loads here.

        Example:
            >>> flame.execute("import math")
        """
        self._connection.calls.call(Operation.EXECUTE, code, timeout=timeout)

    def evaluate(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return the value of an expression in the session's namespace.

        What can't cross by value, or can't be loaded here, comes as a handle; an iterator gives its items as they are
        wanted.

        Args:
            expression: A Python expression.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            FlameTimeout: It took too long; it goes on over there.
            Exception: Whatever the expression raises, as its own type where that loads here.

        Example:
            >>> flame.evaluate("2 ** 10")
            1024
        """
        return self._connection.calls.call(Operation.EVALUATE, expression, timeout=timeout)

    def ref(self, expression: str, *, timeout: float | None = None) -> Any:
        """Return a handle of an expression's value, which stays there whatever it is.

        Calls, attributes, items, operators and iteration of a handle happen over there; as an argument of another call
        it's the object itself. What can't cross by value comes as a handle anyway.

        Args:
            expression: A Python expression, such as a variable's name.
            timeout: How long this and each use of the handle may take, in seconds; ``None`` for as long as it takes.

        Example:
            >>> flame.execute("stack = [1, 2]")
            >>> stack = flame.ref("stack")
            >>> stack.append(3)
            >>> len(stack), stack[-1], stack.value()
            (3, 3, [1, 2, 3])
        """
        return self._connection.calls.call(Operation.REFER, expression, timeout=timeout)

    def submit(self, what: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> FlameFuture:
        """Start a call and return its future at once. Calls that are under way together run side by side.

        Args:
            what: An expression; or what to call: something remote, or a function of this side, which is sent there.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Returns:
            A ``concurrent.futures.Future``; cancelling it interrupts the call.

        Example:
            >>> futures = [flame.submit(f"{n} ** 2") for n in range(3)]
            >>> [future.result(timeout=20) for future in futures]
            [0, 1, 4]
            >>> flame.submit(flame.module("math").sqrt, 25).result()
            5.0
        """
        return self._connection.calls.submit(*work(what, args, kwargs))

    def oneway(self, what: str | Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        """Start something that nobody waits for. What it prints or raises is seen in the session only.

        Args:
            what: Statements; or what to call, as in :meth:`submit`.
            *args: Its arguments.
            **kwargs: Its keyword arguments.

        Example:
            >>> flame.oneway("import gc; gc.collect()")
        """
        operation, *operands = work(what, args, kwargs)
        self._connection.calls.post(Operation.EXECUTE if isinstance(what, str) else operation, *operands)

    def batch(self, *, timeout: float | None = None) -> Batch:
        """Return a batch: calls that are made together at the end of the ``with`` block, in one message.

        Args:
            timeout: How long all of them may take, in seconds; ``None`` for as long as it takes.

        Example:
            >>> with flame.batch() as batch:
            ...     root = batch.module("math").sqrt(25)
            ...     square = batch.evaluate("5 ** 2")
            >>> root.result(), square.result()
            (5.0, 25)
        """
        return Batch(self._connection.calls, timeout)

    @property
    def aio(self) -> AsyncFlame:
        """The same for asyncio: ``await flame.aio.evaluate(…)``."""
        return AsyncFlame(self._connection)

    def push(self, name: str, value: Any, *, timeout: float | None = None) -> None:
        """Give a value a name in the session's namespace, as ``flame[name] = value`` does.

        Args:
            name: The name.
            value: The value.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            SerializationError: It can't cross by value; the message names it.
        """
        try:
            self._connection.calls.call(Operation.PUSH, name, value, timeout=timeout)
        except SerializationError as error:
            raise _named(error, name, value) from error.__cause__

    def pull(self, name: str, *, limit: int | None = None, timeout: float | None = None) -> Any:
        """Return the value of a name in the session's namespace, as ``flame[name]`` does.

        Args:
            name: The name.
            limit: Up to which size the value crosses, in bytes; a larger one comes as a handle, and nothing is ever
                cut. ``None`` for any size.
            timeout: How long to wait, in seconds; ``None`` for as long as it takes.

        Raises:
            NameError: It isn't defined.
        """
        if limit is not None:
            return self._connection.calls.call(Operation.PULL_UP_TO, name, limit, timeout=timeout)
        return self._connection.calls.call(Operation.PULL, name, timeout=timeout)

    def __setitem__(self, name: str, value: Any) -> None:
        """Give a value a name in the session's namespace."""
        self.push(name, value)

    def __getitem__(self, name: str) -> Any:
        """Return the value of a name in the session's namespace."""
        return self._connection.calls.call(Operation.PULL, name)

    def __delitem__(self, name: str) -> None:
        """Take a name out of the session's namespace."""
        self._connection.calls.call(Operation.DELETE, name)

    def __contains__(self, name: object) -> bool:
        """Tell whether a name is in the session's namespace."""
        return name in self._connection.calls.call(Operation.NAMES)

    def __iter__(self) -> Iterator[str]:
        """Return the names in the session's namespace that don't begin with an underscore."""
        return iter([name for name in self._connection.calls.call(Operation.NAMES) if not name.startswith("_")])

    def _ipython_key_completions_(self) -> list[str]:
        try:
            return list(self)
        except FlameError:  # a key that the user presses must not end in a traceback
            return []


def _named(error: SerializationError, name: str, value: Any) -> SerializationError:
    """Return the error of a value that did not cross, so that it says which; all that is sent is one tuple."""
    why = error.__cause__
    if isinstance(why, RemoteTraceback):  # it did, and can't be loaded there
        return error
    reason = " ".join(str(why).split()) if why is not None else str(error)
    return SerializationError(f"{name!r} ({type_name(value)}) can't cross by value: {reason}")
