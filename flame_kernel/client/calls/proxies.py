"""Remote modules, and what is in them, as if they were here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from flame_kernel.errors import FlameError, RemoteError, SerializationError
from flame_kernel.protocol.calls import Operation
from flame_kernel.protocol.references import Reference, Root, resolve

_CALL = Operation.CALL  # in Python 3.11 looking up an enum's member takes as long as a small call

# Names that IPython and others look for on every object they meet; asking the remote side would cost a round trip each.
_ASKED_OF_EVERYTHING = ("_repr_", "_ipython_", "_flame_", "__")

# But these are what users ask for.
_ASKED_FOR = frozenset({"__all__", "__author__", "__file__", "__name__", "__path__", "__qualname__", "__version__"})

_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor")
_OPERATORS = (
    *(prefix + name for name in _BINARY for prefix in ("", "r", "i")),
    *("divmod", "rdivmod"),
    *("neg", "pos", "invert", "abs", "round", "trunc", "floor", "ceil"),
    *("pow", "rpow", "ipow"),
    *("eq", "ne", "lt", "le", "gt", "ge"),
    *("getitem", "setitem", "delitem", "contains", "len", "iter", "reversed"),
    *("bool", "hash", "int", "float", "complex", "bytes"),
)


T = TypeVar("T")


class Caller(Protocol):
    """Makes calls; a connection's ``Calls``, or what takes their place."""

    @property
    def where(self) -> str:
        """What to call the place in messages."""

    def call(self, operation: Operation, *operands: Any, timeout: float | None = None) -> Any:
        """Make a call and return its value, or raise its exception."""


def _operator(name: str) -> Callable[..., Any]:
    def apply(self: RemoteObject, *args: Any) -> Any:
        return self._flame_operate(name, *args)

    apply.__name__ = apply.__qualname__ = f"__{name}__"
    return apply


def _with_operators(cls: type[RemoteObject]) -> type[RemoteObject]:
    for name in _OPERATORS:
        setattr(cls, f"__{name}__", _operator(name))
    return cls


def with_remote_doc(cls: type[T]) -> type[T]:
    """Let the docstring of a class's instances be that of what they stand for; its own stands in the source."""
    doc: Any = property(lambda self: self._flame_description()["doc"])
    cls.__doc__ = doc
    return cls


def is_remote(value: object) -> bool:
    """Whether something stands for an object over there, as a handle does.

    Example:
        >>> is_remote(1)
        False
    """
    return isinstance(value, RemoteObject)


@with_remote_doc
@_with_operators
class RemoteObject:
    """Something over there: a module, or what its attributes lead to. Python's syntax works on it, over there.

    Args:
        calls: Makes the calls.
        root: What the path starts from.
        path: The attribute path from there; empty for the root itself.
        preview: What it looks like over there.
        timeout: How long each call may take, in seconds; ``None`` for as long as it takes.
        held: What keeps the object over there from being let go of; ``None`` for what is in a module.
    """

    __slots__ = (
        "__weakref__",
        "_flame_calls",
        "_flame_held",
        "_flame_known",
        "_flame_path",
        "_flame_preview",
        "_flame_root",
        "_flame_timeout",
    )
    _flame_calls: Caller
    _flame_root: Root
    _flame_path: str
    _flame_preview: str
    _flame_timeout: float | None
    _flame_known: dict[str, RemoteObject]
    _flame_held: object

    def __init__(
        self,
        calls: Caller,
        root: Root,
        path: str = "",
        preview: str = "",
        timeout: float | None = None,
        held: object = None,
    ) -> None:
        self._flame_calls = calls
        self._flame_root = root
        self._flame_path = path
        self._flame_preview = preview
        self._flame_timeout = timeout
        self._flame_held = held
        self._flame_known = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith(_ASKED_OF_EVERYTHING) and name not in _ASKED_FOR:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        known = self._flame_known.get(name)
        if known is not None:
            return known
        path = f"{self._flame_path}.{name}" if self._flame_path else name
        found = self._flame_calls.call(Operation.GET, self._flame_root, path, timeout=self._flame_timeout)
        if isinstance(found, Reference):  # a callable, or a method: it goes by its path
            found = self._flame_known[name] = self._flame_at(path, found.preview)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_flame_"):
            object.__setattr__(self, name, value)
        else:
            self._flame_known.pop(name, None)
            self._flame_operate("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        self._flame_known.pop(name, None)
        self._flame_operate("delattr", name)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it over there."""
        # Straight on, without a helper: what it raises shows each frame on the way.
        return self._flame_calls.call(
            _CALL, self._flame_root, self._flame_path, args, kwargs, timeout=self._flame_timeout
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """Return what numpy makes of it over there, so that ``numpy.asarray`` does not take it apart item by item."""
        found = self._flame_ask(Operation.CALL, "numpy", "asarray", (self, dtype), {})
        if isinstance(found, RemoteObject):
            raise SerializationError(f"{self!r} is no array that can cross by value")
        return found

    def __enter__(self) -> Any:
        return self if self._flame_is_module else self._flame_operate("enter")

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> bool:
        if self._flame_is_module:
            return False
        try:
            return bool(self._flame_operate("exit", error))
        except SerializationError:  # it must be told of the exception, if only by name
            return bool(self._flame_operate("exit", RemoteError(type(error).__name__, str(error))))

    def __dir__(self) -> list[str]:
        return list(self._flame_operate("dir"))

    def _ipython_key_completions_(self) -> list[Any]:
        try:
            return list(self._flame_operate("keys"))
        except FlameError:  # a key that the user presses must not end in a traceback
            return []

    @property
    def __signature__(self) -> inspect.Signature | None:
        """Its signature over there, which ``help`` and IPython show; defaults are what they look like there."""
        parameters = self._flame_description()["signature"]
        return None if parameters is None else _signature(parameters)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Root, str]]:
        # Among the arguments of a call it becomes what it stands for.
        return resolve, (self._flame_root, self._flame_path)

    def __repr__(self) -> str:
        name = self._flame_name()
        preview = f": {self._flame_preview}" if self._flame_preview else ""
        return f"<remote {name} on {self._flame_calls.where}{preview}>"

    @property
    def _flame_is_module(self) -> bool:
        return isinstance(self._flame_root, str) and not self._flame_path

    def _flame_within(self, timeout: float) -> None:
        """Let each use of it take so long from now on, in seconds."""
        self._flame_timeout = timeout

    def _flame_name(self) -> str:
        return f"{self._flame_root}.{self._flame_path}" if self._flame_path else str(self._flame_root)

    def _flame_at(self, path: str, preview: str) -> RemoteObject:
        return RemoteObject(self._flame_calls, self._flame_root, path, preview, self._flame_timeout, self._flame_held)

    def _flame_ask(self, operation: Operation, *operands: Any) -> Any:
        return self._flame_calls.call(operation, *operands, timeout=self._flame_timeout)

    def _flame_operate(self, operator: str, *args: Any) -> Any:
        value = self._flame_ask(Operation.OPERATE, self._flame_root, self._flame_path, operator, args)
        same = isinstance(value, RemoteObject) and not self._flame_path and value._flame_root == self._flame_root
        return self if same else value

    def _flame_description(self) -> dict[str, Any]:
        described: dict[str, Any] = self._flame_ask(Operation.DESCRIBE, self._flame_root, self._flame_path)
        return described


class _Shown:
    """Something that is known by what it looks like, such as a default value over there.

    Args:
        look: What it looks like.
    """

    def __init__(self, look: str) -> None:
        self._look = look

    def __repr__(self) -> str:
        return self._look


def _signature(parameters: list[tuple[str, int, str | None, str | None]]) -> inspect.Signature:
    empty = inspect.Parameter.empty
    kinds = list(inspect._ParameterKind)
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                kinds[kind],
                default=empty if default is None else _Shown(default),
                annotation=empty if annotation is None else _Shown(annotation),
            )
            for name, kind, default, annotation in parameters
        ]
    )
