"""Modules as source: what a script sends of its own, and what it fetches."""

from __future__ import annotations

import importlib.util
import tokenize
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

from flame_kernel.client.connection import Connection
from flame_kernel.errors import TransferError
from flame_kernel.protocol.calls import Operation


def send(connection: Connection, module: str | ModuleType, source: str | None, timeout: float | None) -> None:
    """Send a module; see :meth:`flame_kernel.client.flame.Flame.sendmodule`."""
    name = module if isinstance(module, str) else module.__name__
    modules = [(name, source, False)] if source is not None else local_sources(module)
    connection.calls.call(Operation.SENDMODULE, name, modules, source is None, timeout=timeout)


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
        found = [one for folder in spec.submodule_search_locations for one in _package(name, Path(folder))]
        return found if found and found[0][0] == name else [(name, "", True), *found]
    text = getattr(spec.loader, "get_source", lambda _: None)(name)
    if text is None:
        raise TransferError(f"{name} is a C module ({spec.origin or 'built in'}), which has no Python source to send")
    return [(name, text, False)]


def _package(name: str, folder: Path) -> list[tuple[str, str, bool]]:
    compiled = [path.name for path in folder.iterdir() if path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    if compiled:
        raise TransferError(f"{name} has compiled parts ({compiled[0]}) and can't be sent as source; install it there")
    found = []
    start = folder / "__init__.py"
    if start.exists():
        found.append((name, _read(start), True))
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name.isidentifier() and any(path.rglob("*.py")):
            inner = _package(f"{name}.{path.name}", path)
            missing = not inner or inner[0][0] != f"{name}.{path.name}"
            found += [(f"{name}.{path.name}", "", True), *inner] if missing else inner
        elif path.suffix == ".py" and path.stem.isidentifier() and path.stem != "__init__":
            found.append((f"{name}.{path.stem}", _read(path), False))
    return found


def _read(path: Path) -> str:
    with tokenize.open(path) as file:  # decoded as the file itself says
        return file.read()
