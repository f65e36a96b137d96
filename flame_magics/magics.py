"""The magics themselves."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
    output_can_be_silenced,
)
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from flame_kernel import CellResult, Flame, Host, connect
from flame_kernel.errors import FlameError
from flame_magics.connections import Connections


class RemoteResult:
    """The value of a remote cell that stayed over there: shown as it is shown there.

    Args:
        result: What the cell gave.
    """

    def __init__(self, result: CellResult) -> None:
        self._data = result.result or {}
        self.note = result.note

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return self._data

    def __repr__(self) -> str:
        return str(self._data.get("text/plain", "<remote value>"))


@magics_class
class FlameMagics(Magics):
    """Registers the magics and keeps the notebook's connections.

    Args:
        shell: The running IPython.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self.connections = Connections()
        self._names: dict[str, Any] = shell.user_ns
        self._target: str | None = None  # the server that was named last

    @magic_arguments()
    @argument("target", nargs="?", help="host, host:port, an invite, or nothing for a server on this machine")
    @argument("-n", "--name", help="what to call the connection; the target's name unless told")
    @argument("-s", "--session", help="the name of a session to share; a private one unless told")
    @argument("-k", "--kernel", help="the kernelspec to run there")
    @argument("-o", "--observe", action="store_true", help="only look on; the session has to be there")
    @no_var_expand
    @line_magic
    def flame_connect(self, line: str) -> Flame:
        """Connect this notebook to a Flame server; %%flame cells run there from now on."""
        arguments = parse_argstring(self.flame_connect, line)
        with _short_errors():
            flame = connect(
                arguments.target, session=arguments.session, kernel=arguments.kernel, observe=arguments.observe
            )
        self._target = arguments.target
        self.connections.add(arguments.name or flame.session.host, flame)
        if flame.unseen:
            print(  # noqa: T201  # what it's for
                f"[flame] nobody has seen {flame.unseen} outputs of session {flame.session.name!r}: "
                f"%flame_attach {flame.session.name} shows them"
            )
        return flame

    @magic_arguments()
    @argument("name", nargs="?", help="which connection; the latest unless told")
    @line_magic
    def flame_disconnect(self, line: str) -> None:
        """Close a connection; a private session ends with it."""
        arguments = parse_argstring(self.flame_disconnect, line)
        with _short_errors():
            name = self.connections.remove(arguments.name)
        print(f"disconnected from {name}")  # noqa: T201  # what it's for

    @line_magic
    def flame_status(self, line: str) -> None:
        """Show all connections."""
        self._show_status()

    def _show_status(self) -> None:
        for name, flame in self.connections.items():
            mark = "*" if name == self.connections.default else " "
            print(f"{mark} {name}: {flame!r}")  # noqa: T201  # what it's for
        if not self.connections.items():
            print("not connected: %flame_connect HOST first")  # noqa: T201  # what it's for

    @magic_arguments()
    @argument("target", nargs="?", help="a server; the latest that was connected to unless told")
    @line_magic
    def flame_sessions(self, line: str) -> Any:
        """List a server's sessions: what they do, who is attached, what nobody has seen."""
        arguments = parse_argstring(self.flame_sessions, line)
        with _short_errors(), Host(arguments.target or self._target) as host:
            return host.sessions(memory=True)

    @magic_arguments()
    @argument("session", help="the session's name")
    @argument("target", nargs="?", help="its server; the latest that was connected to unless told")
    @argument("-n", "--name", help="what to call the connection; the session's name unless told")
    @argument("-f", "--follow", action="store_true", help="show what it goes on to show until no cell runs any more")
    @no_var_expand
    @line_magic
    def flame_attach(self, line: str) -> None:
        """Attach this notebook to a session that is there already, and show what nobody has seen of it."""
        arguments = parse_argstring(self.flame_attach, line)
        with _short_errors():
            with Host(arguments.target or self._target) as host:
                flame = host.attach(arguments.session)
            self._target = arguments.target or self._target
            self.connections.add(arguments.name or arguments.session, flame)
            missed = flame.follow() if arguments.follow else flame.missed()
            if missed.question is not None:
                flame.answer(input(missed.question))
        running = [cell for cell in missed.cells if cell.running]
        if running:
            print("[flame] a cell still runs; %flame_attach -f follows it")  # noqa: T201  # what it's for

    @magic_arguments()
    @argument("-t", "--target", help="which connection; the latest unless told")
    @argument("-i", "--input", action="append", default=[], help="local variables to push first: x,y")
    @argument(
        "-o", "--output", action="append", default=[], help="remote variables to pull afterwards: df or local=remote"
    )
    @argument("expression", nargs="*", help="as a line magic: an expression, whose value is returned")
    @needs_local_scope
    @no_var_expand
    @output_can_be_silenced
    @line_cell_magic
    def flame(self, line: str, cell: str | None = None, local_ns: dict[str, Any] | None = None) -> Any:
        """Run a cell in the remote session, or return the value of a remote expression."""
        if cell is None:
            return self._evaluate(line)
        arguments = parse_argstring(self.flame, line)
        names = local_ns if local_ns is not None else self._names
        with _short_errors():
            flame = self.connections.get(arguments.target)
            for name in _names(arguments.input):
                if name not in names and name not in self._names:
                    raise NameError(f"name {name!r} is not defined here, so it can't be pushed")
                flame[name] = names.get(name, self._names.get(name))
        result = flame.run(cell, show_result=False)
        for pair in _names(arguments.output):
            local, _, remote = pair.partition("=")
            self._names[local] = flame[remote or local]
        if result.result is None:
            return None
        return RemoteResult(result) if result.note else result.value

    def _evaluate(self, line: str) -> Any:
        if not line.strip():
            self._show_status()
            return None
        with _short_errors():
            flame = self.connections.get(None)
        return flame.evaluate(line.strip())


class _short_errors:  # used as a verb
    """Lets our own errors show as one line: the notebook's user did nothing that a traceback would explain."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        if isinstance(error, FlameError | NameError):
            line = f"{type(error).__name__}: {error}"
            error._render_traceback_ = lambda: [line]  # type: ignore[union-attr]  # what IPython looks for


def _names(values: list[str]) -> list[str]:
    return [name.strip() for value in values for name in value.split(",") if name.strip()]
