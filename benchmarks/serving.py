"""A peer's server in a process of its own: ``python -m benchmarks.peers.NAME WORDS``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

_READY = "ready:"


def announce(*words: object) -> None:
    """Tell, in the server's process, that it is ready, and where it is."""
    print(_READY, *words, flush=True)


class Server:
    """A process that says when it is ready.

    Args:
        command: What to run.
        ready: What the line begins with by which it says so.

    Attributes:
        lines: What it printed until then.
        pid: Its process id.
    """

    def __init__(self, command: Sequence[str], ready: str = _READY) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self.lines: list[str] = []
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.strip())
            if line.startswith(ready):
                return
        raise RuntimeError(f"its server ended with status {self._process.wait()} before it was ready")

    @classmethod
    def of(cls, module: str, *words: str) -> Server:
        """Run a module of the benchmarks that announces itself."""
        return cls([sys.executable, "-m", module, *words])

    @property
    def words(self) -> list[str]:
        """What it announced."""
        return self.lines[-1].removeprefix(_READY).split()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
