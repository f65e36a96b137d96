"""A FLAME_HOME for a test: short enough for unix sockets, and empty of processes when it's given back."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def short_home() -> Iterator[Path]:
    """Give a folder; afterwards end whatever still runs from it (a failed test must leave no server and no kernel)."""
    home = Path(tempfile.mkdtemp(prefix="fl-"))
    try:
        yield home
    finally:
        for pid in processes_of(home):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


def processes_of(home: Path) -> list[int]:
    """Return the processes that were started with this FLAME_HOME."""
    marker = f"FLAME_HOME={home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile, or isn't ours
            continue
        if marker in environment:
            found.append(int(entry.name))
    return found
