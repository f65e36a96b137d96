"""What the processes that a call starts print goes to its caller too.

A process inherits the session's own stdout and stderr, which belong to no call. So one that a call starts without
saying where its output shall go gets pipes, which are read into the call's sink. As with ``write``, ``Popen`` stays in
place and only looks who starts something. A process that outlives its call goes on: what it prints then is the
session's.

Output that is written past Python to the session's own file descriptors (by a C library, or by a process that is
started past ``subprocess`` and ``os.system``) can't be told apart by call: it is shown as the session's output.
"""

from __future__ import annotations

import codecs
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any, Callable

from flame_kernel.protocol.calls import Outcome
from flame_kernel.worker import streams

# How long the answer of a call waits for the rest of what a process that has ended printed, in seconds: a process that
# it has started in turn may hold the pipe for ever.
_REST_S = 1.0


@dataclass(frozen=True)
class Started:
    """A process that a call has started.

    Attributes:
        process: The process.
        readers: The threads that read what it prints.
    """

    process: Any
    readers: list[threading.Thread]

    def finish(self) -> None:
        """Wait for the rest of the output of a process that is known to have ended."""
        if self.process.returncode is not None:
            for reader in self.readers:
                reader.join(_REST_S)


def listen() -> None:
    """Make ``subprocess.Popen`` and ``os.system`` look who starts something."""
    original = subprocess.Popen.__init__
    if hasattr(original, "flame_routed") or os.name != "posix":
        return
    popen: Any = subprocess.Popen
    popen.__init__ = _marked(_routed(original))
    os.system = _marked(_routed_system(os.system))


def _marked(function: Any) -> Any:
    function.flame_routed = True
    return function


def _routed(original: Callable[..., None]) -> Callable[..., None]:
    def __init__(  # its name is seen in tracebacks
        self: Any,
        args: Any,
        bufsize: int = -1,
        executable: Any = None,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *more: Any,
        **keywords: Any,
    ) -> None:
        sink = streams.current()
        if sink is None or (stdout is not None and stderr is not None):
            original(self, args, bufsize, executable, stdin, stdout, stderr, *more, **keywords)
            return
        pipes: list[tuple[int, int, Outcome]] = []
        try:
            if stdout is None:
                pipes.append((*os.pipe(), Outcome.STDOUT))
                stdout = pipes[-1][1]
            if stderr is None:
                pipes.append((*os.pipe(), Outcome.STDERR))
                stderr = pipes[-1][1]
            original(self, args, bufsize, executable, stdin, stdout, stderr, *more, **keywords)
        except BaseException:
            for here, there, _ in pipes:
                os.close(here)
                os.close(there)
            raise
        readers = []
        for here, there, outcome in pipes:
            os.close(there)
            readers.append(threading.Thread(target=_read, args=(here, outcome, sink), name="flame-pipe", daemon=True))
            readers[-1].start()
        sink.call.processes.append(Started(self, readers))

    return __init__


def _routed_system(original: Callable[[Any], int]) -> Callable[[Any], int]:
    def system(command: Any) -> int:
        if streams.current() is None:
            return original(command)
        status = subprocess.call(command, shell=True)
        return status << 8 if status >= 0 else -status  # what wait() says of a process

    return system


def _read(pipe: int, outcome: Outcome, sink: streams.Sink) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with open(pipe, "rb", buffering=0) as source:
        while True:
            data = source.read(65536)
            text = decoder.decode(data, final=not data)
            if text and not sink.take(outcome, text):
                (sys.stdout if outcome is Outcome.STDOUT else sys.stderr).write(text)
            if not data:
                return
