"""What there is to know of an object, for help and completion at the other end."""

from __future__ import annotations

import inspect
from contextlib import suppress
from typing import Any

from flame_kernel.serialize import type_name
from flame_kernel.worker.objects import preview


def describe(value: Any) -> dict[str, Any]:
    """Return an object's docstring, signature, kind and look.

    Args:
        value: The object.

    Returns:
        Plain data; ``doc`` and ``signature`` are ``None`` where there's none. A signature is a list of parameters:
        name, kind, what the default looks like, what the annotation looks like (both ``None`` where there's none).

    Example:
        >>> describe(sorted)["signature"][0]
        ('iterable', 0, None, None)
    """
    signature = None
    if callable(value):
        with suppress(Exception):  # its own __signature__ may raise anything; many builtins have none
            signature = [_parameter(parameter) for parameter in inspect.signature(value).parameters.values()]
    doc = None
    with suppress(Exception):
        doc = inspect.getdoc(value)
    return {
        "doc": doc if isinstance(doc, str) else None,
        "signature": signature,
        "type": type_name(value),
        "name": str(getattr(value, "__name__", "")),
        "preview": preview(value),
    }


def _parameter(parameter: inspect.Parameter) -> tuple[str, int, str | None, str | None]:
    default = None if parameter.default is parameter.empty else preview(parameter.default)
    annotation = None
    if parameter.annotation is not parameter.empty:
        annotation = inspect.formatannotation(parameter.annotation)
    return parameter.name, int(parameter.kind), default, annotation
