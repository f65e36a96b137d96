"""The object ``Pyro.Flame``: what Pyro4's Flame can be asked for, asked of a session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from Pyro4 import core
from Pyro4.utils import flame as pyro

from flame_kernel import Flame
from flame_kernel.pyro4.console import Console
from flame_kernel.pyro4.keyed_daemon import KeyedDaemon
from flame_kernel.pyro4.shared_session import SharedSession
from flame_kernel.pyro4.values import outgoing, outgoing_error

# What Python says of itself when it's started.
_VERSION = "'Python %s on %s' % (__import__('sys').version, __import__('sys').platform)"

# Clients that vanish leave their consoles behind; beyond this many the oldest goes.
_MAX_CONSOLES = 100


@core.expose
class Bridge(pyro.Flame):
    """Pyro4's Flame, whose modules, namespace and files are those of a session.

    What it returns are Pyro4's own classes: clients, of other languages too, know them by their names in pickles.

    Args:
        session: The session.
        daemon: Where it will be registered.
    """

    def __init__(self, session: SharedSession, daemon: KeyedDaemon) -> None:
        super().__init__()
        self._session = session
        self._daemon = daemon
        self._consoles: OrderedDict[int, Console] = OrderedDict()

    def module(self, name: str) -> Any:
        """Import a module and return a proxy of it."""
        self._ask(lambda flame: flame.invokeModule("importlib.import_module", [name]), by_value=False)
        return self._lent(pyro.FlameModule(self, name))

    def builtin(self, name: str) -> Any:
        """Return a proxy of a builtin."""
        return self._lent(pyro.FlameBuiltin(self, name))

    def invokeModule(self, dottedname: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call something in a module."""
        return self._ask(lambda flame: flame.invokeModule(dottedname, args, kwargs))

    def invokeBuiltin(self, builtin: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call a builtin."""
        return self._ask(lambda flame: flame.invokeBuiltin(builtin, args, kwargs))

    def execute(self, code: str) -> None:
        """Run statements."""
        self._ask(lambda flame: flame.execute(code.rstrip()))

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression."""
        return self._ask(lambda flame: flame.evaluate(expression))

    def sendmodule(self, modulename: str, modulesource: str) -> None:
        """Make a module from source."""
        self._ask(lambda flame: flame.sendmodule(modulename, modulesource))

    def getmodule(self, modulename: str) -> str:
        """Return a module's source."""
        return str(self._ask(lambda flame: flame.getmodule(modulename)))

    def sendfile(self, filename: str, filedata: bytes) -> None:
        """Write a file, which only its owner may read, as Pyro4's Flame does."""

        def send(flame: Flame) -> None:
            flame.sendfile(filename, filedata)
            flame.module("os").chmod(filename, 0o600)

        self._ask(send)

    def getfile(self, filename: str) -> bytes:
        """Return a file's content."""
        return bytes(self._ask(lambda flame: flame.getfile(filename)))

    def console(self) -> Any:
        """Return a proxy of a console."""
        python = self._ask(lambda flame: flame.evaluate(_VERSION))
        where = self._daemon.lend(core.Proxy(self._daemon.uriFor(self)))._pyroUri.location
        console = Console(self._session, f"{python}\n(Remote console on {where})", self._forget)
        self._consoles[id(console)] = console
        if len(self._consoles) > _MAX_CONSOLES:
            self._forget(next(iter(self._consoles.values())))
        proxy = pyro.RemoteInteractiveConsole(self._daemon.register(console))
        proxy.remoteconsole = self._daemon.lend(proxy.remoteconsole)
        return proxy

    def _forget(self, console: Console) -> None:
        if self._consoles.pop(id(console), None) is not None:
            self._daemon.unregister(console)

    def _lent(self, proxy: Any) -> Any:
        proxy.flameserver = self._daemon.lend(proxy.flameserver)
        return proxy

    def _ask(self, what: Callable[[Flame], Any], by_value: bool = True) -> Any:
        def ask(flame: Flame) -> Any:
            value = what(flame)
            return outgoing(flame, value) if by_value else None

        try:
            return self._session.ask(ask)
        except BaseException as error:  # noqa: BLE001  # what was raised over there, SystemExit too, ends nothing here
            raise outgoing_error(error) from error.__cause__
