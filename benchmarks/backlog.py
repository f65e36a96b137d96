"""A client that stands still while its session goes on: ``python -m benchmarks.backlog TARGET SESSION FOLDER SIZE``.

It runs a cell that waits for its word before it shows so much, and says when all of that has come to it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

import flame_kernel
from benchmarks.calm import until_calm
from benchmarks.serving import Server, announce

_PIECE = 1_000_000
_LONGEST_S = 60.0

# Run in the session: shows so many bytes, as pictures do, once it may. The files tell how far it is.
_SHOW = """
import os, time
from IPython.display import display
def show(folder, size, piece):
    open(os.path.join(folder, "waits"), "w").close()
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
    picture = "x" * piece
    for shown in range(0, size, piece):
        display({"image/png": picture}, raw=True)
    open(os.path.join(folder, "shown"), "w").close()
"""


@dataclass(frozen=True)
class Backlog:
    """What it costs that a session says much to nobody.

    Attributes:
        journal_s: How long a client that stood still takes to catch up, in seconds.
        server_bytes: The server's memory, just before or after that.
        unseen_s: How long a new client takes to connect and have what nobody has seen, in seconds.
    """

    journal_s: float
    server_bytes: int
    unseen_s: float


def measure(target: str, server: int, folder: Path, size: int) -> Backlog:
    """Have a session show so much, once to a client that stands still, and once to nobody.

    Args:
        target: Where the server is.
        server: Its process id.
        folder: An empty folder.
        size: How much, in bytes.
    """
    still, nobody = folder / "still", folder / "nobody"
    for place in (still, nobody):
        place.mkdir(parents=True)
    words = [target, f"still-{size}", str(still), str(size)]
    client = Server([sys.executable, "-m", "benchmarks.backlog", *words])
    try:
        _until(still / "waits")
        os.kill(client.pid, signal.SIGSTOP)
        _let_go(still, server)
        before = psutil.Process(server).memory_info().rss
        begun = time.perf_counter()
        os.kill(client.pid, signal.SIGCONT)
        _until(still / "came")
        journal_s = time.perf_counter() - begun
        server_bytes = max(before, psutil.Process(server).memory_info().rss)
    finally:
        os.kill(client.pid, signal.SIGCONT)
        client.stop()
    with flame_kernel.connect(target, session=words[1]) as flame:
        flame.session.close()
    with flame_kernel.connect(target, session=f"nobody-{size}") as flame:
        flame.execute(_SHOW)
        flame.run(f"import threading; threading.Thread(target=show, args={(str(nobody), size, _PIECE)}).start()")
    _until(nobody / "waits")
    _let_go(nobody, server)
    begun = time.perf_counter()
    with flame_kernel.connect(target, session=f"nobody-{size}") as flame:
        assert flame.missed(quiet=True).outputs, "nothing was missed"
        unseen_s = time.perf_counter() - begun
        flame.session.close()
    return Backlog(journal_s, server_bytes, unseen_s)


def _let_go(folder: Path, server: int) -> None:
    (folder / "go").touch()
    _until(folder / "shown")
    until_calm(server, _LONGEST_S)


def _until(path: Path) -> None:
    end = time.monotonic() + _LONGEST_S
    while not path.exists():
        if time.monotonic() >= end:
            raise TimeoutError(f"no {path.name} within {_LONGEST_S:g} s")
        threading.Event().wait(0.002)


def main(words: Sequence[str]) -> None:
    """Be the client that stands still."""
    target, session, folder, size = words
    with flame_kernel.connect(target, session=session) as flame:
        flame.execute(_SHOW)
        announce()
        flame.run(f"show({folder!r}, {size}, {_PIECE})", quiet=True)
        Path(folder, "came").touch()


if __name__ == "__main__":
    main(sys.argv[1:])
