"""``flame serve --pyro4`` and ``flame pyro4-key``: clients of Pyro4's Flame."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    import asyncio

Command = TypeVar("Command", bound=Callable[..., Any])


def options(command: Command) -> Command:
    """Give `flame serve` its options about clients of Pyro4's Flame."""
    for option in reversed(
        (
            click.option(
                "--pyro4",
                type=click.IntRange(0, 65535),
                metavar="PORT",
                help="Serve clients of Pyro4's Flame too, at this port (0 picks one). Their protocol isn't encrypted, "
                "and what somebody recorded can be played back; whoever has the key ('flame pyro4-key') runs anything "
                "as this user. Needs remote-flame[pyro4].",
            ),
            click.option("--pyro4-host", default="127.0.0.1", show_default=True, help="Address for those clients."),
            click.option(
                "--pyro4-no-hmac", is_flag=True, help="Ask them for no key: whoever reaches the port is let in."
            ),
        )
    ):
        command = option(command)
    return command


@click.command("pyro4-key")
def show_key() -> None:
    """Print the HMAC key that clients of Pyro4's Flame need here, and make it if there's none.

    It's for `Pyro4.utils.flame.connect(location, hmac_key="…")`. To have another one, delete its file
    (config/pyro4.key) and start the server again.
    """
    from flame_kernel.security.folders import Folders

    click.echo(_key(_key_path(Folders.find(os.environ))))


@dataclass(frozen=True)
class OldClients:
    """How clients of Pyro4's Flame are to be served.

    Attributes:
        port: The port; 0 picks a free one.
        host: The address.
        with_key: Whether they need the key.
        quiet: Whether to print nothing.
        verbose: Whether to tell what happens.
    """

    port: int
    host: str
    with_key: bool
    quiet: bool
    verbose: bool

    async def serve(
        self, config: Any, environ: Mapping[str, str], stop: asyncio.Event, on_ready: Callable[[Any], None]
    ) -> None:
        """Run a server, as :func:`flame_kernel.server.main.serve` does, with a bridge for them beside it."""
        from flame_kernel.pyro4.settings import Settings
        from flame_kernel.pyro4.supervisor import beside, require_pyro4
        from flame_kernel.server.main import serve

        config.require_enabled()
        require_pyro4()
        # The bridge is a client of this machine's user, so it comes by a socket that only this user can open.
        config = replace(config, socket=config.socket or config.folders.runtime / "pyro4.sock")
        path = _key_path(config.folders)
        key = _key(path) if self.with_key else ""
        settings = Settings(str(config.socket), self.host, self.port, key, verbose=self.verbose)

        def ready(listening: Any, uri: str) -> None:
            if not self.quiet:
                self._announce(uri, path)
            on_ready(listening)

        await beside(settings, environ, stop, lambda end, listens: serve(config, environ, end, listens), ready)

    def _announce(self, uri: str, path: Path) -> None:
        from flame_kernel.pyro4.settings import warnings

        who = f"whoever has the key in {path} (flame pyro4-key)" if self.with_key else "ANYBODY"
        click.echo(f"pyro4: {uri}, for {who}")
        for line in warnings(self.host, self.with_key):
            click.echo(f"pyro4: {line}")


def _key_path(folders: Any) -> Path:
    path: Path = folders.config / "pyro4.key"
    return path


def _key(path: Path) -> str:
    from flame_kernel.security.folders import private
    from flame_kernel.security.shared_secret import load_or_create

    private(path.parent)
    return load_or_create(path)
