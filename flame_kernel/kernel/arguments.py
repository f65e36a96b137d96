"""The arguments of the bridge's process; argparse would take as long as the five sockets and the link together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from flame_kernel.errors import ConfigurationError

USAGE = """usage: python -m flame_kernel.kernel -f CONNECTION_FILE [options]

The Remote Flame kernel: what Jupyter starts, as its kernelspec says.

  -f FILE                   what Jupyter wrote for this kernel
  --host HOST               the server; FLAME_HOST, else the embedded server
  --kernel KERNEL           the kernelspec to run there; FLAME_KERNEL, else the server's default
  --on-shutdown end|detach  whether 'shut down' ends the session or leaves it running"""

# VS Code says "--f=FILE" to every kernel whose language is Python.
_NAMES = {"-f": "file", "--f": "file", "--host": "host", "--kernel": "kernel", "--on-shutdown": "on_shutdown"}


class Arguments(msgspec.Struct, frozen=True):
    """What the bridge is told.

    Attributes:
        connection_file: What Jupyter wrote for this kernel.
        host: The server; empty for FLAME_HOST or the embedded one.
        kernel: The kernelspec to run there; empty for FLAME_KERNEL or the server's default.
        detach: Whether "shut down" leaves the session running.
    """

    connection_file: Path
    host: str = ""
    kernel: str = ""
    detach: bool = False

    @classmethod
    def read(cls, words: Sequence[str]) -> Arguments:
        """Understand the command line's words.

        Options that are not ours are left alone: frontends add some that they know of ipykernel, as VS Code its
        ``--debug``.

        Args:
            words: The words behind the program's name.

        Raises:
            ConfigurationError: The connection file is missing, or an option has no value, or one that it can't have.

        Example:
            >>> Arguments.read(["-f", "kernel.json", "--host=gpu1:9999"]).host
            'gpu1:9999'
        """
        found = dict(_options(words))
        if "file" not in found:
            raise ConfigurationError("the kernel needs a connection file (-f); Jupyter starts it with one")
        how = found.get("on_shutdown", "end")
        if how not in ("end", "detach"):
            raise ConfigurationError(f"--on-shutdown can be 'end' or 'detach', not {how!r}")
        # VS Code puts quotes around a name that has spaces.
        file = Path(found["file"].strip('"'))
        return cls(file, found.get("host", ""), found.get("kernel", ""), how == "detach")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        name, separator, value = word.partition("=")
        if name not in _NAMES:
            continue
        if not separator:
            given = next(rest, None)
            if given is None:
                raise ConfigurationError(f"{name} needs a value")
            value = given
        yield _NAMES[name], value
