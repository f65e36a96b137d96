"""What Python's syntax can do to an object, by name."""

from __future__ import annotations

import math
import operator
from typing import Any, Callable

from flame_kernel.worker.attributes import follow


def _swapped(act: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda found, other: act(other, found)


def _enter(found: Any) -> Any:
    return type(found).__enter__(found)


def _exit(found: Any, error: Any) -> bool:
    kind = None if error is None else type(error)
    return bool(type(found).__exit__(found, kind, error, None if error is None else error.__traceback__))


def _set(found: Any, name: str, value: Any) -> None:
    setattr(found, name, value)


def _delete(found: Any, name: str) -> None:
    delattr(found, name)


def _keys(found: Any) -> list[Any]:
    keys = getattr(found, "_ipython_key_completions_", None) or getattr(found, "keys", None)
    return [] if keys is None else list(keys())


_BINARY = ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
_UNARY = ("neg", "pos", "invert", "abs")
_COMPARING = ("eq", "ne", "lt", "le", "gt", "ge")

# What may give the object itself, which then stays what it is rather than being copied.
GIVES_ITSELF = frozenset({"enter", "iter", *(f"i{name}" for name in _BINARY)})


def _in_operator(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(operator, f"__{name}__")
    return found


OPERATORS: dict[str, Callable[..., Any]] = {
    **{name: _in_operator(name) for name in (*_BINARY, *_UNARY, *_COMPARING)},
    **{f"r{name}": _swapped(_in_operator(name)) for name in _BINARY},
    **{f"i{name}": _in_operator(f"i{name}") for name in _BINARY},
    "divmod": divmod,
    "rdivmod": _swapped(divmod),
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "contains": operator.contains,
    "setattr": _set,
    "delattr": _delete,
    "getattr": follow,
    "dir": dir,
    "keys": _keys,
    "len": len,
    "iter": iter,
    "reversed": reversed,
    "bool": operator.truth,
    "hash": hash,
    "int": int,
    "float": float,
    "complex": complex,
    "round": round,
    "trunc": math.trunc,
    "floor": math.floor,
    "ceil": math.ceil,
    "bytes": bytes,
    "str": str,
    "value": lambda found: found,
    "enter": _enter,
    "exit": _exit,
}
