"""A peer's process: starts the peer's server, and makes the measurements that the conductor asks for.

``python -m benchmarks.runner KEY EFFORT FOLDER DESCRIPTOR``; the descriptor is one end of a pipe. It gives an
answer when the peer is ready, and one to each measurement's name; the end of the pipe is the end of the process.
"""

from __future__ import annotations

import importlib.metadata
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.answers import Absent, Answer, Failed, Figures, Ready
from benchmarks.catalogue import BY_KEY
from benchmarks.effort import EFFORTS
from benchmarks.peer import NotOffered


def main() -> None:
    """Run one peer."""
    key, effort, folder, descriptor = sys.argv[1:]
    pipe: Connection[Answer, str] = Connection(int(descriptor))
    _serve(key, effort, pipe, Path(folder))


def _serve(key: str, effort: str, pipe: Any, folder: Path) -> None:
    try:
        peer = BY_KEY[key].load()
        versions = {name: importlib.metadata.version(name) for name in peer.distributions}
        peer.start(folder)
    except Exception as error:  # noqa: BLE001  whatever a peer does on this machine is what the table shall say
        pipe.send(Failed(one_line(error)))
        return
    from benchmarks.measure import ALL
    from benchmarks.subject import Subject

    subject = Subject(peer)
    pipe.send(Ready(versions))
    try:
        while True:
            pipe.send(_measured(lambda name: ALL[name](subject, EFFORTS[effort]), pipe.recv()))
    except EOFError:
        subject.close()


def _measured(measure: Any, name: str) -> Answer:
    try:
        return Figures(measure(name))
    except NotOffered:
        return Absent()
    except Exception as error:  # noqa: BLE001  as above
        return Failed(one_line(error))


def one_line(error: BaseException) -> str:
    """Return an exception in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines and lines[0].startswith("Traceback") else lines[0] if lines else ""
    return f"{type(error).__name__}: {text}"[:300].removesuffix(": ")


if __name__ == "__main__":
    main()
