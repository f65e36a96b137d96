"""Modules as source: what a script sends of its own, and what it fetches."""

from __future__ import annotations

import importlib.util
import tokenize
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

from flame_kernel.client.connection import Connection
from flame_kernel.errors import TransferError
from flame_kernel.protocol.calls import Operation


def send_all(
    connection: Connection, modules: Sequence[tuple[str, str, bool]], whole: bool, timeout: float | None
) -> None:
    """Send the source of modules.

    Args:
        connection: The session.
        modules: Name, source and whether it's a package, of each; the first is the one that is meant.
        whole: Whether that is all there is in it.
        timeout: How long to wait, in seconds; ``None`` for as long as it takes.
    """
    connection.calls.call(Operation.SENDMODULE, modules[0][0], list(modules), whole, timeout=timeout)


def fetch(connection: Connection, name: str, timeout: float | None) -> str:
    """Return a module's source; see :meth:`flame_kernel.client.flame.Flame.getmodule`."""
    text: str = connection.calls.call(Operation.GETMODULE, name, timeout=timeout)
    return text


def local_sources(module: str | ModuleType) -> list[tuple[str, str, bool]]:
    """Return the source of a module of this machine, or of all modules of a package.

    Args:
        module: The module, or its name; a name is looked up without importing it.

    Returns:
        Name, source and whether it's a package, of each; the package itself comes first.

    Raises:
        ModuleNotFoundError: There's none of that name.
        TransferError: It can't be sent as source.
    """
    if isinstance(module, str):
        name, spec = module, importlib.util.find_spec(module)
        if spec is None:
            raise ModuleNotFoundError(f"no module named {module!r} here", name=module)
    else:
        name, spec = module.__name__, module.__spec__
    if spec is None or name == "__main__":
        raise TransferError(f"{name} is no module on disk; send its source: sendmodule(name, source)")
    if spec.submodule_search_locations is not None:
        return package_sources(name, *map(Path, spec.submodule_search_locations))
    text = getattr(spec.loader, "get_source", lambda _: None)(name)
    if text is None:
        raise TransferError(f"{name} is a C module ({spec.origin or 'built in'}), which has no Python source to send")
    return [(name, text, False)]


def package_sources(name: str, *folders: Path) -> list[tuple[str, str, bool]]:
    """Return the source of all modules of a package, which may be spread over several folders.

    Raises:
        TransferError: It has parts that can't be sent as source.
    """
    found = [one for folder in folders for one in _package(name, folder)]
    return found if found and found[0][0] == name else [(name, "", True), *found]


def _package(name: str, folder: Path) -> list[tuple[str, str, bool]]:
    compiled = [path.name for path in folder.iterdir() if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    if compiled:
        raise TransferError(f"{name} has compiled parts ({compiled[0]}) and can't be sent as source; install it there")
    found = []
    start = folder / "__init__.py"
    if start.exists():
        found.append((name, read(start), True))
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name.isidentifier() and any(path.rglob("*.py")):
            inner = _package(f"{name}.{path.name}", path)
            missing = not inner or inner[0][0] != f"{name}.{path.name}"
            found += [(f"{name}.{path.name}", "", True), *inner] if missing else inner
        elif path.suffix == ".py" and path.stem.isidentifier() and path.stem != "__init__":
            found.append((f"{name}.{path.stem}", read(path), False))
    return found


def read(path: Path) -> str:
    """Return a file's source."""
    with tokenize.open(path) as file:  # decoded as the file itself says
        return file.read()
