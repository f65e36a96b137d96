"""Modules whose source came over the wire, as real as those on disk: imported, replaced, inspected, taken back.

They are found by an importer of Python's own kind, so that ``import``, ``importlib.reload``, packages and relative
imports work, and tracebacks and ``inspect.getsource`` show their source.

A module that is sent again keeps its identity: who has imported it sees the new content, and nothing of the old.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import linecache
import sys
import threading
import tokenize
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any

from flame_kernel.errors import TransferError

# Where a sent module says that it is; no file system has such a folder by accident.
FOLDER = "<flame>"

_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class Source:
    """A module as it was sent.

    Attributes:
        text: Its source.
        package: Whether it's a package, and the text that of its ``__init__``.
    """

    name: str
    text: str
    package: bool

    @property
    def filename(self) -> str:
        """What tracebacks call the file."""
        path = f"{FOLDER}/{self.name.replace('.', '/')}"
        return f"{path}/__init__.py" if self.package else f"{path}.py"

    def compile(self) -> CodeType:
        """Compile it.

        Raises:
            SyntaxError: It isn't Python.
        """
        code: CodeType = compile(self.text, self.filename, "exec", dont_inherit=True)
        return code


@dataclass(frozen=True)
class _Before:
    """What was there under a name before it was sent: for taking it back."""

    module: ModuleType | None
    content: dict[str, Any]
    source: Source | None


class SentModules:
    """Knows the modules that were sent, and imports them."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        # What a module object was before, while it's being replaced.
        self._replaced: dict[str, ModuleType] = {}
        self._lock = threading.RLock()

    # ------------------------------------------------------------ what clients ask

    def send(self, name: str, modules: Sequence[Sequence[Any]], whole: bool) -> None:
        """Take modules and import them; if one fails, everything is as it was before.

        Args:
            name: The module that is meant.
            modules: Name, source and whether it's a package, of this one and what is in it.
            whole: Whether what was sent into this package before and isn't among them goes.

        Raises:
            SyntaxError: A source isn't Python.
            TransferError: The name is none, or stands for what can't be replaced.
            Exception: Whatever a module raises while it's imported.
        """
        sources = [Source(*_checked(*module)) for module in modules]
        if not whole:  # a package stays one, with what is in it
            sources = [
                replace(source, package=source.package or self._is_sent_package(source.name)) for source in sources
            ]
        for source in sources:
            source.compile()  # before anything is changed
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        failed: BaseException | None = None
        with self._lock:
            before = {one: self._remember(one) for one in self._concerned(name, sources, whole)}
            try:
                self._replace(name, sources, whole)
            except BaseException as error:  # noqa: BLE001  # it's raised below, when everything is as it was
                failed = error
                for one in sorted(before):
                    self._restore(one, before[one])
            finally:
                self._replaced.clear()
        if failed is not None:
            raise failed.with_traceback(_from_the_source_on(failed))

    def get(self, name: str) -> str:
        """Return a module's source.

        Args:
            name: Its dotted name.

        Raises:
            ModuleNotFoundError: There's none of that name.
            TransferError: It has no source in Python.
        """
        sent = self._sources.get(name)
        if sent is not None:
            return sent.text
        spec = _spec(name)
        text = None
        if hasattr(spec.loader, "get_source"):
            with suppress(ImportError):
                text = spec.loader.get_source(name)  # type: ignore[union-attr]  # it was asked whether it can
        if text is None:
            file = getattr(sys.modules.get(name), "__file__", None) or spec.origin or ""
            if not file.endswith(".py"):
                raise TransferError(_why_no_source(name, spec))
            with tokenize.open(file) as source:  # decoded as the file itself says
                text = source.read()
        return text

    # ------------------------------------------------------------ what the import system asks

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return how a sent module is loaded; see :class:`importlib.abc.MetaPathFinder`."""
        source = self._sources.get(name)
        if source is None:
            return None
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=source.filename, is_package=source.package)
        spec.has_location = True
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Return the module object to fill: the old one, empty, if there was one."""
        module = self._replaced.pop(spec.name, None)
        if module is not None:
            vars(module).clear()
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        source = self._sources[module.__name__]
        exec(source.compile(), vars(module))  # what it's for

    def get_source(self, name: str) -> str:
        """Return a sent module's source, for ``linecache`` and ``inspect``."""
        try:
            return self._sources[name].text
        except KeyError:
            raise ImportError(f"module {name} was not sent", name=name) from None

    def get_code(self, name: str) -> CodeType:
        """Return a sent module's code, for ``runpy``."""
        self.get_source(name)
        return self._sources[name].compile()

    def is_package(self, name: str) -> bool:
        """Tell whether a sent module is a package."""
        self.get_source(name)
        return self._sources[name].package

    def _is_sent_package(self, name: str) -> bool:
        return name in self._sources and self._sources[name].package

    # ------------------------------------------------------------ replacing

    def _replace(self, name: str, sources: Sequence[Source], whole: bool) -> None:
        for parent in _parents(name):
            self._require_package(parent)
        old = self._inner(name)
        for one in [name, *old] if whole else [name]:
            self._forget(one)
        for source in sources:
            self._take(source)
        importlib.import_module(name)
        # What is in a package is imported when it's asked for; what was already, anew.
        again = [one for one in old if one in self._sources] if whole else []
        for one in again:
            importlib.import_module(one)
        for one in [] if whole else old:
            parent, _, child = one.rpartition(".")
            if parent == name and one in sys.modules:
                vars(sys.modules[name]).setdefault(child, sys.modules[one])

    def _concerned(self, name: str, sources: Sequence[Source], whole: bool) -> set[str]:
        inner = self._inner(name) if whole else []
        return {*_parents(name), *inner, *(source.name for source in sources)}

    def _inner(self, name: str) -> list[str]:
        """Return what there is inside of a package: imported, or sent."""
        return sorted(one for one in {*self._sources, *list(sys.modules)} if one.startswith(f"{name}."))

    def _remember(self, name: str) -> _Before:
        module = sys.modules.get(name)
        return _Before(module, {} if module is None else dict(vars(module)), self._sources.get(name))

    def _restore(self, name: str, before: _Before) -> None:
        self._sources.pop(name, None)
        sys.modules.pop(name, None)
        if before.source is not None:
            self._take(before.source)
        parent, _, child = name.rpartition(".")
        if before.module is not None:
            if not _same(vars(before.module), before.content):
                vars(before.module).clear()
                vars(before.module).update(before.content)
            sys.modules[name] = before.module
        elif parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)

    def _take(self, source: Source) -> None:
        self._sources[source.name] = source
        lines = source.text.splitlines(keepends=True)
        linecache.cache[source.filename] = (len(source.text), None, lines, source.filename)

    def _forget(self, name: str) -> None:
        source = self._sources.pop(name, None)
        if source is not None:
            linecache.cache.pop(source.filename, None)
        module = sys.modules.pop(name, None)
        if module is not None:
            self._replaced[name] = module
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)

    def _require_package(self, name: str) -> None:
        """Make sure that modules can stand in a package; an empty one is made where there's none."""
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            self._take(Source(name, "", package=True))
            module = importlib.import_module(name)
        if not hasattr(module, "__path__"):
            source = self._sources.get(name)
            if source is None:
                raise TransferError(f"{name} is a module and no package, so nothing can be put into it")
            self._take(Source(name, source.text, package=True))
            module.__path__ = []


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(value is other[name] for name, value in one.items())


def _checked(name: str, text: str, package: bool) -> tuple[str, str, bool]:
    if not all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split(".")):
        raise TransferError(f"{name!r} is no name for a module")
    if name in sys.builtin_module_names or name == "__main__" or name.partition(".")[0] == _OURS:
        raise TransferError(f"{name} can't be replaced: what runs the session depends on it")
    if not isinstance(text, str):
        raise TransferError(f"the source of {name} is no text")
    return name, text, bool(package)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _spec(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # in sys.modules, without a specification: __main__, or made by hand
        spec = None
        if name in sys.modules:
            raise TransferError(f"{name} was made while the session ran, and has no source") from None
    if spec is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    return spec


def _why_no_source(name: str, spec: ModuleSpec) -> str:
    if spec.origin is None and spec.submodule_search_locations is not None:
        return f"{name} is a folder without code of its own (a namespace package)"
    kind = "built into Python" if spec.origin in (None, "built-in", "frozen") else spec.origin
    return f"{name} is a C module ({kind}), which has no Python source"


def _from_the_source_on(error: BaseException) -> Any:
    """Return an exception's traceback without the import system's frames, if it came from a sent module."""
    tb = error.__traceback__
    while tb is not None and not tb.tb_frame.f_code.co_filename.startswith(FOLDER):
        tb = tb.tb_next
    return tb
