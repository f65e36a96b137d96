"""Attributes by their path, from a module or an object; a submodule is imported when it's named."""

from __future__ import annotations

import gc
import importlib
import sys
from functools import reduce
from operator import attrgetter
from types import ModuleType
from typing import Any

_being_imported = attrgetter("__spec__._initializing")


def find(root: Any, path: str) -> Any:
    """Return what a path leads to.

    Args:
        root: A module's name, or an object that is no string.
        path: Names of attributes with dots between them; empty for the root itself.

    Raises:
        ImportError: There's no such module.
        AttributeError: There's no such attribute.

    Example:
        >>> find("os.path", "join")("a", "b")
        'a/b'
    """
    owner = _module(root) if type(root) is str else root
    if "." in path:
        return follow(owner, path)
    return attribute(owner, path) if path else owner


def _module(name: str) -> ModuleType:
    # As importlib does it, which takes as long as a small call. One that another thread is importing is waited for.
    module = sys.modules.get(name)
    try:
        if not _being_imported(module):
            return module  # type: ignore[return-value]
    except AttributeError:  # it has no spec, or there is none
        if module is not None:
            return module
    return importlib.import_module(name)


def follow(owner: Any, path: str) -> Any:
    """Return what a path leads to from an object, which may be a string as well as anything else.

    Example:
        >>> follow("a", "upper")()
        'A'
    """
    if "." not in path:
        return attribute(owner, path) if path else owner
    return reduce(attribute, path.split("."), owner)


def attribute(owner: Any, name: str) -> Any:
    """Return an attribute; one that a module lacks may be a submodule that isn't imported yet."""
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


def refers_to(found: Any, owner: Any) -> bool:
    """Tell whether an attribute works on what it was got from, as ``df.loc`` does: a copy would change a copy.

    Example:
        >>> from types import SimpleNamespace
        >>> owner = SimpleNamespace()
        >>> refers_to(SimpleNamespace(of=owner), owner), refers_to([owner], owner)
        (True, False)
    """
    if type(found).__module__ == "builtins":  # data, which may be large to look through
        return False
    return any(one is owner for one in (*gc.get_referents(found), *getattr(found, "__dict__", {}).values()))
